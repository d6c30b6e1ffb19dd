"""What the feedback middleware, AutoThrottle and the breaker's extension make of answers; no
process, no backend.
"""

from __future__ import annotations

import time
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest, NotConfigured
from scrapy.http import Response
from scrapy.settings import Settings
from scrapy.statscollectors import MemoryStatsCollector

from mocra_scrapy import Mocra, signals
from mocra_scrapy.downloadermiddlewares.feedback import FeedbackMiddleware
from mocra_scrapy.extensions import breaker as breaker_module
from mocra_scrapy.extensions.autothrottle import AutoThrottle
from mocra_scrapy.extensions.breaker import BreakerExtension, described
from mocra_scrapy.models import BreakerChange, Circuit, LimitChange, SlotLimit, SlotState, Trip, Verdict
from mocra_scrapy.politeness.advertised_limits import spreading
from mocra_scrapy.politeness.site_feedback import SiteFeedback
from mocra_scrapy.politeness.slot_rates import SlotRates


class BookSpider(Spider):
    name = "books"


def crawler(**settings: Any) -> Crawler:
    made = Crawler(BookSpider, Settings(settings))
    made.stats = MemoryStatsCollector(made)
    return made


def answer(status: int, retry_after: str | None = None) -> Response:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Response("http://a.test/x", status=status, headers=headers, body=b"x")


@pytest.mark.parametrize(
    ("status", "header", "held", "slowed", "kind"),
    [
        (200, "5", False, False, ""),
        (503, "5", True, True, "http_5xx"),
        (404, "5", True, False, "http_4xx"),
        (429, None, False, True, "http_429"),
        (503, "0", False, True, "http_5xx"),
        (503, "soon", False, True, "http_5xx"),
    ],
)
def test_what_an_answer_says(status: int, header: str | None, held: bool, slowed: bool, kind: str) -> None:
    made = crawler()
    middleware = FeedbackMiddleware.from_crawler(made)
    heard: list[tuple[str, str]] = []
    middleware._outcomes.listen(lambda slot, kind, age: heard.append((slot, kind)))
    request, response = Request("http://a.test/x"), answer(status, header)
    assert middleware.process_response(request, response) is response, "a cache's answer"
    assert (heard, middleware.feedback._notes) == ([], {})
    middleware.process_request(request)
    assert middleware.process_response(request, response) is response
    assert heard == [("a.test", kind)]
    note = middleware.feedback._notes.get("a.test")
    assert (note is not None and note.until > 0, note is not None and note.slower > 0) == (held, slowed)
    assert made.stats is not None
    assert made.stats.get_value("mocra/throttle/retry_after_malformed", 0) == (header == "soon")


def test_a_limit_that_is_used_up_holds_its_slot() -> None:
    def heard(mode: str, *headers: dict[str, str], status: int = 200) -> tuple[FeedbackMiddleware, Any]:
        middleware = FeedbackMiddleware.from_crawler(crawler(MOCRA_THROTTLE_RATE_LIMIT_HEADERS=mode))
        request = Request("http://a.test/x")
        for one in headers:
            middleware.process_request(request)
            middleware.process_response(request, Response("http://a.test/x", status=status, headers=one))
        return middleware, middleware.feedback._notes.get("a.test")

    gone = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "120"}
    middleware, note = heard("hold", gone)
    assert 100 < note.until - time.monotonic() <= 120
    assert middleware.stats.get_value("mocra/throttle/rate_limit_exhausted") == 1
    _, note = heard("hold", {"RateLimit": '"d";r=0;t=999999'}, status=429)
    assert 3500 < note.until - time.monotonic() <= 3600, "MOCRA_RETRY_AFTER_CAP"
    assert heard("off", gone)[1] is None
    some = {"RateLimit": '"d";r=10;t=60'}
    assert heard("hold", some)[1] is None
    middleware, _ = heard("hold", {"RateLimit-Remaining": "soon", "RateLimit-Reset": "1"})
    assert middleware.stats.get_value("mocra/throttle/rate_limit_malformed") == 1
    middleware, note = heard("spread", some)
    assert note.change(SlotState(SlotLimit())) == LimitChange(6.0, adapted=True)
    assert note.change(SlotState(SlotLimit(), change=LimitChange(0.5))) is None, "somebody said so"
    assert note.change(SlotState(SlotLimit(floor=9.0))) == LimitChange(9.0, adapted=True)
    assert middleware.feedback.spreads == {"a.test": 6.0}
    middleware._advertised._told["a.test"] = (0.0, 6.0)
    request = Request("http://a.test/x")
    middleware.process_request(request)
    middleware.process_response(request, answer(200))
    (note,) = middleware.feedback._notes.values()
    assert note.change(SlotState(SlotLimit(), change=LimitChange(6.0, adapted=True))) == LimitChange(0.0, adapted=True)
    assert middleware.feedback.spreads == {}


