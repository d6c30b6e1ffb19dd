"""What of a push goes into the window at once, and what a reset does to the log: the memory backend's window, and
a log that only counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

from mocra_scrapy.backends.composite.backlog import Backlog
from mocra_scrapy.backends.composite.storing import Call, Storing
from mocra_scrapy.backends.kafka.log_message import place_of
from mocra_scrapy.backends.kafka.log_names import LogPartition
from mocra_scrapy.backends.kafka.log_values import Outgoing, Written
from mocra_scrapy.backends.kafka.log_writer import LogWriter
from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models import UNBOUNDED, Entry, QueueOptions, QueueSize

ROOM = 40  # of which a tenth may be delayed long


class CountingLog:
    """Stores all it is given, in one partition of each tier."""

    def __init__(self) -> None:
        self.ends: dict[LogPartition, int] = {}

    async def write(self, batch: Sequence[Outgoing]) -> list[Written]:
        return [self.one(outgoing) for outgoing in batch]

    def one(self, outgoing: Outgoing) -> Written:
        place = place_of(outgoing, 1, 0.0)
        offset = self.ends.get(place, 0)
        self.ends[place] = offset + 1
        return Written(place, offset)

    def forget(self, tokens: Iterable[object]) -> None:
        """Nothing is known of them."""


def run(work: Callable[[ILoggedQueue, Storing], Awaitable[None]]) -> None:
    async def go() -> None:
        backend = MemoryBackend("memory://storing")
        window = cast("ILoggedQueue", backend.request_queue("crawl", QueueOptions()))
        await window.join("a")
        await work(window, Storing(window, cast("LogWriter", CountingLog()), Backlog(), "crawl", ROOM))
        await window.clear()

    asyncio.run(go())


def at_once(call: Call) -> list[tuple[str, int]]:
    assert call.stored is not None
    return [place for place in call.stored.at if place is not None]


def test_of_what_is_delayed_long_a_part_is_in_the_window() -> None:
    async def work(_: ILoggedQueue, storing: Storing) -> None:
        entries = [Entry(b"%d" % n, "s", delay=100.0 * (n % 2)) for n in range(20)]
        await storing.store("a", call := Call(1), entries, UNBOUNDED)
        late = [(f"wait-60:{0}", n) for n in range(ROOM // 10)]
        assert [place for place in at_once(call) if place in late] == late
        assert len(at_once(call)) == 10 + len(late)
        # As the window has room again.
        storing.window_is(QueueSize(pending=ROOM - 1, delayed=ROOM // 10 - 2), ROOM)
        await storing.store("a", call := Call(2), entries, UNBOUNDED)
        assert at_once(call) == [("normal:0", 10), ("wait-60:0", 10), ("wait-60:0", 11)]

    run(work)


def test_a_reset_empties_the_log_with_the_window() -> None:
    async def work(window: ILoggedQueue, storing: Storing) -> None:
        emptied: list[Any] = []

        async def empty() -> None:
            emptied.append((await window.state()).run)

        window.empty_log = empty
        assert await window.reset("b"), "a is there"
        assert emptied == []
        await window.reset("b", force=True)
        assert emptied == [0], "of a crawl that is deleted already"

    run(work)
