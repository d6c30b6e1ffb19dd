"""A sink that does as it is told, and a batcher on it, on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from mocra_scrapy.exceptions import ItemRefused, SinkUnavailable
from mocra_scrapy.pipelines.batcher import Batcher
from mocra_scrapy.pipelines.items import stored_item
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.settings.pipelines import BatchOptions
from tests.simulation.clock import VirtualLoop


class FakeSink:
    """Attributes:
    stored: numbers of the items it has, as they came; ``writes``: those of each call.
    poison: numbers of items that it refuses; ``tells``: whether it says which.
    takes: seconds for a write.
    away: what it raises instead of writing, or hangs for ever.
    """

    name = "fake"

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.writes: list[list[int]] = []
        self.at: list[float] = []
        self.poison: set[int] = set()
        self.tells = False
        self.takes = 0.0
        self.away: BaseException | str | None = None
        self.open_fails = 0
        self.closed = self.busy = 0

    async def open(self) -> None:
        if self.open_fails:
            self.open_fails -= 1
            raise SinkUnavailable("fake: nobody there")

    async def write(self, batch: Sequence[StoredItem]) -> None:
        assert not self.busy, "one call at a time"
        self.busy += 1
        try:
            numbers = [item.fields["n"] for item in batch]
            self.writes.append(numbers)
            self.at.append(asyncio.get_running_loop().time())
            if self.away == "hangs":
                await asyncio.get_running_loop().create_future()
            if isinstance(self.away, BaseException):
                raise self.away
            await asyncio.sleep(self.takes)
            bad = {at: f"poison {n}" for at, n in enumerate(numbers) if n in self.poison}
            if bad:
                raise ItemRefused(next(iter(bad.values())), bad if self.tells else None)
            self.stored += numbers
        finally:
            self.busy -= 1

    async def close(self) -> None:
        self.closed += 1


class Told:
    """What a batcher told: each as ``(what, …)``."""

    def __init__(self) -> None:
        self.all: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *more: self.all.append((name, *more))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [more for what, *more in self.all if what == name]  # type: ignore[misc]


class Stage:
    """Attributes:
    closes: whether the worker closes.
    spilled: numbers of the items in the spill; ``spill_fails``: what it raises instead.
    """

    def __init__(self, *, spills: bool = True, **options: Any) -> None:
        self.sink, self.told = FakeSink(), Told()
        self.closes = False
        self.spilled: list[int] = []
        self.spill_fails: Exception | None = None
        self.batcher = Batcher(
            self.sink,
            BatchOptions(**options),
            self.told,
            closing=lambda: self.closes,
            spill=self._spill if spills else None,
        )

    async def _spill(self, items: Sequence[StoredItem]) -> None:
        if self.spill_fails is not None:
            raise self.spill_fails
        self.spilled += [item.fields["n"] for item in items]

    def begin(self, numbers: Sequence[int], size: int = 0) -> list[asyncio.Task[None]]:
        """Items that are on their way, of *size* bytes about."""
        return [
            asyncio.ensure_future(self.batcher.store(stored_item({"n": n, "pad": "x" * size}, {}))) for n in numbers
        ]

    async def store(self, numbers: Sequence[int], size: int = 0) -> list[BaseException | None]:
        """What became of each: ``None``, or an exception."""
        return await asyncio.gather(*self.begin(numbers, size), return_exceptions=True)


def _pass_timers(loop: VirtualLoop) -> None:
    """A timer may be early by what the clock can't tell apart; a real clock goes on meanwhile."""
    select = loop.virtual.select

    def goes_on(timeout: float | None = None) -> list[Any]:
        found = select(timeout)
        if timeout:
            loop.virtual.now += 1e-9
        return found

    loop.virtual.select = goes_on  # type: ignore[method-assign]


def on_a_jumping_clock(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* to its end; its sleeps take no time."""
    loop = VirtualLoop()
    loop.call_soon(_pass_timers, loop)
    try:
        loop.run_until_complete(work)
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        assert not left, f"left running: {left}"
    finally:
        loop.close()
