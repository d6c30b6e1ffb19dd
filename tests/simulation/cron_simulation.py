"""A virtual-clock simulator for cron and election: real runners (`Runner`, `Candidate`, the policy, the
store) with launchers that are modelled, against an in-process server behind a network that loses
requests and answers.

``python -m tests.simulation.cron_simulation --schedules 10000`` runs so many random schedules of
crashes, pauses longer than the lease, lost answers, steps of clocks and restarts of the server. A
schedule is its seed: ``--seed N`` runs one and tells what happened.

What must hold (`World.check`):

* a run is started once, and an instant has one first attempt;
* crawls of a job that forbids it do not overlap;
* what a term has written is not overwritten by an earlier one, and no instant is taken back;
* when the trouble is over somebody leads again, and decides;
* each instant is in the history, run or not, and counted once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.cron import runner as runner_module
from mocra_scrapy.cron.alerts import Alerts
from mocra_scrapy.cron.job_store import Address, LockSigns, Store, Stored
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.run_steps import claim, end_part, retry
from mocra_scrapy.cron.runner import Runner
from mocra_scrapy.cron.schedule import Fire, Schedule
from mocra_scrapy.cron.silence import Silence
from mocra_scrapy.cron.state import ENDED, JobState, Part, Run, decode
from mocra_scrapy.exceptions import BackendError, BackendUnavailable
from mocra_scrapy.models import SharedValue
from tests.simulation.virtual_time import CURRENT, Process, VirtualLoop

LEASE, SIGN, GRACE = 6.0, 5.0, 2.0  # s: of the role, of a launcher's sign, of a crawl that ends with its launcher
EVERY = 10  # s between two instants
TROUBLE, CALM = 60.0, 45.0  # s with faults, and without
EPOCH = 1_795_392_000


class EveryTenSeconds(Schedule):
    """Instants at multiples of ``EVERY``, without a parser: it is asked all the time."""

    def __init__(self) -> None:
        self.text = f"*/{EVERY} * * * * *"
        self.fixed = True

    @property
    def identity(self) -> str:
        return self.text

    def after(self, instant: float) -> Iterator[Fire]:
        first = int(instant // EVERY + 1) * EVERY
        return (Fire(first + i * EVERY) for i in count())


class Network:
    """What one process says to the server: late, lost on the way, or lost on the way back."""

    def __init__(self, world: World, tool: Any) -> None:
        self._world, self._tool = world, tool

    def __getattr__(self, verb: str) -> Any:
        if verb == "watch":
            return self._watch
        return partial(self._call, verb)

    async def _call(self, verb: str, *args: Any, **more: Any) -> Any:
        world = self._world
        if world.over:
            raise BackendUnavailable("the simulation is over")
        if world.chance(0.15):
            await world.delay()
        if world.server_away() or world.chance(world.loss):
            await asyncio.sleep(world.random.choice([0.0, 0.5, 5.0]))
            raise BackendUnavailable("the request was lost")
        answer = await getattr(self._tool, verb)(*args, **more)
        if verb == "put":
            world.was_put(args[0], answer, more.get("fence"))
        if world.chance(world.loss):
            await asyncio.sleep(world.random.choice([0.0, 0.5, 5.0]))
            raise BackendUnavailable("the answer was lost")
        if world.chance(0.15):
            await world.delay()
        return answer

    async def _watch(self) -> AsyncIterator[str]:
        async for name in self._tool.watch():
            if not self._world.chance(self._world.loss):
                yield name

    async def close(self) -> None: ...


async def nothing_differs(*_: Any) -> str:
    return ""


read_once = lru_cache(2000)(decode)


class CachedStore(Store):
    """The real one; what all processes read again and again is decoded once. States are immutable."""

    async def get(self, job: str) -> Stored:
        found = await self.shared.get(job)
        return Stored(read_once(job, found.value), found.version, found.fence)

    def _decoded(self, name: str, found: SharedValue) -> Stored:
        return Stored(read_once(name, found.value), found.version, found.fence)


@dataclass
class World:
    """One schedule."""

    seed: int
    story: list[str] = field(default_factory=list)
    starts: Counter[str] = field(default_factory=Counter)
    crawls: dict[str, float] = field(default_factory=dict)  # run -> virtual time at which it is over for sure
    away_until: float = 0.0
    server_step: float = 0.0
    fence: int = 0
    faults: list[str] = field(default_factory=list)
    calm: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.loop = VirtualLoop()
        self.loss = self.random.choice([0.0, 0.0, 0.02, 0.1])
        policy = self.random.choice(["forbid", "allow", "queue", "replace"])
        self.job = Job(
            "tick", "spider", EveryTenSeconds(), concurrency=policy, misfire_grace=self.random.choice([5.0, 15.0, 60.0]),
            catch_up=self.random.choice(["none", "last", "all"]), retries=self.random.choice([0, 1]),
            retry_delay=self.random.choice([0.0, 7.0]), stop_grace=GRACE, history=1000, history_failed=1000,
        )  # fmt: skip
        self.steps = self.chance(0.3)  # clocks that jump
        self.server = MemoryBackend(clock=lambda: self.loop.time() + self.server_step, wall=self.wall)
        self.runners: dict[Process, Runner] = {}
        self.launchers: dict[Process, str] = {}
        self.over = False
        self.names = count(1)
        self.processes: list[Process] = []

    def chance(self, p: float) -> bool:
        return p > 0 and self.random.random() < p

    async def delay(self) -> None:
        """On the way. Most calls are so quick that nothing happens meanwhile."""
        # Calm is without the slowest: two of them and a renewal are longer than a belief, and the look
        # at the end would now and then meet a leader that rightly doubts (seed 46).
        await asyncio.sleep(self.random.choice([0.01, 0.1, 0.1, 0.1 if self.calm else 1.5]))

    def wall(self) -> float:
        process = CURRENT.get()
        return EPOCH + self.loop.time() + (process.wall_step if process is not None else 0.0)

    def server_away(self) -> bool:
        return self.loop.time() < self.away_until

    def tell(self, text: str) -> None:
        self.story.append(f"{self.loop.time() - 1000:7.2f} {text}")

    def wrong(self, text: str) -> None:
        if self.over:
            return
        self.faults.append(text)
        self.tell(f"WRONG: {text}")

    # ------------------------------------------------------------------ processes

    def store(self) -> Store:
        made = CachedStore(Address("redis://simulated", "sim", "sim", "/nowhere"))
        made.shared = Network(self, self.server.shared_values("cron"))  # type: ignore[assignment]
        made.election = Network(self, self.server.election("cron"))  # type: ignore[assignment]
        made.signs = LockSigns(Network(self, self.server.locks()), "cron")  # type: ignore[arg-type]
        return made

    def start_runner(self) -> None:
        process = Process(f"runner{next(self.names)}")
        self.processes.append(process)
        if self.steps:
            process.wall_step = self.random.choice([0.0, -3.0, 2.0, 25.0])
        runner = SimulatedRunner(self, process)
        self.runners[process] = runner
        self.tell(f"{process.name} starts")
        self.loop.spawn(process, runner.run(asyncio.Event(), LEASE))

    def start_launcher(self, job: Job, run: Run) -> Process:
        process = Process(f"launcher{next(self.names)}")
        self.processes.append(process)
        self.launchers[process] = run.id
        self.loop.spawn(process, Launcher(self, process, job, run.id).run())
        return process

    def kill(self, process: Process) -> None:
        self.tell(f"{process.name} is killed")
        process.dead = True
        self.runners.pop(process, None)
        run = self.launchers.pop(process, None)
        if run in self.crawls:  # the crawl notices the end of its pipe
            self.crawls[run] = min(self.crawls[run], self.loop.time() + GRACE)

    # ------------------------------------------------------------------ what is seen

    def was_put(self, name: str, answer: Any, fence: int | None) -> None:
        if name == self.job.name and answer is not None:
            term = answer.fence if fence is None else fence
            if term < self.fence:
                self.wrong(f"term {term} wrote after term {self.fence}")
            self.fence = term

    def begins(self, run: str, until: float) -> None:
        now = self.loop.time()
        self.tell(f"{run} is started")
        self.starts[run] += 1
        if self.starts[run] > 1:
            self.wrong(f"{run} was started twice")
        others = [one for one, end in self.crawls.items() if end > now and one != run]
        if others and self.job.concurrency != "allow":
            self.wrong(f"{run} overlaps with {others}")
        self.crawls[run] = until

    async def trouble(self) -> None:
        """What goes wrong, and how often: exponential gaps."""
        end = self.loop.time() + TROUBLE
        while True:
            await asyncio.sleep(self.random.expovariate(1 / 6.0))
            if self.loop.time() > end:
                return
            getattr(self, self.random.choice(["_crash", "_crash", "_freeze", "_restart", "_lose_launcher", "_step"]))()

    def _leader_or_any(self) -> Process | None:
        leaders = [p for p, r in self.runners.items() if r.candidate is not None and r.candidate.is_leader]
        return self.random.choice(leaders if leaders and self.chance(0.7) else list(self.runners) or [None])  # type: ignore[list-item]

    def _crash(self) -> None:
        if (process := self._leader_or_any()) is not None:
            self.kill(process)
        self.start_runner()

    def _freeze(self) -> None:
        if (process := self._leader_or_any()) is not None:
            process.frozen_until = self.loop.time() + self.random.choice([1.0, 5.0, 8.0, 20.0])
            self.tell(f"{process.name} is frozen until {process.frozen_until - 1000:.2f}")

    def _restart(self) -> None:
        self.away_until = self.loop.time() + self.random.choice([0.2, 2.0, 10.0])
        self.tell(f"the server is away until {self.away_until - 1000:.2f}")

    def _lose_launcher(self) -> None:
        if self.launchers:
            self.kill(self.random.choice(list(self.launchers)))

    def _step(self) -> None:
        if self.steps:
            if self.chance(0.3):
                self.server_step += self.random.choice([-5.0, 3.0, 30.0])
                self.tell(f"the server's clock is {self.server_step} s off")
            elif self.runners:
                process = self.random.choice(list(self.runners))
                process.wall_step = self.random.choice([0.0, -20.0, 4.0, 40.0])
                self.tell(f"the clock of {process.name} is {process.wall_step} s off")

    # ------------------------------------------------------------------ the schedule

    def run(self) -> list[str]:
        random.seed(self.seed)  # of candidates, which try again at random times
        collects = gc.isenabled()
        gc.disable()
        try:
            # The jobs never change here: looking at them is most of a quiet schedule.
            unchanged = {"RELOAD": LEASE, "jobs_digest": lambda jobs: "simulated", "compare": nothing_differs}
            with patch.multiple(runner_module, **unchanged):
                self.loop.run_until_complete(self._run())
        except Exception as error:
            self.wrong(f"the simulator met {error!r}")
        finally:
            self.loop.close()
            if collects:
                gc.enable()
        return self.faults

    async def _run(self) -> None:
        for _ in range(self.random.randint(1, 3)):
            self.start_runner()
        await self.trouble()
        self.tell("calm")
        self.loss, self.away_until, self.steps, self.calm = 0.0, 0.0, False, True
        for process in self.runners:
            process.wall_step = 0.0
            process.frozen_until = min(process.frozen_until, self.loop.time())
        if not self.runners:
            self.start_runner()
        await asyncio.sleep(CALM + max(0.0, self.server_step))
        self.check((await self.server.shared_values("cron").get(self.job.name)).value)
        self.over, self.away_until = True, float("inf")
        for process in self.processes:
            process.dead, process.frozen_until = False, 0.0
        await self.loop.end()

    def check(self, raw: bytes | None) -> None:
        state, now = decode(self.job.name, raw), self.wall()
        leaders = [p.name for p, r in self.runners.items() if r.candidate is not None and r.candidate.is_leader]
        if len(leaders) != 1:
            self.wrong(f"{len(leaders)} lead when all is calm")
        if state.last is None or state.last < now - EVERY - 7:
            self.wrong(f"the last decided instant is {now - (state.last or 0):.0f} s old")
        counted = sum(run.count for run in state.runs if run.attempt == 1)
        first = min((self.first(run) for run in state.runs), default=None)
        if state.last is not None and first is not None:
            expected = (state.last - first) // EVERY + 1
            if counted != expected:
                self.wrong(f"{expected} instants from the first to the last, {counted} in the history")
        for run, times in Counter(run.id for run in state.runs).items():
            if times > 1:
                self.wrong(f"{run} is there {times} times")
        for run_id in self.starts:
            found = state.run(run_id)
            if found is None:
                self.wrong(f"{run_id} was started and is not in the history")
        if state.missed != sum(run.count for run in state.runs if run.outcome == "missed"):
            self.wrong("the number of missed instants is not that of the history")
        for run in state.runs:
            stale = run.state != ENDED and run.due < now - 40 and self.job.concurrency not in ("queue",)
            if stale and self.job.catch_up == "none":
                self.wrong(f"{run.id} has been {run.state} for ever")

    def first(self, run: Run) -> int:
        """The first instant that a record stands for: missed ones carry the name of the last."""
        return run.instant if run.until is not None else run.instant - (run.count - 1) * EVERY


class SimulatedRunner(Runner):
    """The real one, but for its files and processes."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process
        self._options: Any = SimpleNamespace(lease=SIGN)
        self._wall, self._clock = world.wall, world.loop.time
        self.name, self.store = process.name, world.store()
        self.file: Any = SimpleNamespace(jobs={world.job.name: world.job}, source="simulated", reload=lambda: False)
        self._silence = Silence(SIGN, self._clock)
        self._digest, self._trouble, self._unstarted, self.candidate = "", "", "", None
        self.log: Any = SimpleNamespace(look=lambda job, state: None)
        self._changed = asyncio.Event()
        self._alerts = Alerts(self.store)
        self._mine: dict[str, Process] = {}
        self.launches: Any = SimpleNamespace(
            living=lambda: {run for run, one in self._mine.items() if not one.dead},
            hopeless=lambda: set(), next_try=lambda: None, forget=lambda run: None,
        )  # fmt: skip

    async def clean(self) -> None: ...

    def _launch(self, job: Job, run: Run) -> None:
        known = self._mine.get(run.id)
        if known is None or known.dead:
            self._mine[run.id] = self._world.start_launcher(job, run)