def test_spreading_leaves_alone_what_is_longer() -> None:
    changer = spreading(6.0, 1.0, before=5.0)
    assert changer(SlotState(SlotLimit(), change=LimitChange(5.0, adapted=True))) == LimitChange(6.0, adapted=True)
    assert changer(SlotState(SlotLimit(), change=LimitChange(9.0, adapted=True))) is None, "AutoThrottle's"
    assert spreading(6.0, 1.0, before=9.0)(SlotState(SlotLimit(), change=LimitChange(9.0, adapted=True))) is not None


def test_a_single_503_is_an_accident_two_in_a_row_are_not() -> None:
    middleware = FeedbackMiddleware.from_crawler(crawler())
    request = Request("http://a.test/x")

    def slowed_by(*statuses: int) -> bool:
        for status in statuses:
            middleware.process_request(request)
            middleware.process_response(request, answer(status))
        return "a.test" in middleware.feedback._notes

    assert not slowed_by(*[200] * 20, 503, *[200] * 20, 503, *[200] * 20)
    assert slowed_by(503, 503)


def test_the_rate_is_halved_where_there_is_no_limit() -> None:
    pace = SlotRates()
    for n in range(300):
        pace.departed("s", n / 100)
    assert 90 < pace.rate("s", 3.0) < 110
    assert pace.rate("t", 3.0) == 0
    assert pace.rate("s", 30.0) == 0, "it was long ago"
    for n in range(20):
        pace.departed("slow", 100 + 2.0 * n)
        pace.departed("burst", 100.0)
    assert 0.4 < pace.rate("slow", 140.0) < 0.7
    assert pace.rate("burst", 100.1) == 10, "a burst is no rate"
    for at in (100.0, 100.5, 106.2, 107.2, 108.2):
        pace.departed("held", at)
    pace.held("held", 106.0)
    assert 0.8 < pace.rate("held", 109.0) < 1.2, "while it was held nobody could go"
    pace.departed("single", 100.0)
    assert pace.rate("single", 100.1) == 0
    for n in range(SlotRates.MOST + 1):
        pace.departed(str(n), 5.0)
    assert len(pace._slots) <= SlotRates.MOST


def test_a_robots_txt_that_is_not_there_now_slows_nobody_down() -> None:
    """Its slot is held; how seldom it is asked for says nothing of how fast the slot may be."""
    for has_source in (True, False):
        middleware = FeedbackMiddleware.from_crawler(crawler())
        middleware._crawl_delays.has_source = has_source
        for status, header in ((429, None), (503, "5"), (503, None), (503, None)):
            request = Request("http://a.test/robots.txt")
            middleware.process_request(request)
            middleware.process_response(request, answer(status, header))
        note = middleware.feedback._notes["a.test"]
        assert (note.slower > 0, note.until > 0) == (not has_source, True)
        assert middleware._rates.failing("a.test") == (not has_source)


def test_where_slots_are_the_workers_own_only_the_breaker_hears() -> None:
    middleware = FeedbackMiddleware.from_crawler(crawler(MOCRA_THROTTLE_SCOPE="worker"))
    heard: list[str] = []
    middleware._outcomes.listen(lambda slot, kind, age: heard.append(kind))
    request = Request("http://a.test/x")
    middleware.process_request(request)
    middleware.process_response(request, answer(503, "5"))
    assert (heard, middleware.feedback._notes) == (["http_5xx"], {})
    ((_, until, why),) = middleware._stalls._bad.values()
    assert (until, why) == (0.0, "status 503"), "nobody is held, so it is no reason to be patient with the site"


