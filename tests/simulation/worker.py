"""A worker that follows the protocol as the real one does, without Scrapy: an outbox in order, one
exchange at a time that is repeated until it is answered, seeding that is claimed and completed, the
end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import (
    Bounds,
    Burial,
    CrawlState,
    Entry,
    Exchange,
    Finish,
    Lease,
    QueueSize,
    Seeding,
)
from mocra_scrapy.worker.permits import SlotPermits

from .graph import Page, draw
from .ledger import Broken, name_of, page_of
from .link import Link

if TYPE_CHECKING:
    from .simulate import Simulation

T = TypeVar("T")

#: What waits in an outbox; a tuple is not divided.
Said = Entry | Lease | Burial | tuple[Entry | Lease | Burial, ...]

#: Turns that found nothing before counts are looked at.
STUCK = 6
IDLE, FIRST_PAUSE, LONGEST_PAUSE = 5.0, 0.1, 10.0


class SimulatedWorker:
    """One process. *gone* is set when it left or was killed."""

    def __init__(self, simulation: Simulation, name: str) -> None:
        self.name, self.gone, self.left = name, asyncio.Event(), False
        self._simulation, self._ledger = simulation, simulation.ledger
        self._setup = simulation.schedule.setup
        self._graph = simulation.ledger.graph
        self.link = Link(simulation, name, self.kill)
        self.queue = simulation.client(self.link)
        self.session = QueueSession(self.queue, name)
        loop = asyncio.get_running_loop()
        self._permits = SlotPermits(loop.time) if self._setup.limit else None
        self._outbox: deque[Said] = deque()
        self._releases: list[Lease] = []
        self._put = self._confirmed = 0
        self._mine: dict[str, Lease] = {}  # leased, and nothing of it in the outbox yet
        self._waiting: set[str] = set()  # of these, not started
        self._returned: set[int] = set()
        self._state, self._size, self._due = CrawlState(0), QueueSize(), IDLE
        self._kicked, self._heard = asyncio.Event(), asyncio.Event()
        self._leaving = self._over = False
        self._stuck = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._spawn(self._run())

    # ------------------------------------------------------------------ life and death

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._simulation.failed(task.exception())

    def kill(self) -> None:
        """Between two steps, wherever it is."""
        if not self.gone.is_set():
            self._simulation.tell(f"{self.name} is killed")
            self._end()

    def _end(self) -> None:
        self.gone.set()
        self._ledger.is_dead(self.link)
        for task in self._tasks:
            task.cancel()
        self._simulation.lost(self)

    def leave(self) -> None:
        """Take nothing new, finish or give back what is here, sign off."""
        self._leaving = True
        self._kicked.set()

    async def _run(self) -> None:
        self._state = await self._insist(lambda _: self.queue.join(self.name))
        self._born, self._number = self._state.born, self._state.run
        self._seeding = self._spawn(self._seed())
        self._spawn(self._listen())
        while not self._is_done():
            await self._turn()
            await self._maybe_recount()
            await self._maybe_end()
            if not self._is_done():
                self._kicked.clear()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._kicked.wait(), self._pause())
            await self.link.thaw()
        self._over = True
        self._ledger.is_dead(self.link)  # what is in flight is abandoned
        await self._insist(lambda _: self.queue.close_worker(self.name))
        self._simulation.tell(f"{self.name} left")
        self.left = True
        self._end()

    def _is_done(self) -> bool:
        """Nothing to do here, or (half of those that leave) what there is goes back."""
        idle = not (self._outbox or self._mine or self._releases)
        hasty = self._leaving and draw(self._simulation.schedule.seed, self.name, "hasty") < 0.5
        return hasty or (idle and (self._state.finished or self._leaving))

    async def _insist(self, call: Callable[[bool], Awaitable[T]]) -> T:
        pause, repeat = FIRST_PAUSE, False
        while True:
            try:
                return await call(repeat)
            except BackendUnavailable:
                repeat = True
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _listen(self) -> None:
        while not self._over and hasattr(self.queue, "wait"):
            if await self.queue.wait(self.name, 3600):
                self._due = 0.0
                self._kicked.set()

    # ------------------------------------------------------------------ seeding

    async def _seed(self) -> None:
        while not self._leaving and not self._state.finished and self._state.seeding is not Seeding.DONE:
            heard = self._heard
            if await self._insist(lambda _: self.queue.claim_seeding(self.name)):
                for page in self._graph.start:
                    self._say(page.entry)
                    await asyncio.sleep(draw(self._simulation.schedule.seed, self.name, "seed", page.number))
                mark = self._put
                while self._confirmed < mark:
                    heard = self._heard
                    self._kicked.set()
                    await heard.wait()
                if not self._leaving:
                    await self._insist(lambda _: self.queue.complete_seeding(self.name))
                self._kicked.set()
                return
            await heard.wait()

    def _say(self, what: Said) -> None:
        self._outbox.append(what)
        self._put += 1
        self._kicked.set()

    # ------------------------------------------------------------------ exchanges

    def _pause(self) -> float:
        if self._outbox or self._releases:
            return 0.1
        idle = IDLE * (0.75 + 0.5 * draw(self._simulation.schedule.seed, self.name, "idle", self.session.call))
        return max(0.05, min(idle, self._due))

    async def _turn(self) -> None:
        share = draw(self._simulation.schedule.seed, self.name, "batch", self.session.call)
        taken = [self._outbox.popleft() for _ in range(min(len(self._outbox), 1 + int(12 * share)))]
        ops = [op for said in taken for op in (said if isinstance(said, tuple) else (said,))]
        releases, self._releases = self._releases, []
        want = 0 if self._leaving else max(0, self._setup.capacity - len(self._mine))
        bounds = self._bounds(want)
        arguments: dict[str, Any] = {
            "push": [op for op in ops if isinstance(op, Entry)],
            "ack": [op for op in ops if isinstance(op, Lease)],
            "release": releases,
            "bury": [op for op in ops if isinstance(op, Burial)],
            "want": want,
            "bounds": bounds,
        }
        answer = await self._insist(lambda repeat: self.session.exchange(**arguments, repeat=repeat))
        self._confirmed += len(taken)
        self._state, self._size = answer.state, answer.size
        if self._state.born != self._born and not self._leaving:
            await self._begin_anew()
        elif self._state.run > self._number:
            self._number = self._state.run
            if self._seeding.done():
                self._seeding = self._spawn(self._seed())  # whoever began it may die before it has seeded
        due = IDLE if answer.next_due is None else answer.next_due + 0.01
        self._due = 0.0 if answer.leases and want else due
        self._take_in(answer, bounds)
        self._heard, heard = asyncio.Event(), self._heard
        heard.set()

    async def _begin_anew(self) -> None:
        """The crawl's record is gone."""
        self._simulation.tell(f"{self.name} begins anew")
        self._state = await self._insist(lambda _: self.queue.join(self.name))
        self._born, self._number = self._state.born, self._state.run
        self._lose()
        self._seeding.cancel()
        self._seeding = self._spawn(self._seed())

    def _bounds(self, want: int) -> Bounds:
        if self._permits is None:
            held = Counter(lease.slot for lease in self._mine.values())
            full = [slot for slot, n in held.items() if n >= 4]
            return Bounds(full=full, per_slot=self._setup.per_slot) if want else Bounds()
        return Bounds(
            loads=self._permits.loads() if want else {},
            keep_permits=self._permits.keep_permits(),
        )

    def _take_in(self, answer: Exchange, bounds: Bounds) -> None:
        permits = self._permits
        if answer.lost:
            self._lose()
        if permits is not None:
            permits.on_answered(answer, bounds.keep_permits)
        for lease in answer.leases:
            self._mine[name_of(lease)] = lease
            self._waiting.add(name_of(lease))
            if permits is not None:
                permits.on_leased(lease)
            self._spawn(self._fetch(lease))

    def _lose(self) -> None:
        """What this worker held went to others, its permits too: but for those of this answer."""
        self._simulation.tell(f"{self.name} was taken for dead")
        back = [self._mine.pop(name) for name in list(self._waiting)]
        self._waiting.clear()
        self._releases += back
        if self._permits is not None:
            self._permits.on_returned(back)
            self._permits.on_lost()

    async def _maybe_recount(self) -> None:
        """Something is counted, and nothing can be had."""
        idle = not (self._outbox or self._mine or self._releases)
        self._stuck = self._stuck + 1 if idle and self._size.pending + self._size.leased else 0
        if self._stuck and self._stuck % STUCK == 0:
            audit = await self._insist(lambda _: self.queue.audit(True))
            if audit.differs and self._ledger.faithful:
                raise Broken("counts_are_right", f"{self.name} found {audit}")

    async def _maybe_end(self) -> None:
        idle = not (self._outbox or self._mine or self._releases)
        exhausted = self._state.seeding is Seeding.DONE and not self._size.unfinished
        # The real one asks when the last answer left nothing to do; the queue must know by itself.
        nosy = draw(self._simulation.schedule.seed, self.name, "nosy", self.session.call) < 0.1
        if idle and (exhausted or nosy) and not self._state.finished and not self._leaving:
            verdict = await self._insist(lambda _: self.queue.finish(self.name))
            if verdict is not Finish.BUSY and not self._outbox:
                self._simulation.tell(f"{self.name}: the run is {verdict.value}")
                self._state = CrawlState(self._state.run, True, Seeding.DONE)

    # ------------------------------------------------------------------ a page

    async def _fetch(self, lease: Lease) -> None:
        seed, page = self._simulation.schedule.seed, self._graph.all[page_of(lease.body)]
        await asyncio.sleep(lease.wait)
        while self._permits is not None and not self._permits.may_start((lease.slot, *lease.scopes)):
            await asyncio.sleep(0.2)
        await self.link.thaw()
        if name_of(lease) not in self._waiting or self._over:
            return  # given back meanwhile
        self._waiting.discard(name_of(lease))
        if page.manner == "returns" and page.number not in self._returned:
            self._returned.add(page.number)
            self._settle(lease)
            self._releases.append(lease)
            if self._permits is not None:
                self._permits.on_returned([lease])
            self._kicked.set()
            return
        if self._permits is not None:
            self._permits.on_started(lease)
        self._ledger.started(self.link, lease)
        await asyncio.sleep(0.05 + 3 * draw(seed, "download", page.number, lease.deliveries, self.name) ** 2)
        await self.link.thaw()
        self._ledger.landed(self.link, lease)
        if self._permits is not None:
            self._permits.on_downloaded((lease.slot, *lease.scopes))
        if page.manner == "kills":
            self.kill()
            return
        self._callback(lease, page)

    def _callback(self, lease: Lease, page: Page) -> None:
        """Links first, then what becomes of the page: that order is all that keeps them. Or both in
        one call, or neither.
        """
        links = [self._graph.all[number].entry for number in page.links]
        end = Burial(lease, "callback", "it raised") if page.manner == "fails" else lease
        self._settle(lease)
        if draw(self._simulation.schedule.seed, "whole", page.number) < self._setup.whole:
            self._say((*(replace(entry, parent=lease) for entry in links), end))
        else:
            for said in (*links, end):
                self._say(said)
        self._ledger.fetched.add(page.number)

    def _settle(self, lease: Lease) -> None:
        self._mine.pop(name_of(lease), None)
