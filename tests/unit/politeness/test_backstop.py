"""Requests that bypass the queue wait for their departure, also while the backend is away: never
without a limit.
"""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import NotConfigured
from scrapy.utils.test import get_crawler

from mocra_scrapy.downloadermiddlewares import throttle
from mocra_scrapy.downloadermiddlewares.throttle import ThrottleMiddleware
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import SlotLimit
from mocra_scrapy.politeness.outage_share import OutageShare


class OneSpider(Spider):
    name = "one"


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were slept, without sleeping."""
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr(throttle.asyncio, "sleep", nap)
    return naps


def middleware(**settings: Any) -> ThrottleMiddleware:
    made: ThrottleMiddleware = ThrottleMiddleware.from_crawler(get_crawler(OneSpider, settings, prevent_warnings=False))
    return made


async def depart(made: ThrottleMiddleware, url: str = "http://s.test/robots.txt") -> None:
    waiting = made.process_request(Request(url))
    assert waiting is not None
    await waiting


async def test_it_books_and_waits(slept: list[float]) -> None:
    made = middleware(MOCRA_THROTTLE={"s.test": "1/2s"})
    await depart(made)
    assert slept == []
    await depart(made)
    assert [round(nap, 1) for nap in slept] == [2.0]
    # Booked too far ahead it would hold up the others: it asks again, until its time has come
    # (here: until a hold is lifted).
    await made.mocra.limiter.hold("s.test", 100)

    async def lifted(seconds: float) -> None:
        await made.mocra.limiter.resume("s.test")
        slept.append(seconds)

    throttle.asyncio.sleep = lifted  # type: ignore[assignment]
    await depart(made)
    assert slept[1:] == [throttle.AHEAD]


async def test_what_the_queue_handed_out_has_waited_there() -> None:
    made = middleware()
    made.mocra.worker_state.is_leased = lambda request: True  # type: ignore[method-assign]
    assert made.process_request(Request("http://s.test/")) is None


class Away:
    """A limiter whose backend is away for some calls."""

    def __init__(self, limiter: Any, calls: int) -> None:
        self._limiter, self._left = limiter, calls

    async def reserve(self, *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left >= 0:
            raise BackendUnavailable("away")
        return await self._limiter.reserve(*args, **kwargs)


async def test_an_outage_is_waited_for(slept: list[float]) -> None:
    made = middleware(MOCRA_THROTTLE={"s.test": "1/2s"})
    made.mocra.limiter = Away(made.mocra.limiter, 3)  # type: ignore[assignment]
    await depart(made)
    assert slept == [1.0] * 3
    assert made._stats.get_value("mocra/throttle/outages") == 3


async def test_in_an_outage_each_worker_has_its_share(slept: list[float]) -> None:
    made = middleware(MOCRA_THROTTLE={"s.test": "1/2s"}, MOCRA_THROTTLE_ON_OUTAGE="share")
    made._share.workers = 3
    made.mocra.limiter = Away(made.mocra.limiter, 1000)  # type: ignore[assignment]
    for _ in range(3):
        await depart(made)
    assert [round(nap) for nap in slept] == [6, 12], "three workers: a third of the rate each"


def test_a_slot_without_a_rate_is_treated_with_care_in_an_outage() -> None:
    share = OutageShare()
    share.workers = 2
    waits = [share.book(("s",), [SlotLimit()]) for _ in range(3)]
    assert [round(wait) for wait in waits] == [0, 2, 4]
    assert round(share.book(("t", "s"), [SlotLimit(interval=1), SlotLimit()])) == 6


def test_not_where_each_worker_is_polite_for_itself() -> None:
    with pytest.raises(NotConfigured):
        middleware(MOCRA_THROTTLE_SCOPE="worker")
