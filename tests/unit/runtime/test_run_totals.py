"""The figures of the workers of one run, in the shared values of a backend."""

from __future__ import annotations

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import CrawlState, WorkerReport
from mocra_scrapy.runtime import run_totals
from mocra_scrapy.runtime.run_totals import RunTotals, WorkerTotal, working_time

FIRST, SECOND, THIRD = (CrawlState(run, born=7) for run in (1, 2, 3))


async def test_they_are_there_by_run_and_go_with_the_second_next() -> None:
    backend = open_backend("memory://")
    await backend.open()
    a, b = RunTotals(backend, "books", "a"), RunTotals(backend, "books", "b")
    await a.tell(FIRST, 10.0, {"pages": 1}, final=False)
    await a.tell(FIRST, 10.0, {"pages": 2}, final=True)
    await b.tell(FIRST, 11.0, {"pages": 5}, final=False)
    await RunTotals(backend, "toys", "c").tell(FIRST, 0.0, {"pages": 100}, final=False)
    assert [(one.worker, one.final, one.figures) for one in await b.of(FIRST)] == [
        ("a", True, {"pages": 2}),
        ("b", False, {"pages": 5}),
    ]
    await a.tell(SECOND, 20.0, {}, final=False)
    assert len(await a.of(FIRST)) == 2, "whoever ended that run may be adding it up"
    await a.tell(THIRD, 30.0, {}, final=False)
    assert await a.of(FIRST) == []
    assert len(await a.of(SECOND)) == 1
    await a.tell(CrawlState(1, born=8), 40.0, {}, final=False)  # another record
    assert await a.of(THIRD) == []
    await backend.close()


async def test_who_is_still_there_is_waited_for_and_who_is_gone_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = open_backend("memory://")
    await backend.open()
    a, b = RunTotals(backend, "books", "a"), RunTotals(backend, "books", "b")
    await a.tell(FIRST, 10.0, {}, final=True)
    await b.tell(FIRST, 11.0, {"pages": 5}, final=False)
    totals, there = await a.at_the_end(FIRST)
    assert (len(totals), there) == (2, set()), "b was killed: nothing is waited for"
    await backend.worker_registry().announce(WorkerReport("b", "books", {}), 60)
    looks = []

    async def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            await b.tell(FIRST, 11.0, {"pages": 6}, final=True)

    monkeypatch.setattr(run_totals.asyncio, "sleep", look)
    totals, there = await a.at_the_end(FIRST)
    assert ([one.figures.get("pages") for one in totals], there, len(looks)) == ([None, 6], set(), 3)
    await b.tell(FIRST, 11.0, {"pages": 6}, final=False)
    monkeypatch.setattr(run_totals, "WAIT", 0.0)
    totals, there = await a.at_the_end(FIRST)
    assert there == {"b"}, "it takes its time"
    await backend.close()


def test_bytes_of_somebody_else_are_nobody() -> None:
    total = WorkerTotal("w", 1.0, 2.0, True, {"pages": 3.0})
    assert WorkerTotal.unpack("w", total.pack()) == total
    for data in (b"", b"[1]", b'[1,2,true,{"a":"b"}]', b"[1,2,true,[]]", b"null", b"\xff"):
        assert WorkerTotal.unpack("w", data) is None


def test_time_counts_once_and_without_a_pause() -> None:
    spans = [(10, 30), (20, 25), (28, 40), (100, 105)]
    assert working_time([WorkerTotal("w", a, b, True) for a, b in spans]) == 35
    assert working_time([]) == 0


async def test_who_adds_up_leaves_nothing_but_of_those_that_are_still_there() -> None:
    backend = open_backend("memory://")
    await backend.open()
    a, b = RunTotals(backend, "books", "a"), RunTotals(backend, "books", "b")
    await a.tell(FIRST, 0.0, {"pages": 1}, final=True)
    await b.tell(FIRST, 0.0, {"pages": 2}, final=False)
    await a.forget(FIRST, {"b"})
    assert [total.worker for total in await a.of(FIRST)] == ["b"]
    await a.forget(FIRST, set())
    assert await a.of(FIRST) == []
