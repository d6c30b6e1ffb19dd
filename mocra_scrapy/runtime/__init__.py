"""``Mocra``: what the components of one crawler share: the checked settings, the backend, this
worker's name, its session.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from scrapy.exceptions import NotConfigured
from scrapy.utils.asyncio import is_asyncio_available

from mocra_scrapy import signals
from mocra_scrapy.backends.by_role import open_by_role
from mocra_scrapy.coordination.locks import Lock
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.coordination.roles import Roles
from mocra_scrapy.engine.crawl_arguments import arguments_of
from mocra_scrapy.engine.refusal import told_in_one_line
from mocra_scrapy.engine.spider_attributes import download_delay_of
from mocra_scrapy.exceptions import ConfigurationError, NotSupported
from mocra_scrapy.models import Job
from mocra_scrapy.models.backends import BackendChoice
from mocra_scrapy.runtime.caches import Caches
from mocra_scrapy.runtime.components import Components, P, Sharing
from mocra_scrapy.runtime.deaths import Deaths
from mocra_scrapy.runtime.joining import join
from mocra_scrapy.runtime.sign_of_life import Signs
from mocra_scrapy.runtime.worker_state import WorkerParts, WorkerState
from mocra_scrapy.settings.coordination import read_coordination
from mocra_scrapy.settings.crawl import Options, read_options
from mocra_scrapy.settings.identity import one_off_command, worker_name
from mocra_scrapy.settings.reader import touched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from mocra_scrapy.cache.shared_cache import SharedCache
    from mocra_scrapy.coordination.leadership import Candidate
    from mocra_scrapy.coordination.shared_values import Shared
    from mocra_scrapy.interfaces import IBackend, IRateLimiter, IRequestQueue
    from mocra_scrapy.models import CrawlState, Term
    from mocra_scrapy.models.sessions import Session

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Where a crawler carries its :class:`Mocra`: they live and die together.
ATTRIBUTE = "_mocra_scrapy"


class Mocra:
    """mocra_scrapy in one crawler. ``Mocra.from_crawler(crawler)`` returns the same object to
    everybody.

    Attributes:
        options: the checked settings, with live settings as they are now. ``own_options`` has the
            project's values.
        coordination: the checked settings of leaders and heartbeats.
        backend: connected between :meth:`open` and :meth:`close`.
        crawl: name of the crawl; ``job``: what it is of.
        worker: name of this worker, unique for this run of this process.
        queue: the request queue of the crawl.
        queue_session: the same for this worker, with numbered calls.
        limiter: limits of slots.
        worker_state: what this worker was asked to do: pause, drain, stop.
        find_session: set by what keeps sessions; ``None``: nothing does.
        refusals: each says whether a response that just came is none for a cache (the end of a session).
        find_expiry: set by what keeps pools of sessions: whether a response that just came says that nobody is
            logged in any more.
        joined: the run as :meth:`open` found it; ``None`` before.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.one_off = one_off_command()
        assert crawler.spidercls is not None
        self.crawler, self.settings = crawler, crawler.settings
        spider = getattr(crawler.spidercls, "name", None) or "spider"
        self.options: Options = read_options(
            crawler.settings, spider, download_delay_of(crawler), module=crawler.spidercls.__module__
        )
        self.own_options = self.options
        self.job = Job.of(self.options.project, spider, arguments_of(crawler), self.options.secret_params)
        self.coordination = read_coordination(crawler.settings)
        if touched(crawler.settings, "MOCRA_CACHES", "MOCRA_CACHE_"):
            self._cache_settings()  # told now if one is wrong
        self.worker_state, self._components = WorkerState(), Components()
        self.joined: CrawlState | None = None
        self.find_session: Callable[[Request], Session | None] | None = None
        self.refusals: list[Callable[[Request, Response], bool]] = []
        self.find_expiry: Callable[[Request, Response], bool] | None = None
        choice = BackendChoice() if self.one_off else self.options.backends
        self.crawl = self.options.crawl
        self.worker = worker_name()
        self.backend: IBackend = open_by_role(choice)
        if crawler.settings.get("JOBDIR") and not self.backend.durable and not self.one_off:
            raise ConfigurationError(
                choice.queue_setting,
                f"{self.backend.url!r} keeps nothing on disk, but JOBDIR asks for a crawl that can be resumed",
                "Set MOCRA_BACKEND to a Redis URL, or take out JOBDIR, or keep Scrapy's scheduler with MOCRA_ENABLED = False",
            )
        self.queue: IRequestQueue = self.backend.request_queue(self.crawl, self.options.queue)
        self.limiter: IRateLimiter = self.backend.rate_limiter(self.crawl, self.options.queue)
        self.queue_session = QueueSession(self.queue, self.worker, self.job)
        if self.backend.shared:
            self._components.get(Deaths, self._deaths)
        self.worker_state.when_changed(lambda state: self._tell(signals.worker_state_changed, state=state))

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Mocra:
        """The object of *crawler*, made on first use."""
        known = getattr(crawler, ATTRIBUTE, None)
        if known is None:
            with told_in_one_line(crawler):
                known = cls(crawler)
            setattr(crawler, ATTRIBUTE, known)
        return cast("Mocra", known)

    async def open(self) -> CrawlState:
        """Connect, tell what the server is like, and join the crawl.

        Raises:
            ConfigurationError: a server that can't serve, other shards than the crawl was begun
                with, ``MOCRA_FRESH`` while others work on it.
            OtherJob: the crawl is not finished, and of another project, spider or arguments.
            BackendUnavailable: nobody answered within ``MOCRA_START_TIMEOUT``.
        """
        report = await self.backend.open(self.options.start_timeout)
        facts = ", ".join(f"{name} {value}" for name, value in report.facts.items())
        logger.info("Backend %s: %s", self.backend.url, facts or "ready")
        for warning in report.warnings:
            logger.warning("Backend %s: %s", self.backend.url, warning)
        fresh = self.options.fresh and not self.one_off
        if fresh and self.backend.shared:
            await self._components.get(Deaths, self._deaths).look()  # those that were killed here stand in nobody's way
        state = self.joined = await join(self.queue_session, self.crawl, self.backend, fresh=fresh)
        if not self.one_off:
            await self._components.open()
        return state

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[CrawlState]:
        """:meth:`open`, and :meth:`close` at the end; also when opening fails."""
        if not is_asyncio_available():
            raise ConfigurationError(
                "TWISTED_REACTOR",
                "the reactor in use has no asyncio loop",
                'Set TWISTED_REACTOR = "twisted.internet.asyncioreactor.AsyncioSelectorReactor" (Scrapy\'s default)',
            )
        try:
            yield await self.open()
        finally:
            await self.close()

    def worker_parts(self) -> WorkerParts:
        """What the inside of a worker gets of this."""
        return WorkerParts(
            session=self.queue_session,
            crawl=self.crawl,
            backend_url=self.backend.url,
            shared=self.backend.shared,
            one_off=bool(self.one_off),
            options=self.options,
            live_options=lambda: self.options,
            limiter=self.limiter,
            state=self.worker_state,
            connected=self.connected,
        )

    def component(self, cls: type[P]) -> P:
        """The instance of *cls* in this crawler, made with this object as its only argument, and
        opened and closed with the backend.
        """
        return self._components.get(cls, lambda: self._made(cls))

    def _made(self, cls: type[P]) -> P:
        if self._components.is_open:
            return cls(self)  # type: ignore[call-arg]
        with told_in_one_line(self.crawler):
            return cls(self)  # type: ignore[call-arg]

    def extension(self, cls: type[P]) -> P:
        """The same for a component that the add-on enables: a backend that lacks its tool disables
        it, which Scrapy tells in the log.
        """
        try:
            return self._components.get(cls, lambda: cls(self))  # type: ignore[call-arg]
        except NotSupported as error:
            raise NotConfigured(str(error)) from error

    def leader(self, role: str) -> Candidate:
        """Make this worker a candidate for *role*. See
        :class:`~mocra_scrapy.coordination.leadership.Candidate`.
        """
        return self._components.get(Roles, self._roles).leader(role)

    def lock(self, name: str, **arguments: Any) -> Lock:
        """A lock by name: ``async with mocra.lock("login:account-7", ttl=30) as lock``. Arguments
        are those of :class:`~mocra_scrapy.coordination.locks.Lock`.
        """
        return Lock(self._sharing().locks, name, self.worker, **arguments)

    def shared(self, name: str, default: T, *, namespace: str = "") -> Shared[T]:
        """A value that all workers of all crawls on this backend share, or those that use the same
        *namespace*. See :class:`~mocra_scrapy.coordination.shared_values.Shared`.
        """
        return self._sharing().space(namespace).value(name, default)

    def session(self, request: Request) -> Session:
        """The session that *request* goes, or went, out with; of a response its request's. See
        :class:`~mocra_scrapy.models.sessions.Session`.

        Raises:
            ConfigurationError: no sessions are kept, or it has none (``dont_merge_cookies``).
        """
        found = self.session_of(request)
        if found is None:
            raise ConfigurationError(
                "MOCRA_SESSIONS",
                f"no sessions are kept, or {request} has none",
                "Set MOCRA_SESSIONS = True, or a dict of pools, and leave out dont_merge_cookies",
            )
        return found

    def session_of(self, request: Request) -> Session | None:
        """The same; ``None`` where there is none."""
        return None if self.find_session is None else self.find_session(request)

    def cache(self, namespace: str, **arguments: Any) -> SharedCache:
        """Values that all workers of all crawls on this backend share for a while, by namespace. See
        :class:`~mocra_scrapy.cache.shared_cache.SharedCache`. Arguments: ``ttl``, ``max_entries``,
        ``max_bytes``, ``max_value_bytes``, ``local_entries``, ``local_bytes``, ``local_age``,
        ``on_outage``, ``train``; they go before the settings.
        """
        return self._components.get(Caches, self._caches).cache(namespace, arguments)

    def _caches(self) -> Caches:
        locks = self._sharing()
        return Caches(self.backend, self.worker, lambda: locks.locks, self._cache_settings(), self._count)

    def _cache_settings(self) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        from mocra_scrapy.settings.cache import read_caches  # not in the start of a worker that has no cache

        return read_caches(self.settings)

    def _deaths(self) -> Deaths:
        return Deaths(
            self.queue,
            self.worker,
            Signs.of(self.backend.url, self.options.key_prefix, self.crawl),
            lease=self.options.queue.lease,
            idle_poll=self.options.idle_poll,
            pace=self.coordination.heartbeat,
            count=self._count,
            died=lambda worker, held: self._tell(signals.worker_died, worker=worker, held=held),
        )

    def _count(self, stat: str, by: int = 1) -> None:
        if self.crawler.stats is not None:
            self.crawler.stats.inc_value(stat, by)

    def _tell(self, signal: object, **arguments: Any) -> None:
        self.crawler.signals.send_catch_log(signal, spider=self.crawler.spider, **arguments)

    def _sharing(self) -> Sharing:
        return self._components.get(Sharing, lambda: Sharing(self.backend))

    def _roles(self) -> Roles:
        options = self.coordination
        return Roles(
            self.backend.election,
            self.worker,
            lease=options.leader_lease,
            renew=options.leader_renew,
            deadline=options.leader_deadline,
            retry=options.leader_retry,
            elected=lambda term: self._role_changed(signals.leader_elected, "mocra/leader/elected", term),
            lost=lambda term: self._role_changed(signals.leader_lost, "mocra/leader/lost", term),
        )

    def _role_changed(self, signal: object, stat: str, term: Term) -> None:
        crawler = self.crawler
        if crawler.stats is not None:
            crawler.stats.inc_value(stat)
        self._tell(signal, role=term.role, term=term)

    async def close(self) -> None:
        """Drop the connections. What the worker still held goes to others when its lease runs out."""
        await self._components.close(self.options.stop_timeout)
        await self.queue.close()
        await self.backend.close()
        self.worker_state.detach()
