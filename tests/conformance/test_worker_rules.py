"""IWorkers: who is there."""

from __future__ import annotations

from typing import Any

from mocra_scrapy.models import WorkerReport

from .harness import Harness

FACTS: dict[str, Any] = {"host": "näs", "pid": 12, "rates": {"pages": 1.5}, "error": None, "list": [1, "two"]}


async def test_an_announced_worker_is_listed(harness: Harness) -> None:
    registry, other = harness.registry(), harness.registry(second=True)
    assert list(await registry.workers()) == []
    await registry.announce(WorkerReport("w: 1", "crawl", FACTS), 30)
    assert list(await other.workers()) == [WorkerReport("w: 1", "crawl", FACTS)]
    await other.announce(WorkerReport("w: 1", "crawl", {"pid": 13}), 30)
    assert list(await registry.workers()) == [WorkerReport("w: 1", "crawl", {"pid": 13})]


async def test_a_silent_worker_vanishes(harness: Harness) -> None:
    registry = harness.registry()
    await registry.announce(WorkerReport("a", "crawl"), 30)
    await registry.announce(WorkerReport("b", "crawl"), 60)
    await harness.advance(29)
    assert [report.worker for report in await registry.workers()] == ["a", "b"]
    await harness.advance(2)
    assert [report.worker for report in await registry.workers()] == ["b"]
    await registry.announce(WorkerReport("a", "crawl"), 30)
    assert [report.worker for report in await registry.workers()] == ["a", "b"], "it was only silent"


async def test_a_leaving_worker_vanishes(harness: Harness) -> None:
    registry = harness.registry()
    for name in ("a", "b"):
        await registry.announce(WorkerReport(name, "crawl"), 30)
    for _ in range(2):
        await harness.registry(second=True).leave("a")
        assert [report.worker for report in await registry.workers()] == ["b"]


async def test_workers_are_listed_by_crawl(harness: Harness) -> None:
    registry = harness.registry()
    for name, crawl in (("c", "one"), ("a", "one"), ("b", "two: {x}")):
        await registry.announce(WorkerReport(name, crawl), 30)
    assert [report.worker for report in await registry.workers("one")] == ["a", "c"]
    assert [report.worker for report in await registry.workers("two: {x}")] == ["b"]
    assert [report.worker for report in await registry.workers()] == ["a", "b", "c"]
    assert list(await registry.workers("three")) == []
