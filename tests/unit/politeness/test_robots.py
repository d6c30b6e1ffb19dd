"""robots.txt files that workers share, and what the middleware makes of them; no process, no site."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable
from gzip import BadGzipFile
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse, urlsplit

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response
from scrapy.utils.test import get_crawler
from twisted.web.client import ResponseFailed

from mocra_scrapy import Mocra
from mocra_scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models.coordination import robots_namespace
from mocra_scrapy.politeness import crawl_delays, robots
from mocra_scrapy.politeness.crawl_delays import CrawlDelays
from mocra_scrapy.politeness.robots import (
    LARGEST,
    STALE,
    Answer,
    Fetch,
    Postponed,
    SharedRobots,
    Unreadable,
    origin_of,
    shortened,
)
from mocra_scrapy.runtime.slot_gate import SlotGate
from mocra_scrapy.worker.bypass import NoDeparture

SITE = "http://a.test"


def test_the_origin_names_no_user() -> None:
    assert origin_of(urlsplit("HTTP://Joe:s3cret@A.test:81/x")) == "http://a.test:81"
    assert origin_of(urlparse("https://A.test/@b")) == "https://a.test"


class BookSpider(Spider):
    name = "books"


class Stage:
    """Workers on one store, and a wall clock that is moved.

    Attributes:
        asked: how often the site was asked for the file.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url, self.now, self.asked = f"memory://{secrets.token_hex(8)}", 1_000_000.0, 0
        self._kept: list[Any] = []
        monkeypatch.setattr(robots.time, "time", lambda: self.now)

    def mocra(self, **settings: Any) -> Mocra:
        crawler = get_crawler(BookSpider, {"MOCRA_BACKEND": self.url, **settings}, prevent_warnings=False)
        self._kept.append(crawler)  # the store ends with the last who knows it
        return Mocra.from_crawler(crawler)

    def worker(self, **settings: Any) -> SharedRobots:
        return SharedRobots(self.mocra(**settings))

    def gives(self, status: int = 200, body: bytes = b"", wait: bytes | None = None) -> Fetch:
        async def fetch() -> Answer:
            self.asked += 1
            await asyncio.sleep(0)
            return Answer(status, body, wait)

        return fetch

    def raises(self, error: Exception) -> Fetch:
        async def fetch() -> Answer:
            self.asked += 1
            raise error

        return fetch


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


async def test_one_worker_fetches_for_all(stage: Stage) -> None:
    workers = [stage.worker() for _ in range(3)]
    found = await asyncio.gather(*(one.find(SITE, stage.gives(body=b"x")) for one in (*workers, *workers)))
    assert (stage.asked, {file.body for file in found}) == (1, {b"x"})
    assert (await stage.worker().find("https://a.test", stage.gives(body=b"y"))).body == b"y", "another origin"
    stage.now += 86_399
    assert (await stage.worker().find(SITE, stage.gives(body=b"new"))).body == b"x"
    stage.now += 2
    assert (await workers[0].find(SITE, stage.gives(body=b"new"))).body == b"new"
    assert (await stage.worker().find(SITE, stage.gives())).body == b"new"
    for one in workers:
        await one.close()


@pytest.mark.parametrize(("status", "body"), [(404, b""), (403, b""), (301, b""), (204, b"x"), (200, b"x")])
async def test_what_there_is_not_allows_everything(stage: Stage, status: int, body: bytes) -> None:
    assert (await stage.worker().find(SITE, stage.gives(status, b"x"))).body == body


async def test_5xx_is_not_now_for_all_workers(stage: Stage) -> None:
    one, other = stage.worker(MOCRA_RETRY_CAP=3), stage.worker()
    for tries, wait in ((1, 1.0), (2, 2.0), (3, 3.0)):
        file = await one.find(SITE, stage.gives(503))
        assert (file.body, file.tries, file.not_now - stage.now) == (None, tries, wait)
        again = await other.find(SITE, stage.gives(200, b"x"))
        assert (again.body, again.not_now, stage.asked) == (None, file.not_now, tries), "not asked again so soon"
        stage.now += wait + 0.1
    file = await one.find(SITE, stage.gives(429, wait=b"40"))
    assert file.not_now - stage.now == 40
    stage.now += 41
    assert (await one.find(SITE, stage.gives(200, b"x"))).body == b"x"
    assert (await other.find(SITE, stage.gives(503))).not_now == 0, "it is there again"


