"""One schedule of the cron simulator: its processes, and what befalls them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import signal
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.cron import alerts, file_state, job_store, launcher_main, runner, silence
from mocra_scrapy.cron.file_state import FileShared
from mocra_scrapy.cron.job_store import Address, LockSigns, Store
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.launch_spec import LaunchSpec
from mocra_scrapy.cron.state import decode, encode
from mocra_scrapy.exceptions import MocraError
from tests.simulation.cron_parts import GRACE, Crawl, EveryTenSeconds, Network, Shelf, SimulatedRunner
from tests.simulation.cron_witness import POLL, Witness
from tests.simulation.virtual_time import CURRENT, Process, VirtualLoop

LEASE, RETRY = 6.0, 2.0  # s: of the role; between two campaigns (of `Runner.run`, with this lease)
#: s that an answer takes at most when all is calm; slower ones are for the trouble. A leader whose
#: answers all come within deadline - renew = 2 s keeps its role (`Candidate`, test_election_bounds.py), so
#: it must be less: a leader that loses its role to one slow answer takes it back with its next campaign,
#: and a look in between finds nobody who leads. (Once that was one answer of 1.6 s: the pause to the
#: next renewal was counted from the answer, and left 0.4 s for that one.)
CALM_ANSWER = 2 * 0.9
#: s of calm after which somebody leads. A renewal of a leader that has died may be on the way for
#: 1.5 s; then its lease runs out; who was told that it does asks again after 1.25 * retry.
LEADS = 1.5 + LEASE + 1.25 * RETRY + CALM_ANSWER + 0.1
#: The same after a leader that left: it resigns, and whoever was told otherwise asks again.
TAKES_OVER = CALM_ANSWER + 1.25 * RETRY + CALM_ANSWER + 0.1
TROUBLE, GAP, REST = 30.0, 3.0, 14.0  # s with faults, between two of them on average; s after the fail-over
EPOCH = 1_795_392_000


async def nothing_differs(*_: Any) -> str:
    return ""


async def at_once(work: Callable[..., Any], *args: Any) -> Any:
    return work(*args)


@dataclass
class World:
    """One schedule."""

    seed: int
    folder: Path | None = None  #: the states are in a file of this folder; else in the server's memory
    story: list[str] = field(default_factory=list)
    away_until: float = 0.0
    server_step: float = 0.0
    stepped_at: float = 0.0
    server_stepped: bool = False
    calm_at: float = float("inf")
    trouble_ends: float = 0.0
    over: bool = False
    faults: list[str] = field(default_factory=list)

    EPOCH = EPOCH

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.loop = VirtualLoop()
        self.witness = Witness(self)
        self.address = Address("redis://simulated", "sim", "sim", "/nowhere")
        self.loss = self.random.choice([0.0, 0.0, 0.02, 0.1])
        self.slowest = 1.5
        self.job = self._some_job()
        self.steps = self.chance(0.3)  # clocks that jump
        self.one_machine = self.chance(0.3)  # where a launcher's process can be asked for
        self.server = MemoryBackend(clock=lambda: self.loop.now + self.server_step, wall=self.wall)
        self.runners: dict[Process, tuple[SimulatedRunner, asyncio.Event]] = {}
        self.launchers: dict[Process, str] = {}
        self.processes: list[Process] = []
        self._names = count(1)
        shelf = Shelf()
        self.encode, self.decode = (encode, decode) if self.seed % 20 == 0 else (shelf.encode, shelf.decode)

    def _some_job(self) -> Job:
        policy = self.random.choice(["forbid", "allow", "queue", "replace"])
        return Job(
            "tick", "spider", EveryTenSeconds(), concurrency=policy, misfire_grace=self.random.choice([5.0, 15.0, 60.0]),
            catch_up=self.random.choice(["none", "last", "all"]), retries=self.random.choice([0, 1]),
            retry_delay=self.random.choice([0.0, 7.0]), stop_grace=GRACE, history=1000, history_failed=1000,
            on_failure=self.random.choice([(), (), ("tell",)]),
        )  # fmt: skip

    def chance(self, p: float) -> bool:
        return p > 0 and self.random.random() < p

    async def delay(self) -> None:
        """On the way. Most calls are so quick that nothing happens meanwhile."""
        await asyncio.sleep(self.random.choice([0.01, 0.1, 0.1, self.slowest]))

    def wall(self) -> float:
        process = CURRENT.get()
        return EPOCH + self.loop.now + (process.wall_step if process is not None else 0.0)

    def tell(self, text: str) -> None:
        self.story.append(f"{self.loop.now - 1000:7.2f} {text}")

    def wrong(self, text: str) -> None:
        if not self.over:
            self.faults.append(text)
            self.tell(f"WRONG: {text}")

    # ------------------------------------------------------------------ processes

    def _process(self, kind: str) -> Process:
        number = next(self._names)
        process = Process(f"{kind}-{number}", number)
        self.processes.append(process)
        if self.steps:
            process.wall_step = self.random.choice([0.0, -3.0, 2.0, 25.0])
        return process

    def store(self, process: Process) -> Store:
        made = Store(self.address)
        shared = self.server.shared_values("cron") if self.folder is None else FileShared(self.folder)
        made.shared = Network(self, process, shared)  # type: ignore[assignment]
        made.election = Network(self, process, self.server.election("cron"))  # type: ignore[assignment]
        made.signs = LockSigns(Network(self, process, self.server.locks()), "cron")  # type: ignore[arg-type]
        return made

    def start_runner(self) -> Process:
        process, stop = self._process("runner"), asyncio.Event()
        self.runners[process] = made = SimulatedRunner(self, process), stop
        self.tell(f"{process.name} starts")
        self.loop.spawn(process, self._run_runner(process, *made))
        return process

    async def _run_runner(self, process: Process, one: SimulatedRunner, stop: asyncio.Event) -> None:
        await one.run(stop, LEASE)
        process.left = True
        self.runners.pop(process, None)

    def start_launcher(self, order: LaunchSpec) -> Process:
        process = self._process("launcher")
        self.launchers[process] = order.run
        self.loop.spawn(process, self._launch(process, order))
        return process

    async def _launch(self, process: Process, order: LaunchSpec) -> None:
        try:
            # Python starts; on a machine that is busy that takes long.
            await asyncio.sleep(4.0 if self.chance(0.1) else self.random.uniform(0.05, 0.4))
            with contextlib.suppress(MocraError):
                await launcher_main.Launcher(order, self.store(process)).run()
            self.witness.leaves(process, order.run, order.worker)
        finally:
            process.dead = True
            if process.crawl is not None:
                process.crawl.launcher_died()
            self.launchers.pop(process, None)

    def launcher_lives(self, machine: str, pid: int, run: str) -> bool:
        return bool(machine) and any(p.number == pid and one == run for p, one in self.launchers.items())

    def send_alert(self, target: tuple[str, ...], told: bytes) -> None:
        if self.loop.now < self.away_until or self.chance(self.loss):
            raise OSError("nobody listens")
        self.witness.told.add(json.loads(told)["id"])

    def believers(self) -> list[Process]:
        return [p for p, (one, _) in self.runners.items() if one.candidate is not None and one.candidate.is_leader]

    # ------------------------------------------------------------------ what befalls them

    def kill(self, process: Process) -> None:
        self.tell(f"{process.name} is killed")
        process.dead = True
        self.runners.pop(process, None)
        self.launchers.pop(process, None)
        if process.crawl is not None:
            process.crawl.launcher_died()

    async def trouble(self) -> None:
        """What goes wrong, and how often: exponential gaps."""
        self.trouble_ends = end = self.loop.now + TROUBLE
        kinds = [self._crash, self._crash, self._freeze, self._freeze, self._restart, self._lose_launcher, self._step]
        kinds += [self._leave, self._freeze_launcher, self._freeze_launcher, self._tell_launcher]
        while True:
            await asyncio.sleep(self.random.expovariate(1 / GAP))
            if self.loop.now > end:
                return
            self.random.choice(kinds)()

    def _leader_or_any(self) -> Process | None:
        leaders = self.believers()
        return self.random.choice(leaders if leaders and self.chance(0.7) else list(self.runners) or [None])  # type: ignore[list-item]

    def _crash(self) -> None:
        if (process := self._leader_or_any()) is not None:
            self.kill(process)
        self.start_runner()

    def _leave(self) -> None:
        if (process := self._leader_or_any()) is not None:
            self.tell(f"{process.name} is told to leave")
            self.runners[process][1].set()
        self.start_runner()

    def _freeze(self) -> None:
        if (process := self._leader_or_any()) is not None:
            self._stop(process, self.trouble_ends, [1.0, 5.0, 8.0, 20.0])

    def _freeze_launcher(self) -> None:
        if crawling := [process for process in self.launchers if process.crawl is not None]:
            self._stop(self.random.choice(crawling), self.trouble_ends + LEADS, [2.0, 17.0])

    def _stop(self, process: Process, most: float, seconds: list[float]) -> None:
        until = min(most, self.loop.now + self.random.choice(seconds))
        process.frozen_until = max(process.frozen_until, until)
        self.tell(f"{process.name} is frozen until {process.frozen_until - 1000:.2f}")

    def _restart(self) -> None:
        self.away_until = self.loop.now + self.random.choice([0.2, 2.0, 10.0])
        self.tell(f"the server is away until {self.away_until - 1000:.2f}")

    def _lose_launcher(self) -> None:
        if self.launchers:
            self.kill(self.random.choice(list(self.launchers)))

    def _tell_launcher(self) -> None:
        """SIGTERM."""
        if self.launchers:
            process = self.random.choice(list(self.launchers))
            self.tell(f"{process.name} is told to stop")
            process.told = True
            if self.loop.signal(process, signal.SIGTERM):
                self.witness.must_obey(process, "was told to stop")
            else:
                self.kill(process)

    def _step(self) -> None:
        if not self.steps:
            return
        if self.chance(0.3):
            self.server_step += self.random.choice([-5.0, 3.0, 30.0])
            self.server_stepped, self.stepped_at = True, self.loop.now
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
            with self._patched():
                self.loop.run_until_complete(self._run())
        except Exception as error:
            self.wrong(f"the simulator met {error!r}")
        finally:
            self.loop.close()
            if collects:
                gc.enable()
        return self.faults

    def _patched(self) -> ExitStack:
        """Real modules, on these clocks and without files. Jobs never change here: looking at them would
        be most of a quiet schedule.
        """
        clock = SimpleNamespace(monotonic=self.loop.time, time=self.wall)
        this_process = SimpleNamespace(getpid=lambda: CURRENT.get().number)  # type: ignore[union-attr]
        name = lambda: f"worker-{next(self._names)}"  # noqa: E731
        stack = ExitStack()
        for module, changed in (
            (runner, {"RELOAD": 60.0, "jobs_digest": lambda _: "one", "compare": nothing_differs, "worker_name": name}),
            (job_store, {"encode": self.encode, "decode": self.decode}),
            (launcher_main, {"time": clock, "os": this_process, "LOOK": POLL, "CrawlProcess": partial(Crawl, self)}),
            (launcher_main, {"this_machine": lambda: "m" * self.one_machine, "prune": lambda *_: None}),
            (silence, {"launcher_lives": self.launcher_lives}),
            (alerts, {"AGAIN": 0.2}),
            (file_state, {"LOOK": 1.0}),
            (asyncio, {"to_thread": at_once}),
            (os, {"fsync": lambda file: None}),  # machines do not crash here
        ):
            stack.enter_context(patch.multiple(module, **changed))
        return stack

    async def _run(self) -> None:
        for _ in range(self.random.randint(1, 3)):
            self.start_runner()
        await self.trouble()
        self.tell("calm")
        self.calm_at = self.loop.now
        self.loss, self.away_until, self.steps, self.slowest = 0.0, 0.0, False, CALM_ANSWER / 2
        for process in self.processes:
            process.wall_step = 0.0
        if not any(not stop.is_set() for _, stop in self.runners.values()):
            self.start_runner()
        await asyncio.sleep(LEADS + 5.0 * self.server_stepped)  # a lease that began before a step back
        self.witness.leads(LEADS, "the calm began")
        self.start_runner()
        for process in self.believers():
            self.runners[process][1].set()
        await asyncio.sleep(TAKES_OVER)
        self.witness.leads(TAKES_OVER, "the leader was told to leave")
        await asyncio.sleep(REST)
        self.witness.leads(REST, "that")
        self.witness.check()
        self.over, self.away_until = True, float("inf")
        for process in self.processes:
            process.dead, process.frozen_until = False, 0.0
        await self.loop.end()
