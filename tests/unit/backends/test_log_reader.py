"""LogReader, where its thread says nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mocra_scrapy.backends.kafka import log_reader
from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.log_names import Log, LogNames, LogPartition
from mocra_scrapy.backends.kafka.log_reader import LogReader
from mocra_scrapy.backends.kafka.log_values import Commit, Gap, Revoked, Truncated
from mocra_scrapy.models.log import LogOptions

pytest.importorskip("confluent_kafka")
ONE, OTHER = LogPartition("normal", 0), LogPartition("normal", 1)


class Silent:
    """A thread that is in a rebalance: it answers when that is over, and that is over when it was told what to commit."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def commit(self, commits: Any, done: Any) -> None:
        self.asked.append((commits, done))


async def test_a_commit_does_not_wait_for_a_rebalance_that_waits_for_it() -> None:
    address = read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {})
    reader = LogReader(Log(address, LogNames("t", "crawl"), LogOptions()))
    thread: Any = Silent()
    reader._thread, reader._loop = thread, asyncio.get_running_loop()
    commits = {ONE: Commit(5), OTHER: Commit(7)}
    committing = asyncio.ensure_future(reader.commit(commits))
    await asyncio.sleep(0)
    revoked = Revoked(frozenset({ONE}), 0.0)
    reader._heard(revoked)
    assert set(await committing) == {ONE, OTHER}
    assert reader.ready.is_set()
    assert reader.news() == [revoked]
    # The answer comes when nobody waits for it; the next commit has its own.
    thread.asked[0][1]({})
    committing = asyncio.ensure_future(reader.commit({OTHER: Commit(9)}))
    await asyncio.sleep(0)
    thread.asked[1][1]({OTHER: "no"})
    assert await committing == {OTHER: "no"}


@pytest.mark.parametrize(
    ("bounds", "kind"), [((8, 9), "deleted"), ((0, 4), "beyond"), ((0, 5), "again"), ((0, 90), "again")]
)
async def test_what_became_of_an_offset_that_was_out_of_range(
    bounds: tuple[int, int], kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time that somebody says where the partition stands, it may have that offset again."""
    monkeypatch.setattr(log_reader, "AGAIN", 0.0)
    address = read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {})
    reader = LogReader(Log(address, LogNames("t", "crawl"), LogOptions()))

    class Lookup:
        async def bounds(self, some: list[LogPartition]) -> dict[LogPartition, tuple[int, int]]:
            return dict.fromkeys(some, bounds)

    reader.lookup = Lookup()  # type: ignore[assignment]
    reader._ours = {ONE}
    reader._heard(Truncated(ONE, Gap("beyond", 5)))
    await asyncio.wait_for(reader.ready.wait(), 60)
    assert reader.news() == [Truncated(ONE, Gap(kind, 5, *bounds))]
