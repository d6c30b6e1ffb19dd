"""RequestedDelays to wait: what each value means, and that none is waited for twice or loses its request."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy import Request

from mocra_scrapy.models.backoff import backoff
from mocra_scrapy.worker.delays import RequestedDelays
from mocra_scrapy.worker.inbox import Local
from mocra_scrapy.worker.local_requests import WaitingRequests

NOW = 1_800_000_000.0
MOST = 1000.0


class Stats:
    def __init__(self) -> None:
        self.counted: dict[str, int] = {}

    def inc_value(self, name: str) -> None:
        self.counted[name] = self.counted.get(name, 0) + 1


def wishes(stats: Stats | None = None) -> RequestedDelays:
    return RequestedDelays(MOST, stats or Stats(), lambda: NOW)  # type: ignore[arg-type]


def at(seconds: float, hours: int = 0) -> datetime:
    return datetime.fromtimestamp(NOW + seconds, timezone(timedelta(hours=hours)))


@pytest.mark.parametrize(
    ("meta", "seconds"),
    [
        ({}, 0),
        ({"mocra_delay": 0}, 0),
        ({"mocra_delay": 2.5}, 2.5),
        ({"mocra_delay": None}, 0),
        ({"mocra_not_before": NOW + 7}, 7),
        ({"mocra_not_before": at(7)}, 7),
        ({"mocra_not_before": at(7, hours=9)}, 7),
        ({"mocra_not_before": NOW - 7}, 0),
        ({"mocra_not_before": at(-7)}, 0),
        ({"mocra_not_before": -1e300}, 0),
        ({"mocra_not_before": -math.inf}, 0),
        ({"mocra_delay": 5, "mocra_not_before": NOW + 7}, 7),
        ({"mocra_delay": 9, "mocra_not_before": NOW + 7}, 9),
        ({"mocra_delay": 5, "mocra_not_before": "nonsense"}, 5),
    ],
)
def test_what_a_wish_means(meta: dict[str, Any], seconds: float) -> None:
    request = Request("http://s.test/", meta={**meta, "mine": 1})
    assert wishes().take(request) == seconds
    assert request.meta == {"mine": 1}, "it is waited for once"
    assert wishes().take(request) == 0


@pytest.mark.parametrize(
    "meta",
    [
        {"mocra_delay": -1},
        {"mocra_delay": math.nan},
        {"mocra_delay": "5"},
        {"mocra_delay": True},
        {"mocra_delay": [1]},
        {"mocra_delay": timedelta(seconds=5)},
        {"mocra_not_before": math.nan},
        {"mocra_not_before": "2026-01-31"},
        {"mocra_not_before": datetime(2027, 1, 31)},
        {"mocra_not_before": False},
    ],
)
def test_what_makes_no_sense_is_told_and_counted(meta: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    stats = Stats()
    teller = wishes(stats)
    for _ in range(3):
        assert teller.take(Request("http://s.test/", meta=meta)) == 0
    assert stats.counted == {"mocra/delay/refused": 3}
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "it does not wait" in record.getMessage()
    assert next(iter(meta)) in record.getMessage()


@pytest.mark.parametrize(
    "meta",
    [
        {"mocra_delay": MOST + 1},
        {"mocra_delay": math.inf},
        {"mocra_delay": 10**400},
        {"mocra_not_before": NOW + 86_400 * 365_000},
        {"mocra_not_before": datetime.max.replace(tzinfo=timezone.utc)},
        {"mocra_not_before": 10**400},
    ],
)
def test_a_thousand_years_are_shortened(meta: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    stats = Stats()
    assert wishes(stats).take(Request("http://s.test/", meta=meta)) == MOST
    assert stats.counted == {"mocra/delay/shortened": 1}
    assert "MOCRA_DELAY_MAX = 1000 s" in caplog.text


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes() | st.dates()
)


@given(ANYTHING, ANYTHING)
def test_whatever_the_values(delay: Any, instant: Any) -> None:
    request = Request("http://s.test/", meta={"mocra_delay": delay, "mocra_not_before": instant})
    assert 0 <= wishes().take(request) <= MOST
    assert request.meta == {}


@given(st.integers(1, 10_000), st.floats(0, 1e6), st.floats(0, 1e6))
def test_back_off_stays_within_its_bounds(attempt: int, base: float, cap: float) -> None:
    assert 0 <= backoff(attempt, base, cap) <= min(cap, base * 2.0 ** min(attempt - 1, 60))


def test_back_off_grows_and_is_spread() -> None:
    means = [sum(backoff(n, 1, 100) for _ in range(2000)) / 2000 for n in (1, 2, 3, 20)]
    assert means[0] < means[1] < means[2] < means[3]
    assert 0.4 < means[0] < 0.6
    assert 45 < means[3] < 55


async def test_local_requests_wait_in_order_of_their_time() -> None:
    due: list[str] = []
    done = asyncio.Event()

    def ready(local: Local) -> None:
        due.append(local.slot)
        if len(due) == 3:
            done.set()

    waiting = WaitingRequests(ready)
    for name, seconds in (("c", 0.03), ("a", 0.0), ("b", 0.01), ("never", 1e9)):
        waiting.add(Local(Request("http://s.test/"), name, None), seconds)
    assert len(waiting) == 4
    await asyncio.wait_for(done.wait(), 60)
    assert due == ["a", "b", "c"]
    assert len(waiting) == 1
    waiting.stop()
