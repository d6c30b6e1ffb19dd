"""``CrawlWorker``: every part of one crawling process, constructed whole and in one place."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scrapy import signals

from mocra_scrapy.codec.dictionaries import CompressingCodec
from mocra_scrapy.coordination.generators import interruptible
from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.engine.let_go import LetGo
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.failures import read_failure_options
from mocra_scrapy.worker.budgets import BudgetBook
from mocra_scrapy.worker.delays import RequestedDelays
from mocra_scrapy.worker.deliveries import Deliveries
from mocra_scrapy.worker.departures import Unused
from mocra_scrapy.worker.dispatcher import Dispatcher
from mocra_scrapy.worker.duplicates import ClusterFilter, Filter
from mocra_scrapy.worker.early_duplicates import answer_early
from mocra_scrapy.worker.exchange_handler import ExchangeHandler
from mocra_scrapy.worker.exchange_loop import ExchangeLoop
from mocra_scrapy.worker.inbox import Inbox
from mocra_scrapy.worker.intake import Intake
from mocra_scrapy.worker.leasing_ahead import LeasingAhead
from mocra_scrapy.worker.local_requests import LocalRequests
from mocra_scrapy.worker.lost_state import LostState, tell_what_is_gone
from mocra_scrapy.worker.outages import Outages
from mocra_scrapy.worker.outbox import Outbox
from mocra_scrapy.worker.overdue import Overdue
from mocra_scrapy.worker.queue_status import QueueStatus
from mocra_scrapy.worker.request_cache import RECALLED, RequestCache
from mocra_scrapy.worker.running import Running
from mocra_scrapy.worker.seeding import Seeder
from mocra_scrapy.worker.settlement import Settlement
from mocra_scrapy.worker.slot_policy import SlotPolicy, asking_again, policy_for
from mocra_scrapy.worker.transactions import Transactions
from mocra_scrapy.worker.wire import Wire

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from typing_extensions import Self

    from mocra_scrapy.runtime.worker_state import WorkerParts

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class CrawlWorker:
    """The inside of one crawling process: parts in the order in which a request passes them, none of which is changed."""

    crawler: Crawler
    parts: WorkerParts
    engine: EngineHooks
    status: QueueStatus
    outages: Outages
    filter: Filter
    codec: CompressingCodec
    seeder: Seeder
    intake: Intake
    local: LocalRequests
    outbox: Outbox
    lost: LostState
    loop: ExchangeLoop
    handler: ExchangeHandler
    policy: SlotPolicy
    inbox: Inbox
    dispatcher: Dispatcher
    deliveries: Deliveries
    wire: Wire
    settlement: Settlement
    overdue: Overdue
    opened: AsyncExitStack

    @classmethod
    async def open(cls, crawler: Crawler, parts: WorkerParts, filter: Filter) -> Self:
        """Connect, join the crawl, make the parts, hook into the engine, begin.

        Raises:
            ConfigurationError, BackendUnavailable: see :meth:`mocra_scrapy.runtime.Mocra.open`. What
                was opened until then is closed again.
        """
        opened = AsyncExitStack()
        try:
            status = QueueStatus(await opened.enter_async_context(parts.connected()))
            await filter.open()
            opened.push_async_callback(lambda: filter.close(status.close_reason))
            worker = cls._made(crawler, parts, filter, status, opened)
            opened.push_async_callback(worker.codec.close)
            opened.push_async_callback(worker.loop.close)
            opened.push_async_callback(worker.lost.close)
            opened.push_async_callback(worker.overdue.close)
            await worker._hook_in()
            worker.loop.start()
        except BaseException:
            await opened.aclose()  # in reverse
            raise
        return worker

    @classmethod
    def _made(
        cls,
        crawler: Crawler,
        parts: WorkerParts,
        filter: Filter,
        status: QueueStatus,
        opened: AsyncExitStack,
    ) -> Self:
        options, stats, spider = parts.options, crawler.stats, crawler.spider
        assert stats is not None
        assert spider is not None
        failures, engine = read_failure_options(crawler.settings), EngineHooks(crawler)
        codec = CompressingCodec(options, parts.session.queue, spider, stats, shared=parts.shared)
        outages = Outages(crawler, parts.backend_url, status, codec.doubt)
        # Taken in, and handed out.
        outbox, policy, cache = Outbox(), policy_for(options.limits, engine, parts.state.gate), RequestCache(RECALLED)
        inbox = Inbox(outbox, policy, store=status.store)
        transactions = Transactions(failures, filter, stats)
        settlement = Settlement(parts, failures, outbox, codec, stats, filter=filter, transactions=transactions)
        on_downloaded = asking_again(policy, status) if parts.immediate else policy.on_downloaded
        unused = Unused(parts, status, inbox, policy=policy, wake=engine.wake)
        deliveries = Deliveries(settlement.settle, on_downloaded, status.kick, unused.give_away)
        parts.state.budgets = budgets = BudgetBook(parts, deliveries.by_id, filter, codec=codec, stats=stats)
        wire = Wire(parts, status, engine, deliveries, policy=policy, paced=inbox.paced, stats=stats)
        local = LocalRequests(crawler, inbox, deliveries, engine.wake, required=options.require_serializable)
        dispatcher = Dispatcher(
            parts,
            status,
            inbox,
            outbox,
            codec=codec,
            cache=cache,
            deliveries=deliveries,
            policy=policy,
            stats=stats,
            wake=engine.wake,
        )
        seeder = Seeder(parts, status, engine, outbox, deliveries, starving=dispatcher.starving, insist=outages.insist)
        intake = Intake(
            crawler,
            parts,
            status,
            engine,
            outbox,
            filter=filter,
            delays=RequestedDelays(failures.delay_max, stats),
            codec=codec,
            cache=cache,
            policy=policy,
            local=local,
            seeder=seeder,
            settlement=settlement,
            budgets=budgets,
            transactions=transactions,
        )
        # Exchanged.
        handler = ExchangeHandler(
            crawler, parts, status, engine=engine, inbox=inbox, outbox=outbox, filter=filter, policy=policy, codec=codec
        )
        lost = LostState(
            parts,
            status,
            engine,
            inbox=inbox,
            filter=filter,
            policy=policy,
            codec=codec,
            seeder=seeder,
            stats=stats,
            insist=outages.insist,
        )
        loop = ExchangeLoop(
            parts.session,
            status,
            inbox,
            outbox,
            codec=codec,
            policy=policy,
            handler=handler,
            engine=engine,
            options=parts.live_options,
            insist=outages.insist,
            lost=lost,
            budgets=budgets,
            ahead=LeasingAhead(status, inbox, policy=policy, engine=engine),
            immediate=parts.immediate,
        )
        return cls(
            crawler,
            parts,
            engine,
            status,
            outages,
            filter,
            codec,
            seeder,
            intake,
            local,
            outbox,
            lost,
            loop,
            handler,
            policy,
            inbox,
            dispatcher,
            deliveries,
            wire,
            settlement,
            Overdue(crawler, parts, failures, deliveries=deliveries),
            opened,
        )

    async def _hook_in(self) -> None:
        """Where Scrapy's engine meets us, all of it."""
        engine, connect = self.engine, self.crawler.signals.connect
        engine.on_taken(self.deliveries.taken)
        engine.on_finished(self.wire.finished)
        engine.on_idle(self.handler.on_idle)
        engine.on_closing(self.on_closing)
        self.settlement.hook_in(self.crawler, engine)
        engine.wrap_output(interruptible)  # what holds a lock hears of its loss where it goes on
        # Callbacks wait while too much is not stored.
        output = engine.on_callback_output(self.intake.room, self.overdue.late_output, self.intake.transactions.hold)
        self.intake.transactions.check(output, in_engine=bool(engine.spider_middlewares))
        self.overdue.start(LetGo(engine, output))
        engine.on_crawl(self.intake.is_known, self.deliveries.sent_back)  # before Scrapy's signals
        if isinstance(self.filter, ClusterFilter):
            answer_early(self.crawler, engine, self.filter)
        engine.watch_slots(without_delay=self.parts.options.limits.cluster)
        if self.parts.options.limits.cluster:
            connect(self.wire.left_downloader, signals.request_left_downloader)
            logger.info(
                "Delays and concurrency of a slot hold for all workers of crawl %r together (MOCRA_THROTTLE_SCOPE)",
                self.parts.crawl,
            )
        if not engine.wrap_start(self.seeder.run):
            await self.seeder.nothing_to_seed()
        running = Running(
            self.status, engine, self.inbox, self.outbox, deliveries=self.deliveries, seeder=self.seeder, wire=self.wire
        )
        self.parts.state.attach(running)

    # ------------------------------------------------------------------ Scrapy's seam

    def next_request(self) -> Request | None:
        """The next request that may start now; ``None``: nothing now, the engine is woken later."""
        request = self.dispatcher.next(self.loop.exchange_now)
        if request is None:
            self.seeder.look_again()
        return request

    def has_pending_requests(self) -> bool:
        """Whether it has anything to fetch or to tell; what nobody leases ahead counts, as in Scrapy's."""
        if self.inbox or self.outbox or self.local or self.wire.bypass:
            return True
        size = self.status.size
        return self.parts.immediate and self.status.leasing and bool(size.pending + size.delayed)

    def __len__(self) -> int:
        return len(self.inbox) + len(self.local) + self.outbox.waiting

    # ------------------------------------------------------------------ the end

    def on_closing(self) -> None:
        """Nothing new is started, so what was leased ahead goes back at once. May be called twice."""
        self.parts.state.on_closing()
        if self.status.closing:
            return
        self.status.closing = True
        self.status.leasing = False
        self.overdue.closing()
        self.local.close()
        self.dispatcher.close()
        self.seeder.stop()
        self.inbox.give_back()
        self.status.kick()

    async def close(self, reason: str) -> None:
        """Hand back what was not started, store what is left, leave. Within
        ``MOCRA_STOP_TIMEOUT`` and what closing the filter takes; never raises a MocraError.
        """
        # 1. Nothing new begins.
        self.status.close_reason, self.wire.bypass.closed = reason, True
        self.on_closing()
        # 2. What happened is stored, and the worker signs off.
        try:
            await asyncio.wait_for(self._flush_and_sign_off(), self.parts.options.stop_timeout)
        except asyncio.TimeoutError:
            self._left_unflushed(f"took longer than MOCRA_STOP_TIMEOUT = {self.parts.options.stop_timeout:g} s")
        except MocraError as error:
            self._left_unflushed(f"refused ({error})")
        if self.parts.backend_url == "memory://" and not self.parts.one_off:
            tell_what_is_gone(self.parts.crawl, self.status.size.unfinished + len(self.local))
        # 3. In reverse of their opening: the exchanges, the codec, the filter, the backend.
        stats = self.crawler.stats
        assert stats is not None
        stats.set_value("mocra/queue/round_trips", self.status.round_trips)
        try:
            await self.opened.aclose()
        except MocraError as error:
            logger.warning("The backend did not close properly: %s", error)

    async def _flush_and_sign_off(self) -> None:
        while self.outbox and not self.handler.is_broken:
            self.status.kick()
            await self.status.changed()
        await self.loop.close()
        session = self.parts.session
        await self.outages.insist(lambda _: session.queue.close_worker(session.worker))
        if self.outbox:
            self._left_unflushed("refused")

    def _left_unflushed(self, why: str) -> None:
        logger.error(
            "The backend %s: %s not stored. What this worker held goes to others, in %g s at the latest",
            why,
            counted(len(self.outbox), "message"),
            self.parts.options.queue.lease,
        )
        assert self.crawler.stats is not None
        self.crawler.stats.inc_value("mocra/worker/left_unflushed", len(self.outbox))
