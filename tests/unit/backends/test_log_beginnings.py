"""Who says where a run begins in the log, and what is told of it: over the memory backend's queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from secrets import token_hex
from typing import Any, cast

import pytest

from mocra_scrapy.backends.composite.beginnings import begin
from mocra_scrapy.backends.kafka.log_names import LogPartition
from mocra_scrapy.backends.kafka.log_values import Marks
from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models import QueueOptions

P, Q = LogPartition("normal", 0), LogPartition("normal", 1)


class Lookup:
    """A log of *counts* messages in each partition; *meanwhile* happens while its ends are asked for."""

    def __init__(self, *counts: int, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
        self.ends, self.meanwhile, self.asked = list(counts), meanwhile, 0

    async def partitions(self) -> dict[str, int]:
        return {"normal": len(self.ends)}

    async def marks(self) -> dict[LogPartition, Marks]:
        self.asked += 1
        if self.meanwhile is not None:
            await self.meanwhile()
        return {LogPartition("normal", number): Marks(0, end) for number, end in enumerate(self.ends)}


@pytest.fixture
async def window() -> ILoggedQueue:
    backend = MemoryBackend(f"memory://{token_hex(6)}")
    queue = cast("ILoggedQueue", backend.request_queue("crawl", QueueOptions()))
    await queue.join("a")
    return queue


async def begun(window: ILoggedQueue, lookup: Any) -> Any:
    return await begin(window, lookup, "crawl")


async def test_it_is_said_once(window: ILoggedQueue, caplog: pytest.LogCaptureFixture) -> None:
    lookup = Lookup(0, 0)
    assert (await begun(window, lookup)).begins == {str(P): 0, str(Q): 0}
    assert (await begun(window, lookup)).begins == {str(P): 0, str(Q): 0}
    assert lookup.asked == 1
    assert not caplog.records


async def test_a_log_without_a_record_is_told_of(window: ILoggedQueue, caplog: pytest.LogCaptureFixture) -> None:
    assert (await begun(window, Lookup(2, 1))).begins == {str(P): 0, str(Q): 0}
    assert "its log has 3 requests that no record says to be done" in caplog.text


async def test_what_another_worker_has_written_is_nothing_to_tell(
    window: ILoggedQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """It began the run while this one asked for the ends, and its first requests are in them."""

    async def another() -> None:
        await begun(window, Lookup(0, 0))
        lookup.ends = [2, 1]

    lookup = Lookup(0, 0, meanwhile=another)
    assert (await begun(window, lookup)).begins == {str(P): 0, str(Q): 0}
    assert not caplog.records


async def test_a_partition_that_another_one_did_not_know_is_begun(window: ILoggedQueue) -> None:
    """Topics grew meanwhile."""
    lookup = Lookup(0, 0, meanwhile=lambda: begun(window, Lookup(0)))
    assert (await begun(window, lookup)).begins == {str(P): 0, str(Q): 0}
