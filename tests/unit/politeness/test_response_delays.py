"""The delay follows the response time where a rule says so."""

from __future__ import annotations

import time
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.settings import Settings
from scrapy.statscollectors import MemoryStatsCollector

from mocra_scrapy.downloadermiddlewares.feedback import FeedbackMiddleware
from mocra_scrapy.models import LimitChange, SlotLimit, SlotState


class BookSpider(Spider):
    name = "books"


@pytest.fixture
def middleware() -> FeedbackMiddleware:
    crawler = Crawler(BookSpider, Settings({"MOCRA_THROTTLE": {"a.test": "heritrix"}}))
    crawler.stats = MemoryStatsCollector(crawler)
    return FeedbackMiddleware.from_crawler(crawler)


def answered(middleware: FeedbackMiddleware, latency: float | None, host: str = "a.test", **headers: str) -> Any:
    """What is to be told of the slot then."""
    request = Request(f"http://{host}/x")
    middleware.process_request(request)
    if latency is not None:
        request.meta["download_latency"] = latency
    middleware.process_response(request, Response(request.url, headers=headers))
    note = middleware.feedback._notes.pop(host, None)
    middleware.held = 0.0 if note is None else max(0.0, note.until - time.monotonic())  # type: ignore[attr-defined]
    return note and note.change


OWN = SlotLimit(interval=3.0, concurrency=1, floor=3.0)


def test_the_delay_follows_the_response_time(middleware: FeedbackMiddleware) -> None:
    changer = answered(middleware, 2.0)
    assert changer(SlotState(OWN)) == LimitChange(12.0, adapted=True)
    assert changer(SlotState(OWN, change=LimitChange(7.0))) is None, "somebody said so"
    assert changer(SlotState(OWN, change=LimitChange(12.0, adapted=True))) is None
    assert changer(SlotState(OWN, change=LimitChange(40.0, None, 2, adapted=True))) == LimitChange(12.0, None, 2, True)
    assert answered(middleware, 2.0) is None, "once a second"
    taken = middleware._delays._taken["a.test"]
    assert (taken.seconds, taken.number) == (2.0, 1)
    taken.last -= 2
    assert answered(middleware, 1.0)(SlotState(OWN)) == LimitChange(9.0, adapted=True), "their mean"


def test_a_response_that_takes_longer_holds_the_slot(middleware: FeedbackMiddleware) -> None:
    def held(latency: float) -> float:
        answered(middleware, latency)
        middleware.feedback._held.clear()
        return round(middleware.held, 1)  # type: ignore[attr-defined]

    assert held(0.2) == 0, "3.2 s, where 3 are booked"
    assert held(4.0) == 20.0, "the next one was booked for 3.2 s after the last one"
    middleware._delays._taken["a.test"].last -= 2
    answered(middleware, 4.0)
    assert held(4.0) == 0, "now that is expected"
    assert held(20.0) == 30.0


def test_other_slots_have_none(middleware: FeedbackMiddleware) -> None:
    assert answered(middleware, 2.0, "b.test") is None
    assert answered(middleware, None) is None


def test_crawl_delay_is_a_floor(middleware: FeedbackMiddleware) -> None:
    asked = SlotState(OWN, change=LimitChange(least=20.0))
    assert answered(middleware, 2.0)(asked) == LimitChange(20.0, adapted=True)


def test_what_a_site_advertises_is_another_one() -> None:
    settings = {"MOCRA_THROTTLE": {"a.test": "heritrix"}, "MOCRA_THROTTLE_RATE_LIMIT_HEADERS": "spread"}
    crawler = Crawler(BookSpider, Settings(settings))
    crawler.stats = MemoryStatsCollector(crawler)
    middleware = FeedbackMiddleware.from_crawler(crawler)
    assert answered(middleware, 0.1, RateLimit='"d";r=2;t=60')(SlotState(OWN)) == LimitChange(30.0, adapted=True)
