"""Sinks and records for tests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mocra_scrapy.events.bus import EventBus
from mocra_scrapy.events.envelope import Record, Source
from mocra_scrapy.settings.events import EventOptions, SinkOptions

SOURCE = Source("worker-1", "shop", "shop:books", "books")


class ListSink:
    """Keeps what it gets; fails as it is told.

    Attributes:
        errors: raised by the next calls, one each.
        gate: while it is cleared, nothing is taken.
    """

    linger, timeout = 0.0, 60.0

    def __init__(self, *errors: Exception) -> None:
        self.batches: list[list[Record]] = []
        self.errors = list(errors)
        self.closed = self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def names(self) -> list[str]:
        return [record.event.name for batch in self.batches for record in batch]

    async def send(self, records: Sequence[Record]) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append(list(records))

    async def close(self) -> None:
        self.closed += 1


class Stage:
    """A bus with one sink, and what it counted."""

    def __init__(self, sink: Any = None, events: tuple[str, ...] = ("*",), **options: Any) -> None:
        self.sink = ListSink() if sink is None else sink
        self.stats: Counter[str] = Counter()
        given: dict[str, Any] = {"sample": {}, "sample_bulk": 1.0, "queue_max": 100, "stop_timeout": 5.0, **options}
        self.options = EventOptions((SinkOptions("log", "log", events),), **given)
        self.bus = EventBus(self.options, [self.sink], SOURCE, count=self.count, run=lambda: 3, wall=lambda: 1.5e9)

    def count(self, name: str, number: int) -> None:
        self.stats[name] += number


async def until(condition: Any, turns: int = 10_000) -> None:
    """Let the loop run until *condition* holds; no time passes but what that takes."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came true")
