"""``Scheduler``: Scrapy's synchronous scheduler seam over a shared queue that is only ever talked to asynchronously.

``enqueue_request``, ``next_request`` and ``has_pending_requests`` touch an outbox, an inbox and counters; the
:class:`~mocra_scrapy._turns.Turns` task does the rest. A request is acknowledged when the engine has let go of it: after its callback
or errback is exhausted, its children are stored, and its items have left the pipelines.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy import signals as scrapy_signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.dupefilters import BaseDupeFilter, RFPDupeFilter
from scrapy.exceptions import DontCloseSpider
from scrapy.utils.defer import deferred_f_from_coro_f
from scrapy.utils.misc import build_from_crawler, load_object

from mocra_scrapy import signals
from mocra_scrapy._codec import load_codec
from mocra_scrapy._deliveries import CURRENT, Deliveries, Delivery
from mocra_scrapy._engine import Engine
from mocra_scrapy._inbox import Inbox, Local
from mocra_scrapy._outbox import Batch, Outbox
from mocra_scrapy._seeding import Seeder
from mocra_scrapy._turns import Hooks, Turns, describe
from mocra_scrapy.dupefilters import RecentDupeFilter
from mocra_scrapy.exceptions import MocraError, UnreadablePayload, UnserializableRequest
from mocra_scrapy.models import Burial, Entry, Exchange, Lease
from mocra_scrapy.runtime import Mocra

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class Scheduler(BaseScheduler):
    """``SCHEDULER`` of the suite; the add-on sets it, and a project may set it alone.

    Guarantees, for requests that ``enqueue_request`` accepted: see ``docs/guarantees``. Requests that can't be serialised stay
    with this process, are counted (``mocra/scheduler/unserializable``), and keep their parent unacknowledged until they are done.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.mocra = Mocra.from_crawler(crawler)
        self.options = self.mocra.options
        assert crawler.stats is not None
        self.stats = crawler.stats
        self.df, self._recent, self._decides = self._dupefilter(crawler)
        self.inbox, self.outbox = Inbox(), Outbox()
        self._deliveries = Deliveries(self._settle)
        self._run = 0
        self._finished = False
        self._closing = False
        self._unserializable_told = False
        self._turns: Turns | None = None
        self._seeder: Seeder | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises ConfigurationError: a setting is wrong."""
        try:
            return cls(crawler)
        except MocraError as error:
            logger.critical("%s", error)  # Scrapy's own clean-up fails after this, and its traceback would be the last word
            raise

    def _dupefilter(self, crawler: Crawler) -> tuple[BaseDupeFilter, RecentDupeFilter | None, bool]:
        """``(filter, our own one or None, whether a foreign one decides)``, by ``DUPEFILTER_CLASS``."""
        cls = load_object(crawler.settings["DUPEFILTER_CLASS"])
        if cls in (RFPDupeFilter, RecentDupeFilter):
            ours = RecentDupeFilter.from_crawler(crawler)
            return ours, ours, False
        foreign = build_from_crawler(cls, crawler)
        if cls is not BaseDupeFilter:
            logger.warning(
                "DUPEFILTER_CLASS is %s: it decides alone, in each worker for itself; the cluster's filter is off. "
                "Take it out to filter over the whole cluster, or set REQUEST_FINGERPRINTER_CLASS to say what a duplicate is",
                cls.__qualname__,
            )
        return foreign, None, True

    # ------------------------------------------------------------------ opening and closing

    @deferred_f_from_coro_f
    async def open(self, spider: Spider) -> None:
        """Connect, join the crawl, hook into the engine.

        Raises:
            ConfigurationError, BackendUnavailable: see :meth:`mocra_scrapy.runtime.Mocra.open`.
        """
        self.spider = spider
        self._codec = load_codec(self.options.codec, spider, self.options.entry_max_bytes)
        self.engine = Engine(self.crawler)
        state = await self.mocra.open()
        self._run = state.run
        opened = self.df.open()
        if opened is not None:
            await opened
        hooks = Hooks(self._answered, self._crawl_finished, self._away, self._back, self._broken)
        self._turns = Turns(self.mocra, self.engine, self.inbox, self.outbox, hooks)
        self._seeder = Seeder(self.mocra, self._turns, self.outbox, self._deliveries, self.options.outbox_max)
        self.engine.on_finished(self._deliveries.finished)
        self.engine.on_closing(self._hand_back)
        if not self.engine.wrap_start(self._seeder.run):
            await self._seeder.nothing_to_seed()
        self.crawler.signals.connect(self._on_idle, scrapy_signals.spider_idle)
        self._turns.start(state)

    @deferred_f_from_coro_f
    async def close(self, reason: str) -> None:
        """Hand back what was not started, store what is left, leave. Never longer than ``MOCRA_STOP_TIMEOUT``; never raises."""
        self._hand_back()
        if self._turns is not None:
            await self._leave(self._turns)
        closed = self.df.close(reason)
        if closed is not None:
            await closed
        try:
            await self.mocra.close()
        except MocraError as error:
            logger.warning("Closing the backend: %s", error)

    async def _leave(self, turns: Turns) -> None:
        async def flush_and_sign_off() -> None:
            while self.outbox:
                turns.kick()
                await turns.changed()
            await turns.stop()
            await turns.insist(lambda _: self.mocra.queue.close_worker(self.mocra.worker))

        try:
            await asyncio.wait_for(flush_and_sign_off(), self.options.stop_timeout)
        except asyncio.TimeoutError:
            await turns.stop()
            logger.error(
                "The backend did not take the last %d messages within MOCRA_STOP_TIMEOUT = %g s; what this worker held goes to"
                " others when its lease runs out, in %g s",
                len(self.outbox),
                self.options.stop_timeout,
                self.options.queue.lease,
            )
            self.stats.inc_value("mocra/worker/left_unflushed", len(self.outbox))
        self.stats.set_value("mocra/queue/round_trips", turns.round_trips)

    def _hand_back(self) -> None:
        """The engine begins to close: nothing new is started, so what was leased ahead goes back at once."""
        if self._closing:
            return
        self._closing = True
        if self._turns is not None:
            self._turns.leasing = False
            self.outbox.release(self.inbox.drain())
            self._turns.kick()
        if self._seeder is not None:
            self._seeder.stop()

    # ------------------------------------------------------------------ Scrapy's seam

    def enqueue_request(self, request: Request) -> bool:
        """Take a request in; ``False`` when it is a known duplicate. Never raises: Scrapy would lose the request and could hang.

        One that can't be kept at all is logged and counted, and its parent becomes a dead letter instead of being acknowledged.
        """
        try:
            return self._enqueue(request)
        except Exception as error:
            self._child_failed(request, error)
            return False

    def _enqueue(self, request: Request) -> bool:
        seeder = self._seeder
        seed = seeder is not None and seeder.is_seed(request)
        fingerprint: bytes | None = None
        if self._decides:
            if not request.dont_filter and self.df.request_seen(request):
                self.df.log(request, self.spider)
                return False
        elif not request.dont_filter:
            assert self._recent is not None
            fingerprint = self._recent.fingerprint(request)
            if fingerprint in self._recent.recent:
                self._recent.log(request, self.spider)
                return False
        slot = self.engine.slot_of(request)
        try:
            body = self._codec.encode(request)
        except UnserializableRequest as error:
            self._keep(request, slot, seeder.delivery if seed and seeder else CURRENT.get(), error)
            self._remember(fingerprint)
            return True
        if seed and seeder is not None:
            fingerprint = seeder.fingerprint(fingerprint, body)
        start = self.options.start_queue and bool(request.meta.get("is_start_request"))
        self.outbox.push(Entry(body, slot, request.priority, fingerprint, start), request)
        self._remember(fingerprint)
        self._kick()
        return True

    def _remember(self, fingerprint: bytes | None) -> None:
        if fingerprint is not None and self._recent is not None:
            self._recent.recent.add(fingerprint)

    def _kick(self) -> None:
        if self._turns is not None:
            self._turns.kick()

    def _keep(self, request: Request, slot: str, parent: Delivery | None, error: UnserializableRequest) -> None:
        """A request that can't be stored waits here, in memory, and its parent waits for it."""
        if self.options.require_serializable:
            raise error
        if not self._unserializable_told or self.crawler.settings.getbool("SCHEDULER_DEBUG"):
            self._unserializable_told = True
            logger.warning(
                "Unable to serialize request: %s - reason: %s - it stays with this worker, in memory; no more such requests"
                " will be logged (stats are collected as mocra/scheduler/unserializable)",
                request,
                error,
                extra={"spider": self.spider},
            )
        self.stats.inc_value("mocra/scheduler/unserializable")
        self.stats.inc_value("scheduler/enqueued/memory")
        self.stats.inc_value("scheduler/enqueued")
        self.inbox.add_local(Local(request, slot, self._deliveries.adopt(parent)))
        self.engine.wake()

    def _child_failed(self, request: Request, error: Exception) -> None:
        detail = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        logger.error("Request %s can't be kept: %s", request, error, exc_info=not isinstance(error, MocraError))
        self.stats.inc_value("mocra/scheduler/enqueue_failed")
        parent = CURRENT.get()
        if parent is not None and not parent.settled:
            parent.fault = ("child_lost", f"{request}\n{detail}")

    def next_request(self) -> Request | None:
        """The next request that this worker holds and whose slot has room; ``None``: nothing now, the engine is woken later."""
        if self._closing or len(self.outbox) > self.options.outbox_max:
            self._nothing()
            return None
        while (got := self.inbox.pop(self._has_room)) is not None:
            if isinstance(got, Local):
                self._deliveries.hand_out(got.request, None, got.parent)
                self.stats.inc_value("scheduler/dequeued/memory")
                self.stats.inc_value("scheduler/dequeued")
                return got.request
            request = self._open(got)
            if request is not None:
                self._deliveries.hand_out(request, got, None)
                self.stats.inc_value("scheduler/dequeued")
                if self._turns is not None and self.inbox.leased * 2 <= self.options.prefetch:
                    self._turns.kick()
                return request
        self._nothing()
        return None

    def _nothing(self) -> None:
        CURRENT.set(None)
        if self._turns is not None and not self.inbox and not self._turns.hungry:
            self._turns.hungry = True
            self._turns.kick()

    def _has_room(self, slot: str) -> bool:
        room = self.engine.concurrency_of(slot)
        return not room or self.engine.active_in(slot) < room

    def _open(self, lease: Lease) -> Request | None:
        """The leased request; one that can't be read becomes a dead letter, and the crawl goes on."""
        try:
            return self._codec.decode(lease.body)
        except UnreadablePayload as error:
            logger.error("A stored request of slot %r can't be read and is a dead letter now: %s", lease.slot, error)
            self.stats.inc_value("mocra/scheduler/unreadable")
            self.outbox.bury(Burial(lease, "unreadable", str(error)))
            self._kick()
            return None

    def has_pending_requests(self) -> bool:
        """Whether this worker has anything to fetch or to tell. What other workers have keeps it open by ``spider_idle``."""
        return bool(self.inbox) or bool(self.outbox)

    def __len__(self) -> int:
        return len(self.inbox) + self.outbox.waiting

    @property
    def mqs(self) -> Collection[Any]:
        """For ``est()`` of the telnet console: what waits in this process."""
        return range(len(self.inbox))

    @property
    def dqs(self) -> Collection[Any]:
        """For ``est()`` of the telnet console: what is not confirmed by the queue yet."""
        return range(len(self.outbox))

    # ------------------------------------------------------------------ what happens between

    def _settle(self, delivery: Delivery) -> None:
        if delivery.lease is None:
            if self._seeder is not None and delivery is self._seeder.delivery:
                self._seeder.settled.set()
            return
        if delivery.fault is not None:
            self.outbox.bury(Burial(delivery.lease, *delivery.fault))
        else:
            self.outbox.ack(delivery.lease)
        self._kick()

    def _answered(self, batch: Batch, exchange: Exchange) -> None:
        for name, count in describe(exchange).items():
            if count:
                self.stats.inc_value(name, count)
        new = sum(exchange.stored)
        if new:
            self.stats.inc_value("scheduler/enqueued", new)
        if new < len(exchange.stored):
            for push, stored in zip(batch.pushes, exchange.stored, strict=True):
                if not stored:
                    self._dropped(push.request)
        if exchange.state.run != self._run:
            self._next_run(exchange)
        if exchange.lost:
            self._lost()
        if self._closing:
            self.outbox.release(list(exchange.leases))
        else:
            self.inbox.add(exchange.leases)
        if exchange.leases or batch or (self._turns is not None and self._turns.may_be_over):
            self.engine.wake()  # to fetch, or to notice that nothing is left

    def _dropped(self, request: Request) -> None:
        """The queue knew it: what Scrapy does when ``enqueue_request`` says ``False``."""
        self.df.log(request, self.spider)
        self.crawler.signals.send_catch_log(scrapy_signals.request_dropped, request=request, spider=self.spider)

    def _next_run(self, exchange: Exchange) -> None:
        """Our run ended and somebody began the next one: what we have seen is forgotten there."""
        logger.info("Run %d of crawl %r is over, run %d has begun", self._run, self.mocra.crawl, exchange.state.run)
        self._run = exchange.state.run
        if self._recent is not None:
            self._recent.recent.clear()

    def _lost(self) -> None:
        """We were paused for longer than the lease: what waits in the inbox may be with others; give it back if it is not."""
        logger.warning(
            "This worker gave no sign of life for MOCRA_LEASE = %g s; what it held went to others",
            self.options.queue.lease,
        )
        self.stats.inc_value("mocra/worker/lost")
        self.outbox.release(self.inbox.drain())
        self.crawler.signals.send_catch_log(signals.worker_lost, spider=self.spider)

    def _on_idle(self) -> None:
        """Nothing to do here. Whether the spider may close is a question to the whole cluster."""
        turns = self._turns
        if turns is None or self._closing or self._finished:
            return
        if self.options.close == "idle" and turns.dry and not turns.size.delayed:
            return
        if self.options.close == "finished" and turns.may_be_over and not turns.wants_end:
            turns.wants_end = True
            turns.kick()
        raise DontCloseSpider

    async def _crawl_finished(self, won: bool) -> None:
        self._finished = True
        if won:
            logger.info("Run %d of crawl %r is finished", self._run, self.mocra.crawl)
            self.stats.set_value("mocra/crawl/finished_here", True)
            await self.crawler.signals.send_catch_log_async(
                signals.crawl_finished, spider=self.spider, crawl=self.mocra.crawl, run=self._run
            )
        self.engine.wake()

    def _away(self, error: MocraError) -> None:
        logger.warning("Backend %s is away, the crawl pauses: %s", self.mocra.backend.url, error)
        self.stats.inc_value("mocra/backend/outages")
        self.crawler.signals.send_catch_log(signals.backend_unavailable, spider=self.spider, error=error)

    def _back(self, seconds: float) -> None:
        logger.info("Backend %s is back after %.1f s, the crawl goes on", self.mocra.backend.url, seconds)
        self.stats.set_value(
            "mocra/backend/outage_seconds", round(self.stats.get_value("mocra/backend/outage_seconds", 0) + seconds, 3)
        )
        self.crawler.signals.send_catch_log(signals.backend_available, spider=self.spider, seconds=seconds)

    def _broken(self, error: BaseException) -> None:
        self.stats.inc_value("mocra/worker/broken")
        self._finished = True
        self.engine.close_spider("mocra_error")
