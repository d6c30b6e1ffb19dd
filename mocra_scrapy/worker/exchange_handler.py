"""What the queue's answers mean for this worker: its stats, its signals, duplicates that only the
cluster knew, the end.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from scrapy import signals as scrapy_signals
from scrapy.exceptions import CloseSpider, DontCloseSpider

from mocra_scrapy import signals
from mocra_scrapy.runtime.worker_state import DRAINED
from mocra_scrapy.worker.exchange_loop import ExchangeLoop, Hooks, describe
from mocra_scrapy.worker.permits import SlotPermits, names_of

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.dupefilters import BaseDupeFilter

    from mocra_scrapy.dupefilters import RecentDupeFilter
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.exceptions import MocraError
    from mocra_scrapy.models import Exchange
    from mocra_scrapy.runtime import Mocra
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.outbox import Batch, Outbox

logger = logging.getLogger(__name__)


class ExchangeHandler:
    """The hooks of one worker's :class:`~mocra_scrapy.worker.exchange_loop.ExchangeLoop`.

    Attributes:
        run: the run that this worker works on.
        finished: whether that run ended, as far as this worker knows.
        closing: whether this worker takes no more work.
        turns: whose answers these are.
    """

    turns: ExchangeLoop

    def __init__(
        self,
        crawler: Crawler,
        mocra: Mocra,
        engine: EngineHooks,
        inbox: Inbox,
        outbox: Outbox,
        *,
        filters: tuple[BaseDupeFilter, RecentDupeFilter | None],
        permits: SlotPermits | None = None,
    ) -> None:
        assert crawler.stats is not None
        assert crawler.spider is not None
        self.crawler = crawler
        self.spider: Spider = crawler.spider
        self.stats = crawler.stats
        self.mocra = mocra
        self.options = mocra.options
        self.engine = engine
        self.inbox = inbox
        self.outbox = outbox
        self.df, self._recent = filters
        self._permits = permits
        self.run = 0
        self.finished = False
        self.closing = False

    @property
    def hooks(self) -> Hooks:
        return Hooks(self._answered, self._crawl_finished, self._away, self._back, self._broken)

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
        self.engine.listen_again()
        if exchange.state.run != self.run:
            self._next_run(exchange)
        if exchange.lost:
            self._lost()
        if not self.turns.leasing:
            self.outbox.release(list(exchange.leases))
        elif self._permits is None:
            self.inbox.add(exchange.leases)
        else:
            self._take_in(exchange, self._permits)
        if exchange.leases or batch or self.turns.may_be_over:
            self.engine.wake()  # to fetch, or to notice that nothing is left

    def _take_in(self, exchange: Exchange, permits: SlotPermits) -> None:
        """Leases of slots that have limits over the cluster."""
        limits = self.options.limits
        self.inbox.add(
            exchange.leases,
            lambda lease: lease.wait > 0 or any(limits.of(name).interval for name in names_of(lease)),
        )
        for lease in exchange.leases:
            permits.on_leased(lease)
            permits.declare_limits(names_of(lease))
        for name, count in exchange.permits.items():
            if not name.startswith("@"):
                self.engine.widen(name, count)
        held = {name for name, seconds in exchange.held.items() if seconds > 0}
        if held:
            # Somebody was told to wait: what waits here goes back, to be held where it keeps nobody
            # waiting.
            back = self.inbox.take_out(lambda lease: not held.isdisjoint(names_of(lease)))
            permits.on_returned(back)
            self.outbox.release(back)
            self.stats.inc_value("mocra/throttle/held", len(held))

    def _dropped(self, request: Request) -> None:
        """The queue knew it: what Scrapy does when ``enqueue_request`` says ``False``."""
        self.df.log(request, self.spider)
        self.crawler.signals.send_catch_log(scrapy_signals.request_dropped, request=request, spider=self.spider)

    def _next_run(self, exchange: Exchange) -> None:
        """Our run ended and somebody began the next one: what we have seen is forgotten there."""
        logger.info("Run %d of crawl %r is over, run %d has begun", self.run, self.mocra.crawl, exchange.state.run)
        self.run = exchange.state.run
        self._doubt()
        if self._recent is not None:
            self._recent.recent.clear()

    def _lost(self) -> None:
        """We were paused for longer than the lease: what waits in the inbox may be with others;
        give it back if it is not.
        """
        logger.warning(
            "This worker gave no sign of life for MOCRA_LEASE = %g s; what it held went to others",
            self.options.queue.lease,
        )
        self.stats.inc_value("mocra/worker/lost")
        back = self.inbox.drain()
        self.outbox.release(back)
        if self._permits is not None:
            self._permits.on_returned(back)
            self._permits.on_lost()
        self.crawler.signals.send_catch_log(signals.worker_lost, spider=self.spider)

    def on_idle(self) -> None:
        """Nothing to do here. Whether the spider may close is a question to the whole cluster."""
        turns, flow = self.turns, self.mocra.worker_state
        if self.closing or self.finished:
            return
        if flow.draining:
            raise CloseSpider(DRAINED)
        if self.options.close == "idle" and not flow.paused and turns.dry and not turns.size.delayed:
            return
        if self.options.close == "finished" and turns.may_be_over and not turns.wants_end:
            turns.wants_end = True
            turns.kick()
        raise DontCloseSpider

    async def _crawl_finished(self, won: bool) -> None:
        self.finished = True
        if won:
            logger.info("Run %d of crawl %r is finished", self.run, self.mocra.crawl)
            self.stats.set_value("mocra/crawl/finished_here", True)
            await self.crawler.signals.send_catch_log_async(
                signals.crawl_finished, spider=self.spider, crawl=self.mocra.crawl, run=self.run
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
        self._doubt()
        self.crawler.signals.send_catch_log(signals.backend_available, spider=self.spider, seconds=seconds)

    def _doubt(self) -> None:
        """What was stored beside the queue may be gone with the server's last writes, or with a
        crawl that was cleared.
        """
        if self.turns.packing is not None:
            self.turns.packing.doubt()

    def _broken(self, error: BaseException) -> None:
        self.stats.inc_value("mocra/worker/broken")
        self.finished = True
        self.engine.close_spider("mocra_error")
