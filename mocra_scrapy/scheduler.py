"""``Scheduler``: Scrapy's synchronous scheduler seam over a shared queue that is only ever talked
to asynchronously.

``enqueue_request``, ``next_request`` and ``has_pending_requests`` touch an outbox, an inbox and
counters; the :class:`~mocra_scrapy.worker.exchange_loop.ExchangeLoop` task does the rest. A request is
acknowledged when the engine has let go of it: after its callback or errback is exhausted, its
children are stored, and its items have left the pipelines.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy import signals as scrapy_signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.utils.defer import deferred_f_from_coro_f

from mocra_scrapy.codec.dictionaries import CompressingCodec
from mocra_scrapy.dupefilters import choose_dupefilter
from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.exceptions import MocraError, UnserializableRequest
from mocra_scrapy.models import Entry
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.failures import read_failure_options
from mocra_scrapy.spidermiddlewares.known import answer_early
from mocra_scrapy.worker.delays import RequestedDelays
from mocra_scrapy.worker.deliveries import CURRENT, Deliveries, Delivery
from mocra_scrapy.worker.dispatcher import Dispatcher
from mocra_scrapy.worker.exchange_handler import ExchangeHandler
from mocra_scrapy.worker.exchange_loop import ExchangeLoop
from mocra_scrapy.worker.inbox import Inbox, Local
from mocra_scrapy.worker.local_requests import LocalRequests
from mocra_scrapy.worker.outbox import Outbox
from mocra_scrapy.worker.permits import SlotPermits
from mocra_scrapy.worker.seeding import Seeder
from mocra_scrapy.worker.settlement import Settlement

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class Scheduler(BaseScheduler):
    """``SCHEDULER`` of the suite; the add-on sets it, and a project may set it alone.

    Guarantees, for requests that ``enqueue_request`` accepted: see ``docs/guarantees``. Requests
    that can't be serialised stay with this process, are counted
    (``mocra/scheduler/unserializable``), and keep their parent unacknowledged until they are done.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.mocra = Mocra.from_crawler(crawler)
        self.options = self.mocra.options
        assert crawler.stats is not None
        self.stats = crawler.stats
        self.df, self._recent, self._decides = choose_dupefilter(crawler)
        self.inbox, self.outbox = Inbox(), Outbox()
        limits = self.options.limits
        self._permits = (
            SlotPermits(lambda name: limits.of(name) if limits.special(name) else None) if limits.cluster else None
        )
        self._deliveries = Deliveries(self._settle, self._left)
        self.mocra.departed = self._deliveries.departed
        self._hand_out = Dispatcher(self.inbox, self.outbox, self._deliveries, permits=self._permits, stats=self.stats)
        failing = read_failure_options(crawler.settings)
        self._wishes = RequestedDelays(failing.delay_max, self.stats)
        self._keeper = LocalRequests(crawler, self.inbox, self._deliveries, self.options.require_serializable)
        self._settling = Settlement(crawler, failing, self.outbox, self.mocra.one_off)
        self._closing = False
        self._turns: ExchangeLoop | None = None
        self._seeder: Seeder | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises ConfigurationError: a setting is wrong."""
        try:
            return cls(crawler)
        except MocraError as error:
            # Scrapy's own clean-up fails after this, and without a word of ours its traceback would
            # be the last one.
            logger.critical("%s", error)
            raise

    # ------------------------------------------------------------------ opening and closing

    @deferred_f_from_coro_f
    async def open(self, spider: Spider) -> None:
        """Connect, join the crawl, hook into the engine.

        Raises:
            ConfigurationError, BackendUnavailable: see :meth:`mocra_scrapy.runtime.Mocra.open`.
        """
        self.spider = spider
        self._codec = self._hand_out.codec = CompressingCodec(self.mocra, spider, self.stats)
        self.engine = self._hand_out.engine = self._keeper.engine = EngineHooks(self.crawler)
        self._settling.listen(self._codec, self.engine, None if self._recent is None else self._recent.fingerprint)
        state = await self.mocra.open()
        if (opened := self.df.open()) is not None:
            await opened
        self._answers = ExchangeHandler(
            self.crawler,
            self.mocra,
            self.engine,
            self.inbox,
            self.outbox,
            filters=(self.df, self._recent),
            permits=self._permits,
        )
        self._turns = self._answers.turns = ExchangeLoop(
            self.mocra, self.engine, self.inbox, self.outbox, self._answers.hooks, permits=self._permits
        )
        self._turns.packing = self._codec
        self._seeder = Seeder(
            self.mocra, self.engine, self._turns, self.outbox, self._deliveries, starving=self._starving
        )
        self.engine.on_finished(self._deliveries.finished)
        if self._permits is not None:
            self.engine.no_local_delay()
            self.crawler.signals.connect(self._deliveries.downloaded, scrapy_signals.request_left_downloader)
            logger.info(
                "Delays and concurrency of a slot hold for all workers of crawl %r together (MOCRA_THROTTLE_SCOPE)",
                self.mocra.crawl,
            )
        self.engine.on_closing(self._hand_back)
        self.engine.few_tasks(self._room)
        answer_early(self.crawler, self.engine, self._recent, self._known)
        if not self.engine.wrap_start(self._seeder.run):
            await self._seeder.nothing_to_seed()
        self.crawler.signals.connect(self._answers.on_idle, scrapy_signals.spider_idle)
        self._answers.run = state.run
        self.mocra.worker_state.attach(self, self._turns, self.engine, self._seeder, self._deliveries)
        self._turns.start(state)

    @deferred_f_from_coro_f
    async def close(self, reason: str) -> None:
        """Hand back what was not started, store what is left, leave. Never longer than
        ``MOCRA_STOP_TIMEOUT``; never raises.
        """
        self._hand_back()
        self._hand_out.cancel()
        if self._turns is not None:
            await self._leave(self._turns)
        if (closed := self.df.close(reason)) is not None:
            await closed
        try:
            await self.mocra.close()
        except MocraError as error:
            logger.warning("Closing the backend: %s", error)

    async def _leave(self, turns: ExchangeLoop) -> None:
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
        """The engine begins to close: nothing new is started, so what was leased ahead goes back at
        once.
        """
        if self._closing:
            return
        self._closing = True
        self._keeper.stop()
        if self._turns is not None:
            self._answers.closing = True
            self._turns.leasing = False
            self._hand_out.give_back(self.inbox.drain())
            self._turns.kick()
        if self._seeder is not None:
            self._seeder.stop()

    # ------------------------------------------------------------------ Scrapy's seam

    def enqueue_request(self, request: Request) -> bool:
        """Take a request in; ``False`` when it is a known duplicate. Never raises: Scrapy would
        lose the request and could hang.

        One that can't be kept at all is logged and counted, and its parent becomes a dead letter
        instead of being acknowledged.
        """
        try:
            return self._enqueue(request)
        except Exception as error:
            self._settling.child_failed(request, error)
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
            if self._known(request):
                return False
            fingerprint = self._recent.fingerprint(request)
        delay, slot = self._wishes.take(request), self.engine.slot_of(request)
        try:
            payload = self._codec.encode(request)
        except UnserializableRequest as error:
            parent = seeder.delivery if seed and seeder else CURRENT.get()
            self._keeper.keep(Local(request, slot, parent), error, delay)
            self._remember(fingerprint)
            return True
        if seed and seeder is not None:
            fingerprint = seeder.fingerprint(fingerprint, payload)
        start = self.options.start_queue and bool(request.meta.get("is_start_request"))
        body = self._codec.pack(payload, request)
        scopes: tuple[str, ...] = ()
        if self._permits is not None:
            scopes = self.options.limits.scopes_of(slot, request)
            self._permits.declare_limits((slot, *scopes))
        self.outbox.push(Entry(body, slot, request.priority, fingerprint, start, delay, scopes), request)
        self._hand_out.recall.keep(body, request)
        self._remember(fingerprint)
        self._kick()
        return True

    async def _room(self) -> None:
        """Let the loop run, and have a callback wait while more than ``MOCRA_OUTBOX_MAX`` requests
        are not stored yet.
        """
        await asyncio.sleep(0)
        while self._turns is not None and not self._closing and len(self.outbox) > self.options.outbox_max:
            self._turns.kick()
            with suppress(asyncio.TimeoutError):  # closing is no answer of the queue
                await asyncio.wait_for(self._turns.changed(), 0.5)

    def _known(self, request: Request) -> bool:
        """Whether this process knows *request* to be a duplicate; it is counted then."""
        recent = self._recent
        if recent is None or request.dont_filter or recent.fingerprint(request) not in recent.recent:
            return False
        recent.log(request, self.spider)
        return True

    def _remember(self, fingerprint: bytes | None) -> None:
        if fingerprint is not None and self._recent is not None:
            self._recent.recent.add(fingerprint)

    def _kick(self) -> None:
        if self._turns is not None:
            self._turns.kick()

    def next_request(self) -> Request | None:
        """The next request that this worker holds and whose slot has room; ``None``: nothing now,
        the engine is woken later.
        """
        if self._closing or self.mocra.worker_state.holding or len(self.outbox) > self.options.outbox_max:
            self._nothing()
            return None
        request = self._hand_out.next()
        if request is not None:
            if self._turns is not None and self.inbox.leased * 2 <= self.mocra.options.prefetch:
                self._turns.kick()
            return request
        self._nothing()
        return None

    def _nothing(self) -> None:
        CURRENT.set(None)
        if self.outbox.waiting:
            self._kick()
        if self._turns is not None and not self.inbox and not self._turns.hungry:
            self._turns.hungry = True
            self._turns.kick()
        if self._seeder is not None:
            self._seeder.look_again()
        self._hand_out.wake_for_departure()

    def _starving(self) -> bool:
        """Whether nothing that is pending can be fetched by this worker."""
        return self._turns is not None and self._turns.dry and not self._hand_out.can_start()

    def _left(self, names: tuple[str, ...]) -> None:
        """A request left the downloader; somebody may have its place."""
        if self._permits is not None:
            self._permits.on_downloaded(names)

    def has_pending_requests(self) -> bool:
        """Whether this worker has anything to fetch or to tell. What other workers have keeps it
        open by ``spider_idle``.
        """
        return bool(self.inbox) or bool(self.outbox) or bool(self._keeper)

    def __len__(self) -> int:
        return len(self.inbox) + len(self._keeper) + self.outbox.waiting

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
        if self._seeder is not None and delivery is self._seeder.delivery:
            self._seeder.settled.set()
        self._settling.settle(delivery)
        self._kick()
