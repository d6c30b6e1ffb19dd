"""What happened to a log is told once: what a worker makes of it while its state's backend is away."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from secrets import token_hex
from typing import Any, cast

import pytest

from mocra_scrapy.backends.composite.backlog import Backlog
from mocra_scrapy.backends.composite.feeder import Feeder
from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.log_names import Log, LogNames, LogPartition
from mocra_scrapy.backends.kafka.log_values import Assigned, Gap, Marks, News, Start, Truncated
from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models import QueueOptions
from mocra_scrapy.models.log import LogOptions

ONE, TWO = LogPartition("normal", 0), LogPartition("normal", 1)
LOG = Log(read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {}), LogNames("t", "shop"), LogOptions())


class Reader:
    """Of a log whose messages below 30 are deleted at last. *begun*: what it was told to read, in order."""

    def __init__(self) -> None:
        self.told: list[News] = []
        self.begun: list[tuple[LogPartition, int]] = []
        self.first = 0
        self.lookup = self

    def news(self) -> list[News]:
        found, self.told = self.told, []
        return found

    async def partitions(self) -> Mapping[str, int]:
        return {"normal": 2}

    async def marks(self, some: Collection[LogPartition] | None = None) -> dict[LogPartition, Marks]:
        return dict.fromkeys((ONE, TWO) if some is None else some, Marks(self.first, 40))

    async def begin(self, starts: Mapping[LogPartition, Start]) -> dict[LogPartition, Gap]:
        self.begun += [(partition, max(start.offset, self.first)) for partition, start in starts.items()]
        return {
            partition: Gap("deleted", start.offset, self.first, 40)
            for partition, start in starts.items()
            if start.offset < self.first
        }

    async def commit(self, commits: Mapping[LogPartition, Any]) -> dict[LogPartition, str]:
        return dict.fromkeys(commits, "not now")

    def take(self, *_: Any) -> list[Any]:
        return []


async def fed_by(reader: Reader) -> tuple[ILoggedQueue, Feeder]:
    """The window of a crawl that has begun, and who feeds it from what *reader* reads."""
    backend = MemoryBackend(f"memory://{token_hex(6)}")
    window = cast("ILoggedQueue", backend.request_queue("crawl", QueueOptions()))
    await window.join("a")
    feeder = Feeder(window, LOG, Backlog(), lambda: 0.0)
    feeder._reader = cast("Any", reader)
    return window, feeder


async def test_what_happened_while_the_state_is_away_is_heard_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both partitions were left unread for good: what was told is told once."""
    reader = Reader()
    window, feeder = await fed_by(reader)
    reader.told = [Assigned({ONE: Marks(0, 40)})]
    await feeder._turn()
    assert reader.begun == [(ONE, 0)]

    reader.first, reader.begun = 30, []
    reader.told = [Truncated(ONE, Gap("deleted", 0, 30, 40)), Assigned({TWO: Marks(30, 40)})]
    feed = window.feed

    async def away(*_: Any, **__: Any) -> Any:
        raise BackendUnavailable("no answer")

    window.feed = away  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await feeder._turn()
    window.feed = feed  # type: ignore[method-assign]
    await asyncio.wait_for(feeder._turn(), 60)
    assert sorted(set(reader.begun)) == [(ONE, 30), (TWO, 30)]
    assert (await window.log_state()).positions == {str(ONE): 30, str(TWO): 30}
    assert caplog.text.count("of topic") == 2, "of each partition once"


async def test_another_run_that_begins_while_partitions_are_begun_begins_them_once_more() -> None:
    """At the positions of the new run; with those of the one before nothing was fed until the next rebalance."""

    class Anew(Reader):
        again = True

        async def marks(self, some: Collection[LogPartition] | None = None) -> dict[LogPartition, Marks]:
            if self.again and TWO in (some or ()):
                feeder.begin_anew()
            return await super().marks(some)

    reader = Anew()
    _, feeder = await fed_by(reader)
    reader.told = [Assigned({ONE: Marks(0, 40)})]
    await feeder._turn()
    reader.begun, reader.told = [], [Assigned({TWO: Marks(0, 40)})]
    await feeder._turn()
    assert set(feeder._marks) == {ONE, TWO}
    assert reader.begun == [(TWO, 0)]
    reader.again = False
    await feeder._turn()
    assert sorted(reader.begun[1:]) == [(ONE, 0), (TWO, 0)]
    assert not feeder._marks


@pytest.mark.parametrize(("kind", "begun"), [("beyond", []), ("again", [(ONE, 0)])])
async def test_what_is_there_again_is_read_on(caplog: pytest.LogCaptureFixture, kind: Any, begun: list[Any]) -> None:
    """From where the window was fed up to, which what was read ahead is beyond."""
    reader = Reader()
    _, feeder = await fed_by(reader)
    reader.told = [Assigned({ONE: Marks(0, 40)})]
    await feeder._turn()
    reader.begun, reader.told = [], [Truncated(ONE, Gap(kind, 7, 0, 5))]
    await feeder._turn()
    assert reader.begun == begun
    assert ("and has it now: it is read on" in caplog.text) == (kind == "again")
    assert ("Nothing of it is read" in caplog.text) == (kind == "beyond")