class Launcher:
    """What :mod:`mocra_scrapy.cron.launcher_main` does, with a crawl that is a span of time."""

    def __init__(self, world: World, process: Process, job: Job, run: str) -> None:
        self._world, self._process, self._job, self._run = world, process, job, run
        self._store = world.store()

    async def run(self) -> None:
        try:
            with contextlib.suppress(BackendError):
                await self._all()
        finally:
            self._process.dead = True
            self._world.launchers.pop(self._process, None)

    async def _all(self) -> None:
        world, name, job = self._world, self._process.name, self._job
        await asyncio.sleep(world.random.uniform(0.05, 0.4))
        if not await self._store.signs.give(job.name, name, SIGN):
            return
        part = Part(worker=name, started=world.wall())
        if await self._store.change(job.name, lambda state: claim(state, self._run, part)) is None:
            return
        now = world.loop.time()
        end = now + world.random.choice([0.5, 3.0, 12.0, 25.0])
        world.begins(self._run, end + 1e9)
        outcome = world.random.choice(["succeeded", "succeeded", "failed"])
        signed = asked = now
        while world.loop.time() < end:
            coming = min(signed + SIGN / 3, asked + 2.0, end) - world.loop.time()
            await asyncio.sleep(max(coming, 0.1))
            if world.loop.time() - signed >= SIGN / 3:
                signed = world.loop.time()
                with contextlib.suppress(BackendError, asyncio.TimeoutError):
                    await asyncio.wait_for(self._store.signs.give(job.name, name, SIGN), SIGN / 3)
            if world.loop.time() - asked >= 2.0:
                asked = world.loop.time()
                stop = await self._told()
                if stop == "disowned":
                    world.crawls[self._run] = world.loop.time()
                    return
                if stop and outcome != stop:
                    outcome, end = stop, min(end, world.loop.time() + 0.5)
        world.crawls[self._run] = world.loop.time()
        world.tell(f"{self._run} {outcome}")
        await self._record(part, outcome)

    async def _told(self) -> str:
        try:
            stored = await asyncio.wait_for(self._store.get(self._job.name), 2.0)
        except (BackendError, asyncio.TimeoutError):
            return ""
        run = stored.state.run(self._run)
        mine = next((one for one in run.parts if one.worker == self._process.name), None) if run else None
        if run is not None and (mine is None or mine.ended is not None):
            return "disowned"
        return run.stop if run is not None else ""

    async def _record(self, part: Part, outcome: str) -> None:
        job, ended = self._job, self._world.wall()

        def step(state: JobState) -> JobState:
            state = end_part(state, self._run, replace(part, ended=ended, outcome=outcome))
            return retry(state, self._run, job.retries, job.retry_delay, ended)

        while True:
            try:
                await self._store.change(job.name, step)
                await self._store.signs.end(job.name, self._process.name)
            except BackendError:
                await asyncio.sleep(2.0)
            else:
                return


def simulate(seed: int) -> tuple[int, list[str]]:
    """One schedule: its seed, and what was wrong."""
    logging.disable(logging.CRITICAL)
    return seed, World(seed).run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, help="that share the work (default: one for each processor)")
    parser.add_argument("--seed", type=int, help="one schedule, and its story")
    options = parser.parse_args()
    if options.seed is not None:
        logging.disable(logging.CRITICAL)
        world = World(options.seed)
        faults = world.run()
        print(world.job, *world.story, sep="\n")
        return bool(faults)
    seeds = range(options.first, options.first + options.schedules)
    with ProcessPoolExecutor(options.processes) as pool:
        bad = [(seed, faults) for seed, faults in pool.map(simulate, seeds, chunksize=50) if faults]
    for seed, faults in bad[:20]:
        print(f"seed {seed}: {'; '.join(faults[:3])}")
    print(f"{len(seeds)} schedules, {len(bad)} with faults")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