def test_exceptions_are_told_once_unless_nobody_is_at_fault() -> None:
    middleware = FeedbackMiddleware.from_crawler(crawler())
    heard: list[str] = []
    middleware._outcomes.listen(lambda slot, kind, age: heard.append(kind))
    request = Request("http://a.test/x")
    for error in (TimeoutError(), IgnoreRequest()):
        middleware.process_request(request)
        middleware.process_exception(request, error)
    middleware.process_exception(request, TimeoutError())
    assert heard == ["timeout"]


def test_scrapys_rule_of_autothrottle() -> None:
    made = crawler(AUTOTHROTTLE_ENABLED=True, DOWNLOAD_DELAY=0.5, AUTOTHROTTLE_TARGET_CONCURRENCY=2.0)
    rule = AutoThrottle.from_crawler(made).adjusted
    assert rule(4.0, 4.0, good=True) == 3.0, "half the way"
    assert rule(1.0, 8.0, good=True) == 4.0, "all of it when that is longer"
    assert rule(0.5, 0.1, good=True) == 0.5
    assert rule(0.5, 1000.0, good=True) == 60.0
    assert rule(4.0, 0.1, good=False) == 4.0
    assert rule(4.0, 4.0, good=True, least=3.5) == 3.5


def test_autothrottle_learns_from_means_once_a_second() -> None:
    made = crawler(AUTOTHROTTLE_ENABLED=True, AUTOTHROTTLE_START_DELAY=5.0, AUTOTHROTTLE_DEBUG=True)
    throttle, notices = AutoThrottle.from_crawler(made), Mocra.from_crawler(made).component(SiteFeedback)
    meta = {"download_slot": "a", "download_latency": 2.0}
    spider = BookSpider()
    for skipped in (
        Request("http://a.test/x"),
        Request("http://a.test/robots.txt", meta=meta),
        Request("http://a.test/x", meta={**meta, "autothrottle_dont_adjust_delay": True}),
    ):
        throttle._downloaded(answer(200), skipped, spider)
    assert notices._notes == {}
    throttle._downloaded(answer(200), Request("http://a.test/x", meta=meta), spider)
    change = notices._notes.pop("a").change
    assert change is not None
    adapted = LimitChange(4.0, 3, adapted=True)
    assert change(SlotState(SlotLimit(), change=adapted)) == LimitChange(3.0, 3, adapted=True)
    ruled = SlotLimit(interval=3.5, floor=3.5)
    assert change(SlotState(ruled, change=adapted)) == LimitChange(3.5, 3, adapted=True), "a rule is a floor"
    asked = LimitChange(4.0, 3, adapted=True, least=3.2)
    assert change(SlotState(SlotLimit(), change=asked)) == LimitChange(3.2, 3, adapted=True), "so is Crawl-delay"
    assert change(SlotState(SlotLimit(), change=LimitChange(2.0, adapted=True))) is None
    assert change(SlotState(SlotLimit(), change=LimitChange(9.0))) is None, "somebody said it"
    throttle._downloaded(answer(200), Request("http://a.test/x", meta=meta), spider)
    assert notices._notes == {}, "within a second"


@pytest.mark.parametrize("settings", [{}, {"AUTOTHROTTLE_ENABLED": True, "AUTOTHROTTLE_TARGET_CONCURRENCY": 0}])
def test_no_autothrottle(settings: dict[str, Any]) -> None:
    with pytest.raises(NotConfigured):
        AutoThrottle.from_crawler(crawler(**settings))


def test_no_breaker_where_none_is_wanted() -> None:
    with pytest.raises(NotConfigured):
        BreakerExtension.from_crawler(crawler())


class Closing:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    def close_spider(self, reason: str) -> None:
        self.reasons.append(reason)


