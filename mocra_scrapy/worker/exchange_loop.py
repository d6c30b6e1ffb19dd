"""The one task of a worker that talks to its queue: it takes from the outbox, fills the inbox, and
learns where the crawl stands.

Between two exchanges it sleeps until there is a reason: something to settle that waited long
enough, an inbox that runs low, a wake-up by another worker, an entry that becomes due, the
heartbeat. Every exchange is repeated with the same number until the backend answers, so an outage
pauses the worker and loses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import BackendUnavailable, MocraError
from mocra_scrapy.models import Bounds, CrawlState, Exchange, Finish, QueueSize, Seeding
from mocra_scrapy.worker.outbox import Batch

if TYPE_CHECKING:
    from mocra_scrapy.codec.dictionaries import CompressingCodec
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.runtime import Mocra
    from mocra_scrapy.settings.crawl import Options
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.outbox import Outbox
    from mocra_scrapy.worker.permits import SlotPermits

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Operations and bytes of one exchange: keeps a script on the server near one millisecond.
BATCH, BATCH_BYTES = 200, 512 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # s between two attempts while the backend is away


@dataclass(slots=True)
class Hooks:
    """What the scheduler wants to hear.

    Attributes:
        answered: an exchange was answered.
        finished: the crawl is finished; whether it was this worker that ended it.
        away, back: an outage began; it is over after so many seconds.
        broken: something that can't be repeated went wrong; the worker must stop.
    """

    answered: Callable[[Batch, Exchange], None]
    finished: Callable[[bool], Awaitable[None]]
    away: Callable[[MocraError], None]
    back: Callable[[float], None]
    broken: Callable[[BaseException], None]


class ExchangeLoop:
    """Runs the exchanges of one worker, one at a time.

    Attributes:
        state: where the crawl stands, as the last answer said.
        size: counts of the last answer.
        dry: the last look found nothing to lease; looks again when woken, when something is due, or
            after the idle poll.
        leasing: whether new work is taken (``False`` while closing, paused, draining).
        wants_end: the spider is idle, and asks whether the crawl is finished.
        round_trips: exchanges that were answered.
        packing: fetches what leases need to be read; ended with these tasks.
    """

    def __init__(
        self,
        mocra: Mocra,
        engine: EngineHooks,
        inbox: Inbox,
        outbox: Outbox,
        hooks: Hooks,
        *,
        permits: SlotPermits | None = None,
    ) -> None:
        self._mocra = mocra
        self._engine = engine
        self._inbox = inbox
        self._outbox = outbox
        self._hooks = hooks
        self._permits = permits  # None: limits of slots hold in this worker only
        self._woken = False
        self.state = CrawlState(0)
        self.size = QueueSize()
        self.dry = False
        self.leasing = True
        self.wants_end = False
        self.hungry = False
        self.round_trips = 0
        self.packing: CompressingCodec | None = None
        self.unanswered: float | None = None  # since when the backend is away
        self._kicked = asyncio.Event()
        self._changed = asyncio.Event()
        self._last = 0.0
        self._idle = 0.0
        self._due: float | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def _options(self) -> Options:
        return self._mocra.options  # some of them change while a crawl runs

    @property
    def may_be_over(self) -> bool:
        """Whether the last answer leaves nothing to do for anybody."""
        return self.state.finished or (self.state.seeding is Seeding.DONE and not self.size.unfinished)

    # ------------------------------------------------------------------ from outside

    def start(self, state: CrawlState) -> None:
        self.state = state
        self._tasks = [
            asyncio.create_task(self._run(), name="mocra turns"),
            asyncio.create_task(self._listen(), name="mocra wake-ups"),
        ]

    def kick(self) -> None:
        """There may be a reason for an exchange: look again."""
        self._kicked.set()

    def changed(self) -> Coroutine[Any, Any, object]:
        """Wait for the next answer of the queue, counted from the call: none is missed before this
        is awaited.
        """
        return self._changed.wait()

    async def stored(self) -> None:
        """Wait until everything that is in the outbox now is confirmed."""
        mark = self._outbox.put
        while self._outbox.confirmed < mark:
            self.kick()
            await self.changed()

    async def stop(self) -> None:
        """End the tasks. What was not confirmed is left to the lease."""
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)
        if self.packing is not None:
            await self.packing.close()

    # ------------------------------------------------------------------ the loop

    async def _run(self) -> None:
        try:
            while True:
                pause = self._pause()
                if pause > 0:
                    self._kicked.clear()
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(self._kicked.wait(), pause)
                    continue
                await self._turn()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            logger.critical("The exchange with the queue broke down; this worker stops", exc_info=True)
            self._hooks.broken(error)

    async def _listen(self) -> None:
        """Wake-ups by other workers: pushes, the end, a change of state."""
        while True:
            if await self._mocra.queue.wait(self._mocra.worker, 3600):
                self.dry = False
                self._woken = True  # whoever wakes us has something to tell
                self.kick()

    def _idle_for(self) -> float:
        """How long a dry worker sleeps at most: jittered, so that many don't come at once."""
        lease = self._options.queue.lease
        return float(min(self._options.idle_poll, lease / 3) * random.uniform(0.75, 1.25))  # noqa: S311

    def _pause(self) -> float:
        """Seconds until the next exchange is worth it; 0: now."""
        now = time.monotonic()
        gap = self._last + self._options.turn_interval - now
        if self._urgent():
            return max(gap, 0.0) if self._last else 0.0
        until = self._last + self._idle
        if self._outbox.waiting:
            until = min(until, self._last + self._options.flush_interval)
        if self._due is not None:
            until = min(until, self._due)
        return max(until - now, gap, 0.0)

    def _urgent(self) -> bool:
        """Whether waiting for company would cost time: the engine starves, the inbox runs low, or a
        batch is full.
        """
        waiting = self._outbox.waiting
        if self._woken:
            return True
        if waiting >= BATCH or not self.leasing or self.wants_end:
            return waiting > 0 or self.wants_end
        if waiting and not self._inbox:
            return True  # what is pushed may be what the engine waits for, and what is acked may be the end
        return not self.dry and self._want() > 0 and (self.hungry or self._inbox.leased * 2 <= self._options.prefetch)

    def _want(self) -> int:
        """How many to lease: what the downloader has permits for and the prefetch, less what is here
        already.
        """
        if not self.leasing or self._engine.paused:
            return 0
        options = self._options
        free = max(0, options.concurrency - self._engine.downloading)
        if not options.prefetch:
            return max(0, min(free, 1) - self._inbox.leased) if self.hungry else 0
        # What waits for a slot that is full can't be fetched now: it doesn't count, so that slow
        # hosts don't starve the others.
        bound = 4 * (options.concurrency + options.prefetch) - self._inbox.leased
        return max(0, min(free + options.prefetch - self._fetchable(), bound))

    def _fetchable(self) -> int:
        """Leased requests in the inbox for which the downloader has room."""
        if self._permits is not None:
            return self._inbox.leased - self._inbox.timed()  # what was leased has a place, or will have one soon
        fetchable = 0
        for slot in self._inbox.slots:
            held, room = self._inbox.held_in(slot), self._engine.concurrency_of(slot)
            fetchable += max(0, min(held, 2 * room - self._engine.active_in(slot))) if room else held
        return fetchable

    def _bounds(self, want: int) -> Bounds:
        """What bounds the leases of an exchange: for the cluster, what this worker has and gives
        back…
        """
        if self._permits is None:
            full, per_slot = self._limits() if want else ([], 0)
            return Bounds(full=full, per_slot=per_slot)
        return Bounds(
            full=self._permits.crowded() if want else (),
            loads=self._permits.loads() if want else {},
            keep_permits=self._permits.keep_permits(),
            limits=self._permits.limits(),
        )

    def _limits(self) -> tuple[list[str], int]:
        """…for itself: slots of which this worker has enough, and how many of each other slot it
        takes at a time.
        """
        full = []
        for slot in self._inbox.slots:
            room = self._engine.concurrency_of(slot)
            if room and self._inbox.held_in(slot) + self._engine.active_in(slot) >= 2 * room:
                full.append(slot)
        return full, self._engine.concurrency_of("")

    async def _turn(self) -> None:
        batch = self._outbox.take(BATCH, BATCH_BYTES)
        want = self._want()
        bounds = self._bounds(want)
        self._woken = False
        self._last = time.monotonic()
        self._idle = self._idle_for()
        self._due = None
        exchange = await self.insist(
            lambda repeat: self._mocra.queue_session.exchange(
                push=[push.entry for push in batch.pushes],
                ack=batch.acks,
                release=batch.releases,
                bury=batch.burials,
                want=want,
                repeat=repeat,
                bounds=bounds,
            )
        )
        self.round_trips += 1
        self._outbox.confirm(batch)
        self.state, self.size = exchange.state, exchange.size
        if want:
            self.dry = not exchange.leases
        elif any(exchange.stored):
            self.dry = False
        if exchange.leases:
            self.hungry = False
        if exchange.next_due is not None:
            self._due = time.monotonic() + exchange.next_due + random.uniform(0.001, 0.02)  # noqa: S311
            if exchange.next_due <= 0:
                self.dry = False
        if self._permits is not None:
            self._permits.on_answered(exchange, bounds.keep_permits)
        if self.packing is not None:
            await self.packing.arrived(exchange.leases, self.insist)  # nobody sees a lease that can't be read yet
        self._hooks.answered(batch, exchange)
        self._changed, heard = asyncio.Event(), self._changed
        heard.set()
        await self._maybe_end()

    async def _maybe_end(self) -> None:
        if not self.wants_end or self._outbox:
            return
        self.wants_end = False
        if self.state.finished:
            await self._hooks.finished(False)
        elif self.may_be_over:
            verdict = await self.insist(lambda _: self._mocra.queue.finish(self._mocra.worker))
            if verdict is not Finish.BUSY:
                await self._hooks.finished(verdict is Finish.WON)

    async def insist(self, call: Callable[[bool], Awaitable[T]]) -> T:
        """The answer of *call*, repeated (its argument says so) until the backend gives one."""
        pause, repeat = FIRST_PAUSE, False
        while True:
            try:
                answer = await call(repeat)
            except MocraError as error:
                self._away(error)
                repeat = True
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._back()
                return answer

    def _away(self, error: MocraError) -> None:
        if self.unanswered is None:
            self.unanswered = time.monotonic()
            self._hooks.away(error)
        elif not isinstance(error, BackendUnavailable):
            logger.error("The backend refuses: %s", error)

    def _back(self) -> None:
        if self.unanswered is not None:
            seconds, self.unanswered = time.monotonic() - self.unanswered, None
            self._hooks.back(seconds)


def describe(exchange: Exchange) -> dict[str, Any]:
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
    }