async def test_an_older_copy_counts_for_a_week(stage: Stage) -> None:
    one = stage.worker()
    await one.find(SITE, stage.gives(body=b"old"))
    stage.now += 86_401
    file = await one.find(SITE, stage.gives(500))
    assert (file.body, file.tries) == (b"old", 1)
    assert file.counts(stage.now, one.max_age) == file.not_now - stage.now, "and is asked for again, soon"
    stage.now += STALE
    assert (await one.find(SITE, stage.gives(500))).body is None


async def test_no_answer_is_told_to_those_who_wait(stage: Stage) -> None:
    one, error = stage.worker(), TimeoutError("nobody there")
    file = await one.find(SITE, stage.raises(error))
    assert (file.body, file.error, file.why) == (None, error, "TimeoutError: nobody there")
    again = await stage.worker().find(SITE, stage.gives())
    assert (again.body, again.error, again.why) == (None, None, file.why), "others only wait"
    with pytest.raises(Postponed):
        await one.find("http://b.test", stage.raises(Postponed("not its turn")))
    assert (await one.find("http://b.test", stage.gives(body=b"x"))).body == b"x", "that was not the site's fault"


@pytest.mark.parametrize(
    "error", [ValueError("invalid hostname: joe:pw@x"), BadGzipFile("Not gzipped"), Unreadable("http://joe:pw@x")]
)
async def test_what_makes_no_sense_allows_everything(
    stage: Stage, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    file = await stage.worker().find(SITE, stage.raises(error))
    assert (file.body, file.error, file.not_now) == (b"", None, 0.0)
    assert (await stage.worker().find(SITE, stage.gives(body=b"x"))).body == b"", "once a day, for all"
    (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "allows everything" in said
    assert "joe" not in said


@pytest.mark.parametrize("error", [OSError(113, "No route to host"), ConnectionResetError(), ResponseFailed([])])
async def test_nobody_answers(stage: Stage, error: Exception) -> None:
    assert (await stage.worker().find(SITE, stage.raises(error))).error is error


async def test_only_so_much_is_read(stage: Stage) -> None:
    line = b"Disallow: /x\n"
    body = line * (LARGEST // len(line) + 5)
    kept = shortened(body)
    assert LARGEST - len(line) < len(kept) <= LARGEST
    assert kept.endswith(line)
    assert shortened(b"x" * (LARGEST + 1)) == b"x" * LARGEST
    assert (await stage.worker().find(SITE, stage.gives(body=body))).body == kept
    assert (await stage.worker().find(SITE, stage.gives())).body == kept, "as it was stored"


async def test_what_others_wrote_is_fetched_anew(stage: Stage) -> None:
    mocra = stage.mocra()
    values = mocra.backend.shared_values(robots_namespace(mocra.crawl))
    for rubbish in (b"", b"\xff", b"[1, 2]\n", b'[1, 2, 3, "why", true]\nx', b"null\n"):
        await values.put(SITE, rubbish)
        before = stage.asked
        assert (await stage.worker().find(SITE, stage.gives(body=b"x"))).body == b"x"
        assert (await stage.worker().find(SITE, stage.gives(body=b"y"))).body == b"x"
        assert stage.asked == before + 1


async def test_without_the_backend_each_fetches_its_own(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    one = stage.worker()

    async def away(*args: Any, **kwargs: Any) -> Any:
        raise BackendUnavailable("away")

    monkeypatch.setattr(one, "_values", SimpleNamespace(get=away, put=away))
    assert (await one.find(SITE, stage.gives(body=b"x"))).body == b"x"
    assert one._stats.get_value("mocra/robots/unshared") == 1


async def test_the_backend_goes_away_while_the_lock_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stage.worker()
    values, answers = one._values, [1]

    async def get(name: str) -> Any:
        if not answers:
            raise BackendUnavailable("away")
        answers.pop()
        return await values.get(name)

    monkeypatch.setattr(one, "_values", SimpleNamespace(get=get, put=values.put))
    assert (await one.find(SITE, stage.gives(body=b"x"))).body == b"x"
    assert (await stage.worker().find(SITE, stage.gives())).body == b"x", "it is shared all the same"


# ---------------------------------------------------------------------- Crawl-delay


class Wrapped:
    """A parser of Scrapy before 2.18: only what it wraps can tell."""

    def __init__(self, delay: Any) -> None:
        self.rp = SimpleNamespace(crawl_delay=lambda agent: delay)


class Parser:
    def __init__(self, delay: Any) -> None:
        self.crawl_delay = lambda agent: delay


@pytest.mark.parametrize("kind", [Wrapped, Parser])
@pytest.mark.parametrize(
    ("delay", "least", "malformed"),
    [(2, 2.0, 0), ("1.5", 1.5, 0), (1e9, 60.0, 0), (None, None, 0), (0, None, 0), (-1, None, 1), ("x", None, 1)],
)
async def test_crawl_delay(
    stage: Stage, kind: Callable[[Any], Any], delay: Any, least: float | None, malformed: int
) -> None:
    mocra = stage.mocra()
    delays = CrawlDelays(mocra)
    await delays.hear(kind(delay), Request(f"{SITE}/x"), "a.test")
    assert (await mocra.limiter.look("a.test")).change.least == least
    assert delays._stats.get_value("mocra/throttle/crawl_delay_malformed", 0) == malformed


async def test_the_longest_crawl_delay_of_a_slot_holds(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    mocra = stage.mocra()
    delays = CrawlDelays(mocra)
    monkeypatch.setattr(crawl_delays, "MOST", 2)

    async def asks(delay: float, url: str, slot: str = "a.test") -> float | None:
        await delays.hear(Parser(delay), Request(url), slot)
        return (await mocra.limiter.look(slot)).change.least

    assert await asks(2, SITE) == 2
    assert await asks(3, f"{SITE}:81") == 3
    assert await asks(1, SITE) == 3
    assert await asks(0, f"{SITE}:81") == 1, "it asks no more"
    assert await asks(0, SITE) is None
    for slot in "bcd":
        assert await asks(4, SITE, slot) == 4
    assert len(delays._asked) == 2


async def test_crawl_delay_waits_for_the_backend(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    mocra = stage.mocra()
    delays = CrawlDelays(mocra)

    async def away(*args: Any) -> None:
        raise BackendUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(mocra.limiter, "change", away)
        await delays.hear(Parser(2), Request(SITE), "a.test")
    ((slot, note),) = delays._feedback._notes.items()
    await delays._feedback._tell(slot, note)
    assert (await mocra.limiter.look("a.test")).change.least == 2


# ---------------------------------------------------------------------- the gate, and the middleware


def test_one_request_of_a_slot_goes_before_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    gate = SlotGate(lambda: now)
    assert gate.admits("s", 0)
    assert not gate.admits("s", 1)
    gate.close("s")
    gate.passed("s")
    assert not gate.admits("s", 1), "somebody waits"
    gate.close("s", 10)
    assert not gate.admits("s", 0), "it can't be had yet"
    now = 15.0
    assert gate.admits("s", 0)
    gate.open("s")
    assert gate.admits("s", 7)
    gate.passed("t")
    assert gate.admits("t", 7), "nobody asked for anything"
    monkeypatch.setattr(SlotGate, "MOST", 3)
    for n in range(9):
        gate.open(f"{n}")
        gate.close(f"-{n}")
    assert (len(gate._open), len(gate.shut)) == (3, 3)


class Desk:
    """The middleware on an engine that answers as it is told."""

    def __init__(self, stage: Stage, answer: Any, **settings: Any) -> None:
        mocra = stage.mocra(ROBOTSTXT_OBEY=True, **settings)
        self.crawler: Any = mocra.crawler
        self.answer, self.asked, self.redirects_to = answer, [], ""  # type: Any, list[Request], str
        self.crawler.engine = SimpleNamespace(download_async=self._download, downloader=SimpleNamespace())
        self.middleware = RobotsTxtMiddleware.from_crawler(self.crawler)
        self.stats = self.crawler.stats

    async def _download(self, request: Request) -> Response:
        self.asked.append(request)
        if self.redirects_to:  # as Scrapy does: the new one goes through all middlewares
            assert self.middleware.process_request(request.replace(url=self.redirects_to)) is None
        if isinstance(self.answer, Exception):
            raise self.answer
        return Response(request.url, status=self.answer[0], body=self.answer[1])

    async def passes(self, path: str, **meta: Any) -> None:
        waiting = self.middleware.process_request(Request(f"{SITE}/{path}", meta=meta))
        assert waiting is None or await waiting is None


async def test_pages_pass_or_are_forbidden(stage: Stage) -> None:
    desk = Desk(stage, (200, b"User-agent: *\nDisallow: /private"))
    await desk.passes("1")
    with pytest.raises(IgnoreRequest):
        await desk.passes("private/1")
    assert desk.middleware.process_request(Request(f"{SITE}/2")) is None, "known: nothing is waited for"
    assert desk.middleware.process_request(Request(f"{SITE}/private", meta={"dont_obey_robotstxt": True})) is None
    assert desk.middleware.process_request(Request("data:,x")) is None
    (asked,) = desk.asked
    assert asked.url == f"{SITE}/robots.txt"
    await desk.passes("3", download_slot="other")
    assert len(desk.asked) == 1
    assert desk.stats.get_value("robotstxt/forbidden") == 1
    assert desk.stats.get_value("robotstxt/response_status_count/200") == 1


@pytest.mark.parametrize("answer", [(404, b"User-agent: *\nDisallow: /"), IgnoreRequest("too many redirects")])
async def test_without_a_file_all_is_allowed(stage: Stage, answer: Any) -> None:
    desk = Desk(stage, answer)
    await desk.passes("1")
    assert desk.middleware.process_request(Request(f"{SITE}/2")) is None


async def test_what_is_not_the_queues_waits_and_gives_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(stage, (503, b""), MOCRA_BYPASS_MAX_WAIT=5, MOCRA_RETRY_BASE=2)
    monkeypatch.setattr(desk.middleware, "_patience", lambda request: 1.0)
    with pytest.raises(IgnoreRequest, match="MOCRA_BYPASS_MAX_WAIT"):
        await desk.passes("1")
    assert desk.stats.get_value("mocra/robots/given_up") == 1
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        stage.now += seconds

    monkeypatch.setattr(desk.middleware, "_patience", lambda request: 5.0)
    monkeypatch.setattr("mocra_scrapy.downloadermiddlewares.robotstxt.asyncio.sleep", sleep)
    desk.answer = (200, b"")
    await desk.passes("1")
    assert sum(slept) == pytest.approx(2.0)


async def test_who_nobody_answers_fails_as_its_page_would(stage: Stage) -> None:
    desk = Desk(stage, TimeoutError("nobody there"))
    with pytest.raises(TimeoutError):
        await desk.passes("1")
    assert not desk.middleware._state.gate.admits("a.test", 0), "the others wait"
    assert desk.middleware._feedback._notes["a.test"].until > 0, "on all workers"


@pytest.mark.parametrize("to", ["http://dead.test/robots.txt", "http://dead.test:81/"])
async def test_a_redirect_to_a_dead_host_allows_everything(stage: Stage, to: str) -> None:
    desk = Desk(stage, TimeoutError("nobody there"))
    desk.redirects_to = to
    await desk.passes("1")


async def test_a_redirect_within_a_dead_site_does_not(stage: Stage) -> None:
    desk = Desk(stage, TimeoutError("nobody there"))
    desk.redirects_to = f"{SITE}/other.txt"
    with pytest.raises(TimeoutError):
        await desk.passes("1")


async def test_user_and_password_are_not_the_origins(stage: Stage) -> None:
    desk = Desk(stage, (200, b""))
    waiting = desk.middleware.process_request(Request("http://joe:s3cret@A.test/1"))
    assert waiting is not None
    assert await waiting is None
    assert desk.middleware.process_request(Request(f"{SITE}/2")) is None
    assert list(desk.middleware._known) == [SITE]
    assert [request.url for request in desk.asked] == [f"{SITE}/robots.txt"]


async def test_a_file_whose_turn_did_not_come_is_asked_for_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(stage, NoDeparture("held"))

    async def sleep(seconds: float) -> None:
        stage.now += seconds
        desk.answer = (200, b"")

    monkeypatch.setattr("mocra_scrapy.downloadermiddlewares.robotstxt.asyncio.sleep", sleep)
    await desk.passes("1")
    assert len(desk.asked) == 2
    assert desk.stats.get_value("mocra/robots/not_now") is None, "the site said nothing"


async def test_a_large_file_is_parsed_beside_the_event_loop(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    body = b"Disallow: /nobody\n" * 2000 + b"User-agent: *\nDisallow: /private"
    desk = Desk(stage, (200, body))
    own, threads = desk.middleware._parserimpl, []  # type: Any, list[threading.Thread]

    class Watched(own):  # type: ignore[misc]
        @classmethod
        def from_crawler(cls, crawler: Any, body: bytes) -> Any:
            threads.append(threading.current_thread())
            return super().from_crawler(crawler, body)

    desk.middleware._parserimpl = Watched
    for module in (Watched.__module__, own.__module__):
        Watched.__module__ = module
        desk.middleware._known.clear()
        await desk.passes("1")
        with pytest.raises(IgnoreRequest):
            await desk.passes("private")
    assert [thread is threading.main_thread() for thread in threads] == [True, False], "of others nobody knows"
    assert not [record for record in caplog.records if record.name.startswith("protego")]


async def test_a_parser_that_breaks_allows_everything(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(stage, (200, b"x"))

    class Broken:
        @classmethod
        def from_crawler(cls, crawler: Any, body: bytes) -> Any:
            raise ValueError("no")

    desk.middleware._parserimpl = Broken  # type: ignore[assignment]
    await desk.passes("1")
    assert "can't be parsed" in caplog.text
