"""One schedule, from begin to end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from mocra_scrapy.interfaces import IRequestQueue
from mocra_scrapy.models import Audit, Burial, CrawlState, Entry, Exchange, Finish, Lease

from .clock import Stalled, VirtualLoop
from .graph import draw
from .ledger import Broken, Ledger
from .link import Link
from .schedule import DRASTIC, PEACE, TIMED, Event, Schedule
from .worker import SimulatedWorker
from .worlds import MemoryWorld, RedisWorld, World

#: Virtual seconds by which a crawl must be over, whatever went wrong.
DEADLINE = PEACE + 5000.0
#: Steps between two counts of all that is stored, on a server.
COUNT_EVERY = 25
#: Workers of one place that are started again, one after the other, before peace comes.
RESTARTS = 8


@dataclass(frozen=True)
class Failure:
    rule: str
    what: str
    schedule: Schedule

    def __str__(self) -> str:
        return f"seed {self.schedule.seed}: {self.what}"


class Client:
    """A queue as one worker sees it: the ledger reads along."""

    def __init__(self, simulation: Simulation, link: Link) -> None:
        self._simulation, self._link, self._ledger = simulation, link, simulation.ledger
        self._queue = simulation.world.queue(link)
        if simulation.world.exact:
            self.wait = self._queue.wait

    async def _verb(self, name: str, call: Callable[[], Awaitable[Any]], heard: Callable[[Any], None]) -> Any:
        async def effect() -> Any:
            answer = await call()
            heard(answer)
            return answer

        whole = self._simulation.world.exact
        return await (self._link.step(name, 0, effect) if whole else effect())

    async def join(self, worker: str) -> CrawlState:
        def heard(state: CrawlState) -> None:
            self._ledger.in_run(state.run, finished=state.finished or state.run > 1)

        return await self._verb("join", lambda: self._queue.join(worker), heard)  # type: ignore[no-any-return]

    async def exchange(self, worker: str, call: int, **arguments: Any) -> Exchange:
        def heard(answer: Exchange) -> None:
            self._ledger.exchanged(self._link, call, arguments, answer)

        self._ledger.sent(self._link, arguments)
        talks = self._simulation.talks
        if talks:
            self._simulation.tell(f"{worker} call {call}: {_described(arguments)}")
        answer: Exchange = await self._verb("exchange", lambda: self._queue.exchange(worker, call, **arguments), heard)
        if talks:
            leases = " ".join(f"{lease.body.decode()}/{lease.deliveries}" for lease in answer.leases)
            self._simulation.tell(f"{worker} call {call} answered: leases [{leases}] {answer.size} {answer.state}")
        return answer

    async def claim_seeding(self, worker: str) -> bool:
        def heard(claimed: bool) -> None:
            if claimed:
                self._ledger.seeding_claimed(self._link)

        return await self._verb("claim", lambda: self._queue.claim_seeding(worker), heard)  # type: ignore[no-any-return]

    async def complete_seeding(self, worker: str) -> bool:
        def heard(completed: bool) -> None:
            if completed:
                self._ledger.seeding_completed(self._link)

        return await self._verb("complete", lambda: self._queue.complete_seeding(worker), heard)  # type: ignore[no-any-return]

    async def finish(self, worker: str) -> Finish:
        def heard(verdict: Finish) -> None:
            self._ledger.ended(self._link, verdict)

        return await self._verb("finish", lambda: self._queue.finish(worker), heard)  # type: ignore[no-any-return]

    async def audit(self, fix: bool) -> Audit:
        return await self._verb("audit", lambda: self._queue.audit(fix), lambda _: None)  # type: ignore[no-any-return]

    async def close_worker(self, worker: str) -> int:
        if not self._simulation.world.exact:
            self._ledger.left(self._link)
        return await self._verb(  # type: ignore[no-any-return]
            "close", lambda: self._queue.close_worker(worker), lambda _: self._ledger.left(self._link)
        )


def _described(arguments: dict[str, Any]) -> str:
    def bodies(things: list[Entry | Lease]) -> str:
        return " ".join(thing.body.decode() for thing in things)

    buried: list[Burial] = arguments["bury"]
    parts = {
        "push": bodies(arguments["push"]),
        "ack": bodies(arguments["ack"]),
        "release": bodies(arguments["release"]),
        "bury": bodies([burial.lease for burial in buried]),
        "want": str(arguments["want"]),
    }
    return ", ".join(f"{name} [{value}]" for name, value in parts.items() if value)


class Simulation:
    """Attributes:
    outage_until: no call gets through before.
    talks: whether anybody wants to hear what happens.
    """

    def __init__(self, schedule: Schedule, world: World, tell: Callable[[str], None] | None) -> None:
        self.schedule, self.world = schedule, world
        self.ledger = Ledger(schedule, world)
        self.outage_until = 0.0
        self._tell, self.talks = tell, tell is not None
        self._workers: dict[str, SimulatedWorker] = {}
        self._restarts: dict[str, int] = {}
        self._pending = 0  # late calls, workers that will be started: things still to come
        self._trouble: BaseException | None = None
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Future[Any]] = set()

    def tell(self, what: str) -> None:
        if self._tell is not None:
            self._tell(f"{self.world.loop.time():9.3f} {what}")

    def client(self, link: Link) -> Any:
        return Client(self, link)

    def failed(self, error: BaseException | None) -> None:
        """The simulation is over."""
        self._trouble = self._trouble or error
        self._stop.set()

    async def perform(self, effect: Callable[[], Awaitable[Any]]) -> Any:
        """One step of the store, and the look whether everything is still right."""
        answer = await self.world.perform(effect)
        self.ledger.steps += 1
        if self.world.exact or self.ledger.steps % COUNT_EVERY == 0:
            await self._count()
        return answer

    async def _count(self) -> None:
        size = await self.world.perform(self.observer.size)
        contents = await self.world.contents(self.observer)
        self.ledger.in_line(await self.world.misplaced(self.observer))
        if self.world.exact:
            self.ledger.counted(size, contents)
        else:
            again = await self.world.perform(self.observer.size)
            if again == size:  # else somebody came between
                self.ledger.counted(size, contents)

    # ------------------------------------------------------------------ what happens besides

    def later(self, seconds: float, what: Callable[[], Awaitable[Any]], *, strict: bool = False) -> None:
        """Something that happens then; what a late call meets is of no interest to anybody."""

        async def run() -> None:
            self._pending += 1
            try:
                await asyncio.sleep(seconds)
                await what()
            except Broken as error:
                self.failed(error)
            except Exception as error:
                if strict:
                    self.failed(error)
            finally:
                self._pending -= 1

        self._tasks.add(task := asyncio.ensure_future(run()))
        task.add_done_callback(self._tasks.discard)

    def start(self, name: str) -> None:
        self.tell(f"{name} starts")
        self._workers[name] = SimulatedWorker(self, name)

    def lost(self, worker: SimulatedWorker) -> None:
        """*worker* is no more. One that was killed is started again, by whoever looks after it."""
        self._workers.pop(worker.name, None)
        base = worker.name.partition(".")[0]
        self._restarts[base] = count = self._restarts.get(base, 1) + 1
        if self.world.loop.time() < PEACE and count <= RESTARTS and not worker.left:
            pause = 1 + 20 * draw(self.schedule.seed, worker.name, "restart")
            self.later(pause, lambda: self._start_again(f"{base}.{count}"), strict=True)

    async def _start_again(self, name: str) -> None:
        state = await self.world.perform(self.observer.state)
        if not state.finished:
            self.start(name)

    async def _happen(self, event: Event) -> None:
        worker = self._workers.get(event.worker)
        now = self.world.loop.time()
        self.tell(str(event))
        if event.kind == "outage":
            self.outage_until = max(self.outage_until, now + event.seconds)
        elif event.kind == "jump":
            self.world.jumped += event.seconds
        elif event.kind == "jump_back":
            self.world.set_back(event.seconds)
        elif event.kind == "start":
            await self._start_again(event.worker)
        elif event.kind == "replay":
            await self._replay()
        elif event.kind == "wipe":
            self.ledger.faithful = False
            await self.world.wipe()
        elif event.kind == "delete":
            self.ledger.faithful = self.ledger.complete = False
            await self.world.delete(draw(self.schedule.seed, "delete", event.at))
        elif worker is not None and event.kind == "kill":
            worker.kill()
        elif worker is not None and event.kind == "leave":
            worker.leave()
        elif worker is not None and event.kind == "freeze":
            worker.link.frozen_until = now + event.seconds
        elif worker is not None and event.kind == "partition":
            worker.link.cut_until = now + event.seconds

    async def _replay(self) -> None:
        letters = await self.world.perform(self.observer.dead)
        replayed = await self.world.perform(lambda: self.observer.replay([letter.id for letter in letters]))
        self.ledger.replayed([letter for letter, done in zip(letters, replayed, strict=True) if done])

    # ------------------------------------------------------------------ from begin to end

    async def run(self) -> None:
        await self.world.open()
        self.observer: IRequestQueue = self.world.queue(None)
        try:
            for number in range(self.schedule.setup.workers):
                self.start(f"w{number}")
            for event in self.schedule.events:
                if event.kind in TIMED + DRASTIC:
                    self.later(event.at, lambda event=event: self._happen(event), strict=True)  # type: ignore[misc]
            await self._watch()
        finally:
            for worker in list(self._workers.values()):
                worker.kill()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self.world.close()

    async def _watch(self) -> None:
        healers = 0
        while self._trouble is None:
            try:
                await asyncio.wait_for(self._stop.wait(), 5.0)
            except asyncio.TimeoutError:
                pass
            else:
                break
            if self.world.loop.time() > DEADLINE:
                size = await self.world.perform(self.observer.size)
                state = await self.world.perform(self.observer.state)
                raise Broken("it_ends", f"after {DEADLINE:g} s: {size}, {state}, {sorted(self._workers)}")
            peace = self.world.loop.time() > PEACE
            if (self._workers and (healers or not peace)) or self._pending:
                continue
            finished = (await self.world.perform(self.observer.state)).finished
            if finished and not self._workers:
                break
            if peace and not finished:
                healers += 1
                self.start(f"healer{healers}")
        if self._trouble is not None:
            raise self._trouble
        await self._count()
        size = await self.world.perform(self.observer.size)
        self.ledger.over(size, await self.world.perform(lambda: self.observer.dead(100_000)))


def simulate(schedule: Schedule, url: str | None = None, tell: Callable[[str], None] | None = None) -> Failure | None:
    """Run *schedule* on the memory backend, or on the Redis at *url*; what was broken."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        world: World = MemoryWorld(loop, schedule) if url is None else RedisWorld(loop, schedule, url)
        loop.run_until_complete(Simulation(schedule, world, tell).run())
    except Broken as broken:
        return Failure(broken.rule, str(broken), schedule)
    except Stalled as stalled:
        return Failure("it_ends", str(stalled), schedule)
    except Exception as error:
        return Failure(type(error).__name__, f"{type(error).__name__}: {error}", schedule)
    finally:
        _close(loop)
    return None


def _close(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    asyncio.set_event_loop(None)
    loop.close()
