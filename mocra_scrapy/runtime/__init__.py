"""``Mocra``: what the components of one crawler share: the checked settings, the backend, this
worker's name, its session.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary, ref

from scrapy.exceptions import NotConfigured
from scrapy.utils.asyncio import is_asyncio_available

from mocra_scrapy.backends import open_backend, redact_url
from mocra_scrapy.coordination.locks import Lock
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import ConfigurationError, NotSupported
from mocra_scrapy.runtime.components import Components, P, Sharing
from mocra_scrapy.runtime.worker_state import WorkerState
from mocra_scrapy.settings.coordination import read_coordination
from mocra_scrapy.settings.crawl import Options, read_options
from mocra_scrapy.settings.identity import one_off_command, worker_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler

    from mocra_scrapy.coordination.leadership import Candidate
    from mocra_scrapy.coordination.shared_values import Shared
    from mocra_scrapy.interfaces import IBackend, IRateLimiter, IRequestQueue
    from mocra_scrapy.models import CrawlState

__all__ = ["Mocra", "one_off_command", "worker_name"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_runtimes: WeakKeyDictionary[Crawler, Mocra] = WeakKeyDictionary()


class Mocra:
    """The suite in one crawler. ``Mocra.from_crawler(crawler)`` is the same object for all who ask.

    Attributes:
        options: the checked settings; live ones as they are now. ``own_options`` are the project's.
        coordination: those of coordination.
        backend: made, and connected between :meth:`open` and :meth:`close`.
        crawl: the shared job's name.
        worker: this worker's name, unique for this run of this process.
        queue, session, limiter: of this crawl.
        flow: what this worker was told: pause, drain, stop.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.one_off = one_off_command()
        assert crawler.spidercls is not None
        self._crawler, self.settings = ref(crawler), crawler.settings
        self.options: Options = read_options(
            crawler.settings, getattr(crawler.spidercls, "name", None) or "spider", crawler.spidercls
        )
        self.own_options = self.options
        self.coordination = read_coordination(crawler.settings)
        self.worker_state, self._components = WorkerState(), Components()
        url = "memory://" if self.one_off else self.options.backend
        self.crawl = self.options.crawl
        self.worker = worker_name()
        self.backend: IBackend = open_backend(url, prefix=self.options.key_prefix, options=self.options.redis_options)
        if crawler.settings.get("JOBDIR") and not self.backend.durable and not self.one_off:
            raise ConfigurationError(
                "MOCRA_BACKEND",
                f"{redact_url(url)!r} keeps nothing on disk, but JOBDIR asks for a crawl that can be resumed",
                "Set MOCRA_BACKEND to a Redis URL, or take out JOBDIR, or keep Scrapy's scheduler with MOCRA_ENABLED = False",
            )
        self.queue: IRequestQueue = self.backend.request_queue(self.crawl, self.options.queue)
        self.limiter: IRateLimiter = self.backend.rate_limiter(self.crawl, self.options.queue)
        #: Whether the queue has booked the departure of a request that is out; the scheduler knows.
        self.departed: Callable[[Request], bool] = lambda request: False
        self.queue_session = QueueSession(self.queue, self.worker)

    @property
    def crawler(self) -> Crawler:
        """Whose it is."""
        crawler = self._crawler()  # weak: this object is a value of a dictionary with weak keys
        assert crawler is not None
        return crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Mocra:
        """The one of *crawler*, made when first asked for."""
        known = _runtimes.get(crawler)
        if known is None:
            known = _runtimes[crawler] = cls(crawler)
        return known

    async def open(self) -> CrawlState:
        """Connect, tell what the server is like, and join the crawl.

        Raises:
            ConfigurationError: no asyncio, a server that can't serve, other shards than the crawl
                was begun with.
            BackendUnavailable: nobody answered within ``MOCRA_START_TIMEOUT``.
        """
        if not is_asyncio_available():
            raise ConfigurationError(
                "TWISTED_REACTOR",
                "the reactor in use has no asyncio loop",
                'Set TWISTED_REACTOR = "twisted.internet.asyncioreactor.AsyncioSelectorReactor" (Scrapy\'s default)',
            )
        report = await self.backend.open(self.options.start_timeout)
        facts = ", ".join(f"{name} {value}" for name, value in report.facts.items())
        logger.info("Backend %s: %s", self.backend.url, facts or "ready")
        for warning in report.warnings:
            logger.warning("Backend %s: %s", self.backend.url, warning)
        state = await self.queue.join(self.worker)
        logger.info(
            "Worker %s %s run %d of crawl %r",
            self.worker,
            "resumes" if state.resumed else "begins",
            state.run,
            self.crawl,
        )
        if not self.one_off:
            await self._components.open()
        return state

    def component(self, cls: type[P]) -> P:
        """The one of *cls* (made with this object as its only argument), opened and closed with the
        backend.
        """
        return self._components.get(cls, lambda: cls(self))  # type: ignore[call-arg]

    def extension(self, cls: type[P]) -> P:
        """The same for a component that the add-on enables: a backend that lacks its tool disables
        it, which Scrapy tells in the log.
        """
        try:
            return self.component(cls)
        except NotSupported as error:
            raise NotConfigured(str(error)) from error

    def leader(self, role: str) -> Candidate:
        """This worker as a candidate for *role*: see
        :class:`~mocra_scrapy.coordination.leadership.Candidate`.
        """
        from mocra_scrapy.extensions.leader import LeaderElection

        return self.component(LeaderElection).leader(role)

    def lock(self, name: str, **arguments: Any) -> Lock:
        """``async with mocra.lock("login:account-7", ttl=30) as lock``: see
        :class:`~mocra_scrapy.coordination.locks.Lock` for arguments.
        """
        return Lock(self.component(Sharing).locks, name, self.worker, **arguments)

    def shared(self, name: str, default: T, *, namespace: str = "") -> Shared[T]:
        """A value that all workers share, by default all crawls on this backend: see
        :class:`~mocra_scrapy.coordination.shared_values.Shared`.
        """
        return self.component(Sharing).space(namespace).value(name, default)

    async def close(self) -> None:
        """Drop the connections. What the worker still held goes to others when its lease runs out."""
        await self._components.close(self.options.stop_timeout)
        await self.queue.close()
        await self.backend.close()
        self.worker_state.detach()
