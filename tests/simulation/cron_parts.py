"""What stands around the real runners and launchers of the cron simulator: their network, their
crawls, their processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mocra_scrapy.cron.alerts import Alerts
from mocra_scrapy.cron.crawl_process import Result
from mocra_scrapy.cron.launch_spec import LaunchSpec
from mocra_scrapy.cron.runner import Runner
from mocra_scrapy.cron.schedule import Fire, Schedule
from mocra_scrapy.cron.silence import Silence
from mocra_scrapy.cron.state import JobState
from mocra_scrapy.exceptions import BackendUnavailable
from tests.simulation.virtual_time import CURRENT, Process

if TYPE_CHECKING:
    from tests.simulation.cron_world import World

SIGN, GRACE = 5.0, 2.0  # s: of a launcher's sign of life, of a crawl that is told to end
EVERY = 10  # s between two instants
SLOW = 0.15  # of requests, and of answers


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


class Shelf:
    """States as they are, by a ticket that is stored in place of their bytes. They are immutable;
    packing and unpacking them would be a third of all work, and is done in one schedule of twenty.
    """

    def __init__(self) -> None:
        self._states: list[JobState] = []

    def encode(self, state: JobState) -> bytes:
        self._states.append(state)
        return b"%d" % (len(self._states) - 1)

    def decode(self, _: str, raw: bytes | None) -> JobState:
        return JobState() if raw is None else self._states[int(raw)]


class Network:
    """What one process says to the server: late, lost on the way, or lost on the way back."""

    def __init__(self, world: World, process: Process, tool: Any) -> None:
        self._world, self._process, self._tool = world, process, tool

    def __getattr__(self, verb: str) -> Any:
        call = self._watch if verb == "watch" else partial(self._call, verb, getattr(self._tool, verb))
        setattr(self, verb, call)
        return call

    async def _call(self, verb: str, tell: Any, *args: Any, **more: Any) -> Any:
        world, luck = self._world, self._world.random.random
        if world.over:
            raise BackendUnavailable("the simulation is over")
        if verb == "get":
            self._process.asked = world.loop.now
        if luck() < SLOW:
            await world.delay()
        if world.loop.now < world.away_until or luck() < world.loss:
            await asyncio.sleep(world.random.choice([0.0, 0.5, 5.0]))
            raise BackendUnavailable("the request was lost")
        answer = await tell(*args, **more)
        if answer is not None and verb in ("put", "campaign"):
            world.witness.sees(verb, self._process, args, answer, more.get("fence"))
        last = luck()
        if last < world.loss:
            await asyncio.sleep(world.random.choice([0.0, 0.5, 5.0]))
            raise BackendUnavailable("the answer was lost")
        if last > 1 - SLOW:
            await world.delay()
        if verb == "get" and self._process.crawl is not None:
            world.witness.hears(self._process, args[0], answer)
        return answer

    async def _watch(self) -> AsyncIterator[str]:
        async for name in self._tool.watch():
            if not self._world.chance(self._world.loss):
                yield name

    async def close(self) -> None: ...


class Crawl:
    """A crawl is a span of time. It ends by itself, or when it is told to, or it has to be killed."""

    def __init__(self, world: World, order: LaunchSpec) -> None:
        self._world, self.run, self.worker = world, order.run, order.worker
        process = CURRENT.get()
        assert process is not None
        self.launcher, self.inherit = process, ()
        self.started, self.stopped = False, ""
        self.ends = self._kill_at = float("inf")
        self._outcome = world.random.choice(["succeeded", "succeeded", "failed"])

    def start(self) -> None:
        self.started, self.launcher.crawl = True, self
        self.ends = self._world.loop.now + self._world.random.choice([0.5, 3.0, 12.0, 40.0])
        self._world.witness.begins(self)

    @property
    def over(self) -> bool:
        return self._world.loop.now >= self.ends

    def poll(self) -> int | None:
        self._world.witness.is_watched(self)
        if not self.over and self._world.loop.now > self._kill_at:
            self.kill()
        return 0 if self.over else None

    def stop(self, why: str) -> None:
        now = self._world.loop.now
        if not self.stopped and not self.over:
            self.stopped, self._kill_at = why, now + GRACE
            self.ends = min(self.ends, now + self._world.random.choice([0.1, 0.5, 1e9]))  # some do not hear it

    def kill(self) -> None:
        self.ends = min(self.ends, self._world.loop.now)

    def launcher_died(self) -> None:
        """It holds a pipe: SIGTERM, and after the grace SIGKILL."""
        self.ends = min(self.ends, self._world.loop.now + GRACE)

    def result(self, code: int) -> Result:
        return Result(self.stopped or self._outcome, "", code)


class SimulatedRunner(Runner):
    """The real one, but for its files and processes."""

    def __init__(self, world: World, process: Process) -> None:
        self._options: Any = SimpleNamespace(lease=SIGN, address=world.address, given={})
        self._wall, self._clock, self._command = world.wall, world.loop.time, ()
        self.name, self.store = process.name, world.store(process)
        self.file: Any = SimpleNamespace(jobs={world.job.name: world.job}, source="simulated", reload=lambda: False)
        self._silence = Silence(SIGN, self._clock)
        self._digest, self._trouble, self._unstarted, self.candidate = "", "", "", None
        self._since = (0, 0.0)
        self.log: Any = SimpleNamespace(look=lambda job, state: None)
        self._changed = asyncio.Event()
        self._alerts = Alerts(self.store, world.send_alert)
        self.launches: Any = Launches(world)

    async def clean(self) -> None: ...


class Launches:
    """As :class:`mocra_scrapy.cron.launcher_pool.Launches`, without its patience."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._mine: dict[str, Process] = {}

    def start(self, run: str, order: LaunchSpec) -> bool:
        if run in self.living():
            return False
        self._mine[run] = self._world.start_launcher(order)
        return True

    def adopt(self) -> None:
        """Here each leader starts all launchers once more: that is what must be survived."""

    def living(self) -> set[str]:
        return {run for run, one in self._mine.items() if not one.dead}

    def hopeless(self) -> set[str]:
        return set()

    def next_try(self) -> float | None:
        return None

    def forget(self, run: str) -> None: ...
