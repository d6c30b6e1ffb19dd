"""What the queue's answers mean for this worker: its stats, its signals, duplicates that only the
cluster knew, the end.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from scrapy import signals as scrapy_signals
from scrapy.exceptions import CloseSpider, DontCloseSpider

from mocra_scrapy import signals
from mocra_scrapy.models.wording import counted
from mocra_scrapy.runtime.worker_state import DRAINED
from mocra_scrapy.worker.rule_differences import RuleDifferences

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler

    from mocra_scrapy.codec.dictionaries import CompressingCodec
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.models import Exchange
    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.worker.duplicates import Filter
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.outbox import Batch, Outbox
    from mocra_scrapy.worker.pushes import Push
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.slot_policy import SlotPolicy

logger = logging.getLogger(__name__)

#: The reason with which Scrapy closes a spider whose ``start()`` raised.
START_ERROR = "start_error"


class ExchangeHandler:
    """Hears of each answer to :class:`~mocra_scrapy.worker.exchange_loop.ExchangeLoop`.

    Attributes:
        run: the run that this worker works on.
        rules: whether others have other limits.
        is_broken: whether nothing more is told to the queue.
    """

    def __init__(
        self,
        crawler: Crawler,
        parts: WorkerParts,
        status: QueueStatus,
        *,
        engine: EngineHooks,
        inbox: Inbox,
        outbox: Outbox,
        filter: Filter,
        policy: SlotPolicy,
        codec: CompressingCodec,
    ) -> None:
        assert crawler.stats is not None
        assert crawler.spider is not None
        self._crawler = crawler
        self._spider: Spider = crawler.spider
        self._stats = crawler.stats
        self._parts = parts
        self._options = parts.options
        self._status = status
        self._engine = engine
        self._inbox = inbox
        self._outbox = outbox
        self._filter = filter
        self._policy = policy
        self._codec = codec
        self.run = status.state.run
        self.rules = RuleDifferences(parts, crawler.stats)
        self.is_broken = self._told_full = False
        self._answered_at = time.monotonic()

    # ------------------------------------------------------------------ answers

    def on_answered(self, batch: Batch, exchange: Exchange) -> None:
        """The queue stored and settled *batch*, and gave what *exchange* says."""
        batch.tell(exchange)
        for name, count in described(exchange).items():
            if count:
                self._stats.inc_value(name, count)
        new = sum(exchange.stored)
        if new:
            self._stats.inc_value("scheduler/enqueued", new)
        if new < len(exchange.stored):
            self._not_stored(batch, exchange)
        self._engine.listen_again()
        self._look_at_clock(exchange.silence)
        if exchange.size.dead >= self._options.queue.max_dead and not self._told_full:
            self._tell_full(exchange.size.dead)
        if exchange.state.run > self.run:
            self._next_run(exchange)
        self.run = exchange.state.run
        if self._status.finished and not exchange.state.finished and not self.is_broken:
            self._status.finished = False  # somebody pushed after the end: the run goes on
        if exchange.lost:
            self._lost()
        if self._status.leasing:
            self._inbox.add(exchange.leases)
            self._give_back_held(exchange)
        else:
            self._outbox.release(list(exchange.leases))
        if self._status.may_be_over and self._options.close != "never":
            self._parts.state.over()  # what only prepares work would keep the engine from being idle

    def _tell_full(self, letters: int) -> None:
        """Once: from now on something is lost with each letter."""
        self._told_full = True
        self._stats.set_value("mocra/dead/full", True)
        logger.error(
            "Crawl %r has %s, as many as MOCRA_MAX_DEAD allows: each further one deletes the oldest. Look at them (scrapy"
            " mocra dead list), replay or purge what can go, or raise MOCRA_MAX_DEAD",
            self._parts.crawl,
            counted(letters, "dead letter"),
        )

    def _look_at_clock(self, silence: float) -> None:
        """By the server's clock nobody called for longer than since our own last call: it was set
        ahead.
        """
        before, self._answered_at = self._answered_at, time.monotonic()
        ahead = silence - (self._answered_at - before)
        if ahead > self._options.queue.lease / 2:
            logger.warning(
                "The clock of the backend jumped ahead by %.0f s; leases were extended by as much, delays ended early",
                ahead,
            )
            self._stats.inc_value("mocra/backend/clock_steps")

    def _give_back_held(self, exchange: Exchange) -> None:
        """Somebody asked to wait: what waits here goes back, to be held where it keeps nobody
        waiting.
        """
        held = {name for name, seconds in exchange.held.items() if seconds > 0}
        if held:
            self._inbox.give_back_of(held)
            self._stats.inc_value("mocra/throttle/held", len(held))
        none_left = {name for name, permits in exchange.permits.items() if not permits}
        if none_left:
            self._inbox.give_back_of(none_left)

    def _not_stored(self, batch: Batch, exchange: Exchange) -> None:
        for place, (push, stored) in enumerate(zip(batch.pushes, exchange.stored, strict=True)):
            if place in exchange.stale:
                self._stale(push)
            elif not stored and push.request is not None:
                self._dropped(push.request, was_known=place not in exchange.refused)

    def _dropped(self, request: Request, *, was_known: bool) -> None:
        """The queue knew it, or a budget refused it: what Scrapy does when ``enqueue_request`` says
        ``False``.
        """
        if was_known:
            self._filter.dropped(request, self._spider)
        self._crawler.signals.send_catch_log(scrapy_signals.request_dropped, request=request, spider=self._spider)

    def _stale(self, push: Push) -> None:
        """Its parent has gone to another worker, which stores it, if it is yielded again."""
        self._stats.inc_value("mocra/transaction/stale")
        if push.entry.fingerprint is not None:
            self._filter.forget_one(push.entry.fingerprint)

    def _next_run(self, exchange: Exchange) -> None:
        """Our run ended and somebody began the next one: what we have seen is forgotten there."""
        logger.info("Run %d of crawl %r is over, run %d has begun", self.run, self._parts.crawl, exchange.state.run)
        self._codec.doubt()
        if not self._filter.forget():
            logger.warning(
                "DUPEFILTER_CLASS is a filter of the project's own, which goes on to know the pages of run %d: this worker"
                " drops links to them in run %d. Start it again, or delete that setting to filter over the whole cluster",
                self.run,
                exchange.state.run,
            )

    def _lost(self) -> None:
        """We were paused for longer than the lease: what waits in the inbox may be with others;
        give it back if it is not.
        """
        logger.warning(
            "This worker was silent for MOCRA_LEASE = %g s; what it held has gone to others",
            self._options.queue.lease,
        )
        self._stats.inc_value("mocra/worker/lost")
        self._inbox.give_back()
        self._crawler.signals.send_catch_log(signals.worker_lost, spider=self._spider)

    # ------------------------------------------------------------------ the end

    def on_idle(self, held: bool) -> None:
        """Nothing to do here. Whether the spider may close is a question to the whole cluster; it
        is only asked when no handler of ``spider_idle`` has an opinion (*held*).
        """
        status, state = self._status, self._parts.state
        if status.closing or status.finished or held:
            return
        if state.draining:
            raise CloseSpider(DRAINED)
        if self._options.close == "idle" and not state.paused and status.dry and not status.size.delayed:
            return
        if status.start_failed and not status.size.unfinished and self._options.close == "finished":
            raise CloseSpider(START_ERROR)
        if self._options.close == "finished" and status.may_be_over and not status.wants_end:
            status.wants_end = True
            status.kick()
        raise DontCloseSpider

    async def on_finished(self, won: bool) -> None:
        """The run is finished; *won*: it was this worker that ended it."""
        self._status.finished = True
        if won:
            logger.info("Run %d of crawl %r is finished", self.run, self._parts.crawl)
            self._stats.set_value("mocra/crawl/finished_here", True)
            await self._crawler.signals.send_catch_log_async(
                signals.crawl_finished, spider=self._spider, crawl=self._parts.crawl, run=self.run
            )
        if self._engine.idle:
            self._engine.close_spider("finished")  # nobody minded when it was asked
        else:
            self._engine.wake()

    def on_broken(self) -> None:
        """Something that can't be repeated went wrong: the worker must stop."""
        self.is_broken = True
        self._stats.inc_value("mocra/worker/broken")
        self._status.finished = True
        self._status.answered()  # nobody waits for what will not come
        self._engine.close_spider("mocra_error")


def described(exchange: Exchange) -> dict[str, Any]:
    """The counts of an answer under the names of our stats."""
    return {
        "mocra/queue/acked": sum(exchange.acked),
        "mocra/queue/ack_refused": len(exchange.acked) - sum(exchange.acked),
        "mocra/queue/released": sum(exchange.released),
        "mocra/queue/buried": sum(exchange.buried),
        "mocra/queue/leased": len(exchange.leases),
        "mocra/queue/redelivered": sum(1 for lease in exchange.leases if lease.deliveries > 1),
        "mocra/queue/reclaimed": exchange.reclaimed,
        "mocra/queue/given_up": exchange.given_up,
        "mocra/dead/stalled": exchange.stalled,
    }
