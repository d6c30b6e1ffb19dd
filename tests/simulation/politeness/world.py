"""Processes, their clock, and the store that they share."""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from mocra_scrapy import addon, runtime
from mocra_scrapy.models import QueueOptions, ServerReport
from tests.simulation.virtual_time import CURRENT, Process, VirtualLoop

from .stores import CRAWL, MemoryStore, RedisStore, Store

EPOCH = 1_700_000_000.0


class Clock:
    """What ``time`` says in all modules once :meth:`install` was called. *loop*: of the simulation that
    runs.
    """

    loop: VirtualLoop

    def monotonic(self) -> float:
        return self.loop.now

    def wall(self) -> float:
        return EPOCH + self.loop.now

    def install(self) -> None:
        """For ever: this is for a process of its own."""
        new = {time.monotonic: self.monotonic, time.time: self.wall}
        for name, module in list(sys.modules.items()):
            if not name.startswith(("mocra_scrapy", "scrapy")):
                continue
            for attribute, value in list(vars(module).items()):
                if (other := _replaced(new, value)) is not value:
                    setattr(module, attribute, other)
                if name.startswith("mocra_scrapy"):
                    for function in _functions(value):
                        if function.__defaults__:
                            function.__defaults__ = tuple(_replaced(new, v) for v in function.__defaults__)
                        for key, default in (function.__kwdefaults__ or {}).items():
                            function.__kwdefaults__[key] = _replaced(new, default)
        time.monotonic, time.time = self.monotonic, self.wall


def _replaced(new: dict[Any, Any], value: Any) -> Any:
    return next((ours for theirs, ours in new.items() if value is theirs), value)


def _functions(value: Any) -> list[Any]:
    some = vars(value).values() if inspect.isclass(value) else [value]
    return [f for f in some if inspect.isfunction(f) and (f.__defaults__ or f.__kwdefaults__)]


CLOCK = Clock()


class Remote:
    """A tool of the store as a worker has it: each call takes a moment there and one back, and who is killed
    meanwhile never hears the answer.
    """

    def __init__(self, tool: Any, world: World, about: str) -> None:
        self._tool, self._world, self._about = tool, world, about

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # it must not pass for a queue that answers at once
            raise AttributeError(name)
        verb = getattr(self._tool, name)
        if not inspect.iscoroutinefunction(verb):
            return verb
        world, about = self._world, self._about

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name in ("wait", "close"):
                return await verb(*args, **kwargs)
            await asyncio.sleep(world.latency())
            answer = await verb(*args, **kwargs)
            world.on_call(about, name, args)
            await asyncio.sleep(world.latency())
            return answer

        return call


class RemoteBackend:
    """A connection to the store that all processes share."""

    shared, durable = True, True
    url = "sim://"

    def __init__(self, world: World) -> None:
        self._world = world

    async def open(self, timeout: float = 15.0) -> ServerReport:
        return ServerReport({"server": "simulated"})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        make = getattr(self._world.store.backend, name)

        def made(*args: Any) -> Any:
            return Remote(make(*args), self._world, name)

        return made

    async def close(self) -> None:
        """Nothing is connected."""


class World:
    """One store and those who use it.

    Args:
        latency: seconds that a call needs on its way there, and back.
        on_call: told of each call that the store has done: tool, verb, arguments.
        url: of a Redis that nobody else uses; ``None``: the store is in memory.
    """

    def __init__(self, latency: float, seed: int, on_call: Callable[[str, str, Any], None], url: str | None) -> None:
        self.loop = CLOCK.loop = VirtualLoop()
        self.store: Store = MemoryStore(random.Random(seed)) if url is None else RedisStore(url, CLOCK.wall)
        self._latency, self._random = latency, random.Random(seed)
        self.on_call = on_call

    def latency(self) -> float:
        return self._latency * self._random.uniform(0.5, 2)

    def limiter(self) -> Any:
        return self.store.backend.rate_limiter(CRAWL, QueueOptions())


WORLD: list[World] = []  # the one that runs


class _NoSigns:
    """Nobody sees on this machine who died: each process is a machine."""

    @classmethod
    def of(cls, *args: Any) -> _NoSigns:
        return cls()

    def give(self, worker: str) -> None: ...
    def take_back(self, worker: str) -> None: ...
    def dead(self) -> list[str]:
        return []


def install() -> None:
    """Have this process simulate, for good."""
    logging.disable(logging.CRITICAL)
    CLOCK.install()
    for module in (addon, runtime):
        module.open_by_role = lambda choice: RemoteBackend(WORLD[-1])  # type: ignore[attr-defined]
    runtime.Signs = _NoSigns  # type: ignore[attr-defined, misc, assignment]
    runtime.worker_name = lambda: _process().name  # type: ignore[attr-defined]


def _process() -> Process:
    process = CURRENT.get()
    assert process is not None
    return process


async def stand_still(seconds: float) -> None:
    """The process that calls this does nothing for so long: a callback that computes."""
    process = _process()
    process.frozen_until = max(process.frozen_until, CLOCK.loop.now + seconds)
    await asyncio.sleep(0)
