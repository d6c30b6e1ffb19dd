"""What a worker tells of slots that fail, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.settings import Settings
from scrapy.signalmanager import SignalManager
from scrapy.statscollectors import MemoryStatsCollector

from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Attempts, StallRules, StallState
from mocra_scrapy.politeness import stall_watch
from mocra_scrapy.politeness.stall_watch import StallWatch


class Stalls:
    def __init__(self) -> None:
        self.told: list[Attempts] = []
        self.refuses = 0
        self.gives_up = ""

    async def report(self, attempts: Sequence[Attempts]) -> Sequence[StallState]:
        if self.refuses:
            self.refuses -= 1
            raise BackendUnavailable("away")
        self.told += attempts
        return [StallState(one.slot, 10, 900.0, "why") for one in attempts if one.slot == self.gives_up]


class Runtime:
    """As much of ``Mocra`` as it asks for."""

    def __init__(self, **settings: Any) -> None:
        self.crawler = type("C", (), {})()
        self.crawler.settings = Settings(settings)
        self.crawler.stats = MemoryStatsCollector(Crawler(Spider, Settings()))
        self.crawler.signals, self.crawler.spider = SignalManager(self.crawler), None
        self.store = Stalls()
        self.backend = type("B", (), {"stalls": self._stalls})()
        self.crawl, self.options = "books", type("O", (), {"queue": None})()
        self.worker_state = type("S", (), {"paused": False, "away": False})()
        self.watch = StallWatch(self)  # type: ignore[arg-type]

    def _stalls(self, crawl: str, rules: StallRules, options: Any) -> Stalls:
        return self.store


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall_watch, "GATHER", 0.001)
    monkeypatch.setattr(stall_watch, "LOOKS", 0.002)
    monkeypatch.setattr(stall_watch, "AWAY", 0.001)


async def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.002)


async def test_failures_are_told_together_and_one_worker_says_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime()
    watch, store = runtime.watch, runtime.store
    now = time.monotonic()
    watch.failed("a", now - 5, 0.0, "timeout")
    watch.failed("a", now - 2, 60.0, "status 429")
    watch.failed("a", now - 9, 1.0, "http://user:secret@proxy refused")
    await watch.open()
    await eventually(lambda: store.told)
    (one,) = store.told
    assert (one.slot, one.failed) == ("a", True)
    assert 2 <= one.age < 40
    assert 20 < one.hold <= 60
    assert "secret" not in one.why
    store.gives_up = "a"
    watch.failed("a", time.monotonic(), 0.0, "refused")
    await eventually(lambda: "given up" in caplog.text)
    assert "Slot a is given up by all workers: why" in caplog.text
    assert "dead replay --crawl books --reason stalled --slot a" in caplog.text
    assert runtime.crawler.stats.get_value("mocra/stall/given_up") == 1
    await watch.close()


async def test_a_success_ends_what_was_to_be_told() -> None:
    runtime = Runtime()
    watch, store = runtime.watch, runtime.store
    watch.failed("a", time.monotonic(), 0.0, "timeout")
    watch.succeeded("a")
    watch.succeeded("b")
    await watch.open()
    await eventually(lambda: len(store.told) >= 2)
    assert {(one.slot, one.failed) for one in store.told} == {("a", False), ("b", False)}, "they may fail for others"
    await watch.close()


async def test_what_nobody_took_is_counted_and_the_next_is_told(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime()
    watch, store = runtime.watch, runtime.store
    store.refuses = 1
    watch.failed("a", time.monotonic(), 0.0, "timeout")
    await watch.open()
    await eventually(lambda: runtime.crawler.stats.get_value("mocra/stall/reports_lost") == 1)
    watch.failed("a", time.monotonic(), 0.0, "timeout")
    await eventually(lambda: store.told)
    await watch.close()


async def test_a_pause_and_an_outage_are_no_time_to_try() -> None:
    runtime = Runtime()
    watch, store = runtime.watch, runtime.store
    await watch.open()
    watch._since -= 5000
    watch.failed("a", time.monotonic(), 0.0, "timeout")
    await eventually(lambda: store.told)
    assert store.told[-1].working > 4000
    runtime.worker_state.paused = True
    await eventually(lambda: not watch._could)
    runtime.worker_state.paused = False
    await eventually(lambda: watch._could)
    watch.failed("a", time.monotonic(), 0.0, "timeout")
    await eventually(lambda: len(store.told) == 2)
    assert store.told[-1].working < 4000
    await watch.close()


async def test_zero_switches_it_off() -> None:
    runtime = Runtime(MOCRA_STALL_MAX=0)
    watch = runtime.watch
    await watch.open()
    watch.failed("a", time.monotonic(), 0.0, "timeout")
    watch.succeeded("b")
    assert (watch._bad, watch._good, watch._task) == ({}, {}, None)
    await watch.close()
