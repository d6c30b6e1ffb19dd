"""``Scheduler``: Scrapy's synchronous scheduler seam over a shared queue that is only ever talked to
asynchronously.

``enqueue_request``, ``next_request`` and ``has_pending_requests`` touch an outbox, an inbox and
counters; a task of :class:`~mocra_scrapy.worker.assembly.CrawlWorker` does the rest. A request is
acknowledged when the engine has let go of it: after its callback or errback is exhausted, its
children are stored, and its items have left the pipelines.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from scrapy.core.scheduler import BaseScheduler
from scrapy.utils.defer import deferred_f_from_coro_f

from mocra_scrapy import Mocra  # here, where the version of Scrapy is looked at before anything is imported
from mocra_scrapy.engine.early_stop import EarlyStop
from mocra_scrapy.engine.refusal import told_in_one_line
from mocra_scrapy.settings.failures import read_failure_options
from mocra_scrapy.worker.assembly import CrawlWorker
from mocra_scrapy.worker.duplicates import filter_of

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class Scheduler(BaseScheduler):
    """``SCHEDULER`` of the package; the add-on sets it, and a project may set it alone.

    Guarantees, for requests that ``enqueue_request`` accepted: see ``docs/guarantees``. Requests
    that can't be serialised stay with this process, are counted
    (``mocra/scheduler/unserializable``), and keep their parent unacknowledged until they are done.

    Attributes:
        worker: the inside of this process, between :meth:`open` and :meth:`close`.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.mocra = Mocra.from_crawler(crawler)
        self.filter = filter_of(crawler)
        read_failure_options(crawler.settings)  # a wrong setting is refused before anything starts
        self.worker: CrawlWorker | None = None
        self._early_stop = EarlyStop(crawler)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises ConfigurationError: a setting is wrong."""
        with told_in_one_line(crawler):
            return cls(crawler)

    @deferred_f_from_coro_f
    async def open(self, spider: Spider) -> None:
        """Connect, join the crawl, hook into the engine. A crawler that is told to stop meanwhile
        has an empty scheduler, and closes.

        Raises:
            ConfigurationError, BackendUnavailable: see :meth:`mocra_scrapy.runtime.Mocra.open`.
        """
        with told_in_one_line(self.crawler):
            opening = CrawlWorker.open(self.crawler, self.mocra.worker_parts(), self.filter)
            self.worker = await self._early_stop.opening(opening)

    @deferred_f_from_coro_f
    async def close(self, reason: str) -> None:
        """Hand back what was not started, store what is left, leave. Never longer than
        ``MOCRA_STOP_TIMEOUT``; never raises. Nothing to do where :meth:`open` failed.
        """
        worker, self.worker = self.worker, None
        if worker is not None:
            await worker.close(reason)

    def enqueue_request(self, request: Request) -> bool:
        """Take a request in; ``False`` when it is a known duplicate. Never raises."""
        return self.worker is not None and self.worker.intake.take(request)

    def next_request(self) -> Request | None:
        """The next request that this worker holds and whose slot has room; ``None``: nothing now,
        the engine is woken later.
        """
        return None if self.worker is None else self.worker.next_request()

    def has_pending_requests(self) -> bool:
        """Whether this worker has anything to fetch or to tell. What other workers have keeps it
        open by ``spider_idle``.
        """
        return self.worker is not None and self.worker.has_pending_requests()

    def __len__(self) -> int:
        return 0 if self.worker is None else len(self.worker)

    @property
    def mqs(self) -> Collection[Any]:
        """For ``est()`` of the telnet console: what waits in this process."""
        return range(0 if self.worker is None else len(self.worker.inbox))

    @property
    def dqs(self) -> Collection[Any]:
        """For ``est()`` of the telnet console: what is not confirmed by the queue yet."""
        return range(0 if self.worker is None else len(self.worker.outbox))
