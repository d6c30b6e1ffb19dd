"""Whatever a site says, the feedback middleware bears it; the shared AutoThrottle works its delay
out as Scrapy's own code does.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.extensions import throttle as theirs
from scrapy.http import Response
from scrapy.settings import Settings
from scrapy.statscollectors import MemoryStatsCollector

from mocra_scrapy.downloadermiddlewares.feedback import FeedbackMiddleware
from mocra_scrapy.extensions.autothrottle import AutoThrottle

URL = "http://slow.example/page"
MANY = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)


def crawler(**more: Any) -> Crawler:
    made = Crawler(Spider, Settings(more))
    made.stats = MemoryStatsCollector(made)
    return made


@cache  # making one takes longer than all that an example looks at
def middleware() -> tuple[FeedbackMiddleware, list[float]]:
    made = FeedbackMiddleware.from_crawler(crawler())
    holds: list[float] = []
    made.feedback.hold = lambda slot, seconds, why: holds.append(seconds)  # type: ignore[method-assign]
    return made, holds


@MANY
@given(st.binary(max_size=80) | st.integers(-(10**30), 10**30).map(lambda n: str(n).encode()), st.integers(100, 599))
def test_no_header_breaks_it_and_no_hold_is_beyond_the_cap(header: bytes, status: int) -> None:
    made, holds = middleware()
    holds.clear()
    request = Request(URL)
    made.process_request(request)
    response = Response(URL, status=status, headers={"Retry-After": header})
    assert made.process_response(request, response) is response
    assert all(0 < seconds <= 3600 for seconds in holds)
    assert status >= 400 or not holds


@cache
def extension() -> AutoThrottle:
    return AutoThrottle.from_crawler(crawler(AUTOTHROTTLE_ENABLED=True))


@MANY
@given(
    old=st.floats(0, 100),
    latency=st.floats(0.001, 100),
    good=st.booleans(),
    concurrency=st.floats(0.2, 8),
    least=st.floats(0, 5),
)
def test_the_delay_is_scrapys(old: float, latency: float, good: bool, concurrency: float, least: float) -> None:
    mine, reference = extension(), object.__new__(theirs.AutoThrottle)
    mine.target_concurrency = reference.target_concurrency = concurrency
    mine.mindelay = reference.mindelay = least
    mine.maxdelay = reference.maxdelay = 60.0

    class Slot:
        delay = old

    slot: Any = Slot()
    reference._adjust_delay(slot, latency, Response(URL, status=200 if good else 503))
    assert mine.adjusted(old, latency, good=good) == slot.delay
