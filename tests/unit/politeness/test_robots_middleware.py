"""The middleware that obeys robots.txt, and the gate that lets one request of a slot out first."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from mocra_scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from mocra_scrapy.runtime.slot_gate import SlotGate
from mocra_scrapy.worker.bypass import NoDeparture
from tests.unit.politeness.conftest import Stage

SITE = "http://a.test"


def test_one_request_of_a_slot_goes_before_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    gate = SlotGate(lambda: now)
    assert gate.admits("s", 0)
    assert not gate.admits("s", 1)
    gate.enter("s")
    gate.passed("s")
    assert not gate.admits("s", 1), "somebody waits"
    gate.close("s", 10)
    gate.leave("s")
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


def test_a_slot_with_several_files_opens_when_nobody_waits_for_any() -> None:
    """Two ports of one host, say. One whose file can't be had does not keep the other's pages in a row."""
    now = 5.0
    gate = SlotGate(lambda: now)
    gate.enter("s")
    gate.enter("s")
    gate.leave("s")
    gate.open("s")
    gate.ready("s")
    assert not gate.passed("s")
    assert not gate.admits("s", 1), "the other one is awaited"
    gate.close("s", 10)
    gate.leave("s")
    assert not gate.passed("s")
    assert not gate.admits("s", 0), "it can't be had yet"
    now = 15.0
    assert not gate.admits("s", 1)
    assert gate.passed("s"), "a page that does not need it went by"
    assert gate.admits("s", 7)
    assert not gate.awaited


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


async def test_what_waits_for_a_file_is_looked_at_when_that_may_be_had(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was leased meanwhile has no instant of its own, and the engine looks for itself every five seconds only."""
    desk = Desk(stage, ConnectionRefusedError(111, "nobody there"))
    looked = asyncio.Event()
    monkeypatch.setattr(desk.middleware._state, "look_again", looked.set)
    monkeypatch.setattr("mocra_scrapy.downloadermiddlewares.robotstxt.SOONEST", 0.001)
    monkeypatch.setattr("mocra_scrapy.downloadermiddlewares.robotstxt.time.time", lambda: 1e12)
    with pytest.raises(ConnectionRefusedError):
        await desk.passes("1")
    await asyncio.wait_for(looked.wait(), 60)


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
