"""Logs of a test's own on a real broker, and a member of their group that does what a queue would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from uuid import uuid4

from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.log_names import TIERS, Log, LogNames, LogPartition
from mocra_scrapy.backends.kafka.log_reader import LogReader
from mocra_scrapy.backends.kafka.log_values import (
    Assigned,
    Commit,
    Gap,
    LogRecord,
    Lost,
    Marks,
    News,
    Outgoing,
    Revoked,
    Start,
    Unreadable,
    Written,
)
from mocra_scrapy.backends.kafka.log_writer import LogWriter
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Entry
from mocra_scrapy.models.log import LogOptions

T = TypeVar("T", bound=News)
#: Seconds for anything, also on a busy machine.
LIMIT = 90.0


def log_on(bootstrap: str, client: Mapping[str, Any] | None = None, crawl: str | None = None, **options: Any) -> Log:
    """Of a crawl that nobody else has."""
    given: dict[str, Any] = {"partitions": 2, "replication": 1, "min_insync": 1, "create": True, "ahead": 500}
    return Log(
        read_address("MOCRA_QUEUE_BACKEND", f"kafka://{bootstrap}", client or {}),
        LogNames("t", crawl or f"shop:{uuid4().hex}"),
        LogOptions(**{**given, **options}),
    )


async def opened(what: Any) -> Any:
    """Brokers hear of new topics one after the other."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            await what.open()
        except BackendUnavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            return what


@asynccontextmanager
async def writing(log: Log, **more: Any) -> AsyncIterator[LogWriter]:
    writer: LogWriter = await opened(LogWriter(log, **more))
    try:
        yield writer
    finally:
        await writer.close()


async def fill(writer: LogWriter, count: int, first: int = 0, **entry: Any) -> list[Written]:
    """Requests with their number as body, in ten slots."""
    some = [Outgoing(n, Entry(b"%d" % n, f"s{n % 10}", **entry)) for n in range(first, first + count)]
    written = [one for one in await writer.write(some) if isinstance(one, Written)]
    assert len(written) == count
    return written


class Member:
    """Begins where *positions* say, which several may share, as if the state had them.

    Attributes:
        records: what it was given. *gaps*: what ``begin()`` answered.
    """

    def __init__(self, log: Log, positions: dict[LogPartition, int] | None = None, **more: Any) -> None:
        self.reader = LogReader(log, **more)
        self.positions = {} if positions is None else positions
        self.heard: list[News] = []
        self.records: list[LogRecord] = []
        self.unreadable: list[Unreadable] = []
        self.gaps: dict[LogPartition, Gap] = {}
        self.marks: dict[LogPartition, Marks] = {}
        self.takes = True

    async def open(self) -> None:
        await self.reader.open()

    async def look(self) -> None:
        """What there is: news, and messages."""
        for news in self.reader.news():
            self.heard.append(news)
            if isinstance(news, Assigned):
                self.marks.update(news.partitions)
                starts = {partition: Start(self.positions.get(partition, 0)) for partition in news.partitions}
                self.gaps.update(await self.reader.begin(starts))
            elif isinstance(news, Revoked):
                self.reader.release(
                    news.partitions,
                    {one: Commit(self.positions[one]) for one in news.partitions if one in self.positions},
                )
        while self.takes and (batches := self.reader.take(100)):
            for batch in batches:
                if self.positions.get(batch.partition, batch.start) == batch.start:  # the state's compare-and-set
                    self.positions[batch.partition] = batch.next
                    self.records += batch.records
                    self.unreadable += batch.unreadable
                else:
                    await self.reader.begin({batch.partition: Start(self.positions[batch.partition])})

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        deadline = time.monotonic() + LIMIT
        await self.look()
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {len(self.records)} records, heard {self.heard}"
            self.reader.ready.clear()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.reader.ready.wait(), 0.2)
            await self.look()

    async def until_it_has(self, count: int) -> list[int]:
        await self.until(lambda: len(self.records) >= count, f"{count} records")
        return self.numbers

    async def until_it_owns(self, count: int) -> None:
        await self.until(lambda: len(self.reader.owned) == count, f"{count} partitions")

    @property
    def numbers(self) -> list[int]:
        return sorted(int(record.entry.body) for record in self.records)

    def all_of(self, kind: type[T]) -> list[T]:
        return [news for news in self.heard if isinstance(news, kind)]

    @property
    def lost(self) -> set[LogPartition]:
        return {partition for news in self.all_of(Lost) for partition in news.partitions}


@asynccontextmanager
async def reading(log: Log, positions: dict[LogPartition, int] | None = None, **more: Any) -> AsyncIterator[Member]:
    member: Member = await opened(Member(log, positions, **more))
    try:
        yield member
    finally:
        await member.reader.close()


async def together(*members: Member, condition: Callable[[], object]) -> None:
    """All of them do what there is to do until *condition* holds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, [member.heard for member in members]
        for member in members:
            await member.look()
        await asyncio.sleep(0.01)


#: Partitions of a log with *partitions* in each topic.
def count_of(log: Log) -> int:
    return log.options.partitions * len(TIERS)
