"""``SiteFeedback``: one note a slot, told when the backend takes it; nobody waits for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.settings import Settings
from scrapy.signalmanager import SignalManager
from scrapy.statscollectors import MemoryStatsCollector

from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import LimitChange, SlotLimit, SlotState
from mocra_scrapy.politeness import site_feedback as _notices
from mocra_scrapy.politeness.site_feedback import SiteFeedback


class Limiter:
    """Writes down what it is told; can be away, or broken."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.asked = 0

    def _called(self, *call: Any) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error
        self.calls.append(call)

    async def hold(self, slot: str, seconds: float) -> None:
        self._called("hold", slot, round(seconds))

    async def slow_down(self, slot: str, **how: object) -> float:
        self._called("slow_down", slot)
        return 0.2

    async def look(self, slot: str) -> SlotState:
        self._called("look", slot)
        return SlotState(SlotLimit())

    async def change(self, slot: str, change: LimitChange) -> None:
        self._called("change", slot, change.interval)


class Runtime:
    """As much of ``Mocra`` as notices ask for."""

    def __init__(self, **settings: Any) -> None:
        self.crawler, self.worker = type("C", (), {})(), "w"
        self.crawler.settings = Settings({"MOCRA_STOP_TIMEOUT": 0.05, **settings})
        self.crawler.stats = MemoryStatsCollector(Crawler(Spider, Settings()))
        self.crawler.signals, self.crawler.spider = SignalManager(self.crawler), None
        self.limiter = Limiter()
        self.feedback = SiteFeedback(self)  # type: ignore[arg-type]

    def stat(self, what: str) -> Any:
        return self.crawler.stats.get_value(f"mocra/throttle/{what}", 0)


async def eventually(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.002)


async def test_notes_of_a_slot_are_told_together() -> None:
    runtime = Runtime()
    notices = runtime.feedback
    notices.hold("a", 10, "first")
    notices.hold("a", 30, "second")
    notices.hold("a", 20, "third")
    for _ in range(5):
        notices.slow_down("a", 0.1)
    notices.change("a", lambda state: LimitChange(1.0))
    notices.change("a", lambda state: LimitChange(2.0), "newer")
    notices.change("b", lambda state: None)
    await notices.open()
    await eventually(lambda: ("look", "b") in runtime.limiter.calls)
    expected = [("hold", "a", 30), ("slow_down", "a"), ("look", "a"), ("change", "a", 2.0), ("look", "b")]
    assert runtime.limiter.calls == expected
    notices.slow_down("a", 0.1)  # within calm seconds
    notices.hold("a", 25, "it is held for longer anyway")
    assert not notices._notes
    await notices.close()
    assert (runtime.stat("holds"), runtime.stat("slowed"), runtime.stat("changed")) == (1, 1, 1)
    assert runtime.stat("feedback_lost") == 0


async def test_an_outage_keeps_what_is_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_notices, "FIRST_PAUSE", 0.005)
    runtime = Runtime()
    runtime.limiter.error = BackendUnavailable("away")
    await runtime.feedback.open()
    for do in (
        lambda: runtime.feedback.slow_down("a", 0.1),
        lambda: runtime.feedback.change("b", lambda state: LimitChange(3.0)),
        lambda: runtime.feedback.hold("c", 50, "told"),
    ):
        do()
        asked = runtime.limiter.asked
        await eventually(lambda asked=asked: runtime.limiter.asked > asked)
        runtime.limiter.error = None
        await eventually(lambda: not runtime.feedback._notes)
        runtime.limiter.error = BackendUnavailable("away")
    assert runtime.limiter.calls == [("slow_down", "a"), ("look", "b"), ("change", "b", 3.0), ("hold", "c", 50)]
    assert runtime.stat("feedback_repeated") >= 3
    await runtime.feedback.close()


async def test_what_is_left_at_the_end_is_counted() -> None:
    runtime = Runtime()
    runtime.limiter.error = BackendUnavailable("away")
    await runtime.feedback.open()
    runtime.feedback.slow_down("a", 0.1)
    runtime.feedback.slow_down("b", 0.1)
    await runtime.feedback.close()
    assert runtime.stat("feedback_lost") == 2


async def test_a_broken_note_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def broken(state: SlotState) -> LimitChange:
        raise KeyError("mine")

    runtime = Runtime()
    await runtime.feedback.open()
    runtime.feedback.change("a", broken)
    runtime.feedback.hold("b", 9, "told")
    await eventually(lambda: runtime.limiter.calls[-1:] == [("hold", "b", 9)])
    assert runtime.stat("feedback_lost") == 1
    assert "Slot a: feedback can't be sent" in caplog.text
    await runtime.feedback.close()


async def test_notes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_notices, "MOST", 3)
    runtime = Runtime()
    for slot in "abcde":
        runtime.feedback.slow_down(slot, 0.1)
    assert list(runtime.feedback._notes) == ["c", "d", "e"], "the oldest go"
    assert runtime.stat("feedback_lost") == 2
    await runtime.feedback.open()
    await eventually(lambda: not runtime.feedback._notes)
    runtime.feedback.slow_down("f", 0.1)
    await eventually(lambda: ("slow_down", "f") in runtime.limiter.calls)
    await runtime.feedback.close()
    assert len(runtime.feedback._slowed) <= 3


async def test_where_slots_are_the_workers_own_nothing_is_told() -> None:
    runtime = Runtime(MOCRA_THROTTLE_SCOPE="worker")
    await runtime.feedback.open()
    assert runtime.feedback._task is None
    await runtime.feedback.close()


async def test_a_hold_that_is_over_is_not_told() -> None:
    runtime = Runtime()
    runtime.feedback.hold("a", 0.3, "short")
    runtime.feedback._notes["a"].until = time.monotonic() - 1  # the backend was away for so long
    await runtime.feedback.open()
    await eventually(lambda: not runtime.feedback._notes)
    assert runtime.limiter.calls == []
    await runtime.feedback.close()