async def test_the_breaker_counts_and_heeds() -> None:
    made = crawler(MOCRA_BREAKER="mocra")
    extension = BreakerExtension.from_crawler(made)
    engine = extension._engine = Closing()  # type: ignore[assignment]
    extension._downloaded("a", "", 1.0)
    extension._downloaded("a", "timeout", 3.0)
    extension._downloaded("a", "timeout", 2.0)
    extension._item_failed({}, None, BookSpider(), None)
    told = {(o.slot, o.kind, o.download): (o.count, round(o.age)) for o in extension._take()}
    assert told == {("a", "", True): (1, 1), ("a", "timeout", True): (2, 2), ("", "pipeline", False): (1, 0)}
    assert extension._take() == []
    sent: list[str] = []
    handlers = []
    for name in ("breaker_opened", "breaker_closed", "breaker_tripped"):
        handlers.append(lambda name=name: sent.append(name))
        made.signals.connect(handlers[-1], getattr(signals, name))
    extension._apply(Verdict((), Trip(5.0, 1, 1)))
    assert (sent, engine.reasons) == ([], []), "what happened before we came"  # type: ignore[attr-defined]
    opened = BreakerChange("a", Circuit.CLOSED, Circuit.OPEN, 30.0, 1, 10, 12, {"timeout": 10})
    closed = BreakerChange("a", Circuit.HALF_OPEN, Circuit.CLOSED)
    extension._apply(Verdict((opened, closed), Trip(6.0, 100, 200, {"timeout": 100})))
    extension._apply(Verdict((), Trip(6.0, 100, 200)))
    assert sent == ["breaker_opened", "breaker_closed", "breaker_tripped"]
    assert engine.reasons == [breaker_module.REASON]  # type: ignore[attr-defined]
    over = BreakerChange(
        "a", Circuit.HALF_OPEN, Circuit.OPEN, 0.0, 6, 1, 1, {"timeout": 1}, "its circuit opened 6 times"
    )
    extension._apply(Verdict((over,), None))
    assert len(sent) == 3, "it is not held, it is given up"
    assert made.stats is not None
    assert made.stats.get_value("mocra/stall/given_up") == 1
    assert made.stats.get_value("mocra/breaker/opened") == 1


def test_a_slow_success_is_told_as_one() -> None:
    made = crawler(MOCRA_BREAKER={"slot": {"slow": 5}})
    extension = BreakerExtension.from_crawler(made)
    for kind, age in (("", 4.9), ("", 5.0), ("", 7.0), ("timeout", 9.0)):
        extension._downloaded("a", kind, age)
    assert {(o.kind, o.slow): o.count for o in extension._take()} == {
        ("", False): 1,
        ("", True): 2,
        ("timeout", False): 1,
    }
    assert made.stats is not None
    assert made.stats.get_value("mocra/breaker/slow") == 2


def test_a_proxy_that_cannot_be_reached_is_no_failure_of_the_site() -> None:
    middleware = FeedbackMiddleware.from_crawler(crawler())
    heard: list[tuple[str, str]] = []
    middleware._outcomes.listen(lambda slot, kind, age: heard.append((slot, kind)))

    def attempt(proxy: str, result: Exception | Response) -> None:
        request = Request("http://a.test/x", meta={"proxy": proxy} if proxy else {})
        middleware.process_request(request)
        if isinstance(result, Response):
            middleware.process_response(request, result)
        else:
            middleware.process_exception(request, result)

    attempt("http://user:secret@10.0.0.1:3128", ConnectionRefusedError())
    assert heard == [("proxy:10.0.0.1:3128", "refused")]
    assert middleware._stalls._bad == {}
    attempt("http://10.0.0.1:3128", TimeoutError())
    assert heard[1:] == [("a.test", "timeout")], "nobody knows whose it was"
    attempt("http://10.0.0.1:3128", answer(200))
    attempt("http://10.0.0.1:3128", answer(200))
    assert heard[2:] == [("a.test", ""), ("proxy:10.0.0.1:3128", ""), ("a.test", "")], "it works again, told once"
    attempt("", ConnectionRefusedError())
    assert heard[5:] == [("a.test", "refused")]
    assert list(middleware._stalls._bad) == ["a.test"]


def test_kinds_are_told_the_most_frequent_first() -> None:
    assert described({"timeout": 3, "http_5xx": 7, "dns": 3}) == "7 http_5xx, 3 dns, 3 timeout"
