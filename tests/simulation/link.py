"""One worker's connection to the store: where calls are lost, late, doubled, and workers die."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import BackendUnavailable

from .graph import draw
from .schedule import LEASE, STEP_FAULTS

if TYPE_CHECKING:
    from .simulate import Simulation

#: Virtual seconds after which a client takes a call for lost.
TIMEOUT = 5.0


class Link:
    """What stands between a worker and the store. Every step that the store takes for this worker
    goes through :meth:`step`.

    Attributes:
        steps: how many there were.
        renewed: shard -> server clock when an exchange of this worker last took effect there.
        answered: the same, of what it had the answer to.
        cut_until: nothing gets through before.
        doubted: server clock when it was last heard of after it may have been taken for dead.
        frozen_until: the worker's process stands still until then.
    """

    def __init__(self, simulation: Simulation, name: str, die: Callable[[], None]) -> None:
        self.name = name
        self.steps = 0
        self.renewed: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self.cut_until = self.frozen_until = self.doubted = 0.0
        self._simulation = simulation
        self._die = die
        self._faults: dict[int, dict[str, float]] = {}
        for event in simulation.schedule.events:
            if event.worker == name and event.kind in STEP_FAULTS:
                self._faults.setdefault(event.step, {})[event.kind] = event.seconds

    async def step(self, what: str, shard: int, effect: Callable[[], Awaitable[Any]]) -> Any:
        """Have the store do *effect*, as far as that works."""
        number, self.steps = self.steps, self.steps + 1
        faults = self._faults.get(number, {})
        tell, loop = self._simulation.tell, asyncio.get_running_loop()
        await asyncio.sleep(self._latency(number, "there"))
        await self.thaw()
        for kind in faults:
            tell(f"{self.name} step {number} ({what}): {kind}")
        if "kill_before" in faults:
            await self._killed()
        if "drop" in faults or loop.time() < max(self.cut_until, self._simulation.outage_until):
            await asyncio.sleep(1.0)
            raise BackendUnavailable("the call got lost")
        if "late" in faults:
            self._simulation.later(faults["late"], lambda: self._perform(what, shard, effect))
            await asyncio.sleep(TIMEOUT)
            raise BackendUnavailable("no answer in time")
        answer = await self._perform(what, shard, effect)
        if "twice" in faults:
            answer = await self._perform(what, shard, effect)
        if "kill_after" in faults:
            await self._killed()
        if "cut" in faults:
            await asyncio.sleep(0.5)
            raise BackendUnavailable("the answer got lost")
        self.answered[shard] = self._simulation.world.now()
        await asyncio.sleep(self._latency(number, "back") + min(faults.get("slow", 0.0), TIMEOUT - 1))
        await self.thaw()
        return answer

    async def _perform(self, what: str, shard: int, effect: Callable[[], Awaitable[Any]]) -> Any:
        answer = await self._simulation.perform(effect)
        if what.startswith("exchange"):
            now = self._simulation.world.now()
            if now - self.renewed.get(shard, now) > LEASE:
                self.doubted = now
            self.renewed[shard] = now
        return answer

    def _latency(self, number: int, way: str) -> float:
        return 0.001 + 0.03 * draw(self._simulation.schedule.seed, self.name, number, way) ** 2

    async def thaw(self) -> None:
        """A process that was stopped goes on."""
        while (left := self.frozen_until - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(left)

    async def _killed(self) -> None:
        self._die()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), math.inf)
