"""The one task of a worker that talks to its queue: it takes from the outbox, fills the inbox, and
learns where the crawl stands.

Between two exchanges it sleeps until there is a reason: something to settle that waited long
enough, an inbox that runs low, a wake-up by another worker, an entry that becomes due, the
heartbeat. Every exchange is repeated with the same number until the backend answers, so an outage
pauses the worker and loses nothing.

Where the queue answers at once (``memory://``) nothing is leased ahead: the engine's question is an
exchange for one request (:meth:`ExchangeLoop.exchange_now`), so requests go out in the order in
which Scrapy's own scheduler gives them. The task does the rest: what nobody asks for in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import Finish
from mocra_scrapy.worker.outbox import BATCH, BATCH_BYTES

if TYPE_CHECKING:
    from mocra_scrapy.codec.dictionaries import CompressingCodec, Insist
    from mocra_scrapy.coordination.queue_session import QueueSession
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.models import Audit, Bounds, Exchange
    from mocra_scrapy.settings.crawl import Options
    from mocra_scrapy.worker.budgets import BudgetBook
    from mocra_scrapy.worker.exchange_handler import ExchangeHandler
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.leasing_ahead import LeasingAhead
    from mocra_scrapy.worker.lost_state import LostState
    from mocra_scrapy.worker.outbox import Batch, Outbox
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.slot_policy import SlotPolicy

logger = logging.getLogger(__name__)

#: Answers in which something is counted and nothing can be had, before this worker has it counted
#: anew; then after twice as many each, so many at most.
STUCK, LONGEST_STUCK = 4, 256


@dataclass(frozen=True, slots=True)
class Call:
    """One exchange, answered or not."""

    want: int
    batch: Batch
    bounds: Bounds

    @property
    def arguments(self) -> dict[str, Any]:
        """For :meth:`mocra_scrapy.coordination.queue_session.QueueSession.exchange`."""
        batch = self.batch
        return {
            "push": [push.entry for push in batch.pushes],
            "ack": batch.acks,
            "release": batch.releases,
            "bury": batch.burials,
            "want": self.want,
            "bounds": self.bounds,
            "positions": batch.positions,
        }


class ExchangeLoop:
    """Runs the exchanges of one worker, one at a time.

    Args:
        options: the settings as they are now; some of them change while a crawl runs.
        insist: repeats a call until the backend answers.
        immediate: whether :meth:`exchange_now` is how requests are leased.
    """

    def __init__(
        self,
        session: QueueSession,
        status: QueueStatus,
        inbox: Inbox,
        outbox: Outbox,
        *,
        codec: CompressingCodec,
        policy: SlotPolicy,
        handler: ExchangeHandler,
        engine: EngineHooks,
        options: Callable[[], Options],
        insist: Insist,
        lost: LostState,
        budgets: BudgetBook,
        ahead: LeasingAhead,
        immediate: bool = False,
    ) -> None:
        self._session = session
        self._immediate, self._ahead = immediate, ahead
        self._status = status
        self._inbox = inbox
        self._outbox = outbox
        self._codec = codec
        self._policy = policy
        self._handler = handler
        self._engine = engine
        self._options = options
        self._insist = insist
        self._lost = lost
        self._budgets = budgets
        self._woken = False
        self._last = 0.0
        self._idle = 0.0
        self._due: float | None = None
        self._stuck, self._patience = 0, STUCK
        self._busy = False  # one is under way
        self._half: tuple[Call, Exchange] | None = None  # answered at once, with more to do than can be done so
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._run(), name="mocra exchanges"),
            asyncio.create_task(self._listen(), name="mocra wake-ups"),
        ]

    async def close(self) -> None:
        """End the tasks. What was not confirmed is left to the lease. May be called twice."""
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)

    # ------------------------------------------------------------------ when

    async def _run(self) -> None:
        try:
            while True:
                options = self._options()  # some of them change while a crawl runs
                want = 0 if self._immediate else self._ahead.want(options)
                pause = self._pause(options, want)
                if self._half is not None:
                    half, self._half = self._half, None
                    await self._take_in(*half)
                    self._busy = False
                elif pause > 0:
                    self._status.kicked.clear()
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._status.kicked.wait(), pause)
                else:
                    await self._exchange(options, want)
        except asyncio.CancelledError:
            raise
        except MocraError as error:
            logger.critical("The backend keeps refusing this worker's calls; this worker stops: %s", error)
            self._handler.on_broken()
        except BaseException:
            logger.critical("The exchange with the queue failed; this worker stops", exc_info=True)
            self._handler.on_broken()

    async def _listen(self) -> None:
        """Wake-ups by other workers: pushes, the end, a change of state."""
        session = self._session
        while True:
            if await session.queue.wait(session.worker, 3600):
                self._status.dry = False
                self._woken = True  # whoever wakes us has something to tell
                self._status.kick()

    def _pause(self, options: Options, want: int) -> float:
        """Seconds until the next exchange is worth it; 0: now."""
        now, waiting = time.monotonic(), self._outbox.waiting
        gap = self._last + options.exchange_interval - now
        if self._urgent(options, want, waiting):
            return max(gap, 0.0) if self._last else 0.0
        until = self._last + self._idle
        if waiting:
            until = min(until, self._last + options.flush_interval)
        if self._due is not None:
            until = min(until, self._due)
        return max(until - now, gap, 0.0)

    def _urgent(self, options: Options, want: int, waiting: int) -> bool:
        """Whether waiting for company would cost time: the engine starves, the inbox runs low, or a
        batch is full.
        """
        status = self._status
        if self._woken or status.wants_permits:
            return True
        if waiting >= BATCH or not status.leasing or status.wants_end:
            return waiting > 0 or status.wants_end
        if self._immediate:
            return False  # the engine asks by itself
        if waiting and not self._inbox:
            return True  # what is pushed may be what the engine waits for, and what is acked may be the end
        return want > 0 and not status.dry and (status.hungry or self._inbox.leased * 2 <= options.prefetch)

    # ------------------------------------------------------------------ one exchange

    async def _exchange(self, options: Options, want: int) -> None:
        call = self._begin(options, want, BATCH, BATCH_BYTES)
        self._busy = True
        await call.batch.pack()
        arguments, sent = call.arguments, self._status.store.sent
        exchange = await self._insist(lambda repeat: sent(self._session.exchange(**arguments, repeat=repeat)))
        await self._take_in(call, exchange)
        self._busy = False

    def exchange_now(self) -> bool:
        """For an engine that asks: where the queue answers at once, tell it all that waits and take
        one request. Whether there is one in the inbox now, which may have to wait for its instant.
        """
        status = self._status
        if not self._immediate or self._busy or not status.leasing or (status.dry and not self._outbox.waiting):
            return False
        try:
            call = self._begin(self._options(), 1, sys.maxsize, sys.maxsize)
            status.store.at_once()
            exchange = self._session.exchange_now(**call.arguments)
            news = self._lost.is_news(exchange.state) or self._handler.rules.is_news(exchange)
            if news or not self._codec.is_ready(exchange.leases):
                self._busy, self._half = True, (call, exchange)
                status.kick()
                return False
            self._note(call, exchange)
            self._handler.on_answered(call.batch, exchange)
            if exchange.refused or exchange.withdrawn:
                self._budgets.answered(call.batch, exchange)
            status.answered()
        except Exception:
            logger.critical("The exchange with the queue failed; this worker stops", exc_info=True)
            self._handler.on_broken()
            return False
        return bool(exchange.leases)

    def _begin(self, options: Options, want: int, most: int, most_bytes: int) -> Call:
        batch = self._outbox.take(most, most_bytes)
        bounds = self._policy.bounds(want, self._inbox)
        if self._budgets.is_on:
            bounds = self._budgets.say(bounds, batch)
        self._woken = self._status.wants_permits = False
        self._last = time.monotonic()
        # How long a dry worker sleeps at most: jittered, so that many don't come at once.
        self._idle = min(options.idle_poll, options.queue.lease / 3) * random.uniform(0.75, 1.25)  # noqa: S311
        self._due = None
        return Call(want, batch, bounds)

    def _note(self, call: Call, exchange: Exchange) -> None:
        """What *exchange* says of the queue. Nobody sees its leases yet."""
        status = self._status
        status.round_trips += 1
        self._outbox.confirm(call.batch, positioned=exchange.positioned)
        status.state, status.size = exchange.state, exchange.size
        if call.want:
            status.dry = not exchange.leases
        elif any(exchange.stored) or (self._immediate and exchange.size.pending):
            status.dry = False
        if exchange.leases:
            status.hungry = False
        if exchange.next_due is not None:
            self._due = time.monotonic() + exchange.next_due + random.uniform(0.001, 0.02)  # noqa: S311
            if exchange.next_due <= 0:
                status.dry = False
        if exchange.lost:
            self._policy.on_lost()  # before what this answer grants anew
        self._policy.on_answered(exchange, call.bounds)

    async def _take_in(self, call: Call, exchange: Exchange) -> None:
        state = await self._lost.look(exchange.state)
        if state is not exchange.state:
            exchange = replace(exchange, state=state)
        self._note(call, exchange)
        # Nobody sees a lease that can't be read yet.
        await self._codec.arrived(exchange.leases, self._insist)
        self._handler.on_answered(call.batch, exchange)
        if exchange.refused or exchange.withdrawn:
            self._budgets.answered(call.batch, exchange)
        if exchange.leases or call.batch or self._status.may_be_over or (self._immediate and not self._status.dry):
            self._engine.wake()  # to fetch, or to notice that nothing is left
        if not self._immediate:
            self._ahead.answered(exchange, self._options())
        self._status.answered()
        await self._handler.rules.look(exchange, self._insist)
        await self._look_for_stuck(call.want, exchange)
        await self._maybe_end()

    async def _look_for_stuck(self, want: int, exchange: Exchange) -> None:
        """A count that is wrong (somebody deleted a part, or the server lost it) would keep the
        crawl from ever ending. Where others work, or wait for something, this finds nothing wrong.
        """
        mine = exchange.leases or self._outbox or self._engine.downloading or self._inbox
        if mine or not (want and exchange.size.pending + exchange.size.leased):
            self._stuck, self._patience = 0, STUCK
            return
        self._stuck += 1
        if self._stuck < self._patience:
            return
        self._stuck, self._patience = 0, min(2 * self._patience, LONGEST_STUCK)
        audit: Audit = await self._insist(lambda _: self._session.queue.audit(True))
        if audit.differs:
            logger.error(
                "The counts of this crawl did not match what is stored of it and have been corrected: %s", audit
            )
            self._woken = True

    async def _maybe_end(self) -> None:
        status = self._status
        if not status.wants_end or self._outbox:
            return
        status.wants_end = False
        if status.state.finished:
            await self._handler.on_finished(False)
        elif status.may_be_over:
            verdict = await self._insist(lambda _: self._session.queue.finish(self._session.worker))
            if verdict is not Finish.BUSY:
                await self._handler.on_finished(verdict is Finish.WON)
