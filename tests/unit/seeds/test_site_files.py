"""Files of sites: what is tried again, what is not, and one robots.txt for all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from mocra_scrapy.politeness.robots import Answer, RobotsFile
from mocra_scrapy.seeds import site_files
from mocra_scrapy.seeds.site_files import SiteFiles
from mocra_scrapy.seeds.sitemaps import MOST_BYTES


class DownloadCancelledError(Exception):
    """As Scrapy's."""


class Engine:
    """Answers with what was laid out, one after the other."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.asked = list(answers), list[Request]()

    async def download_async(self, request: Request) -> Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Response(request.url, status=answer, body=b"body", headers={"Retry-After": "7"})


def files_of(engine: Engine, component: Any = None) -> SiteFiles:
    mocra: Any = SimpleNamespace(crawler=SimpleNamespace(engine=engine), component=lambda cls: component)
    return SiteFiles(mocra)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_files, "PAUSES", (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("answers", "body", "attempts"),
    [
        ([200], b"body", 1),
        ([503, OSError("reset"), 429, 200], b"body", 4),
        ([503, 503, 503, 503], None, 4),
        ([404], None, 1),
        ([IgnoreRequest("robots.txt")], None, 1),
        ([DownloadCancelledError("too large")], None, 1),
        ([ValueError("invalid URL")], None, 1),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else type(value).__name__,
)
async def test_what_passes_is_tried_again(answers: list[Any], body: bytes | None, attempts: int) -> None:
    engine = Engine(*answers)
    assert await files_of(engine).fetch("http://s.test/sitemap.xml") == body
    assert len(engine.asked) == attempts
    assert {request.meta["download_maxsize"] for request in engine.asked} == {MOST_BYTES}


@pytest.mark.parametrize(("is_guess", "status", "told"), [(False, 404, 1), (True, 404, 0), (True, 503, 1)])
async def test_what_is_only_guessed_need_not_be_there(
    is_guess: bool, status: int, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert await files_of(Engine(*[status] * 4)).fetch("http://s.test/sitemap.txt", is_guess) is None
    assert caplog.text.count("can't be had") == told


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://s.test/x", "s3://b/x", "//[x", "http://[bad/"])
async def test_what_is_no_address_of_the_web_is_never_asked_for(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(site_files, "PAUSES", ())  # a pause would be an error
    engine = Engine(200, 200, 200, 200)
    assert await files_of(engine).fetch(url) is None
    assert not engine.asked
    assert caplog.text.count("can't be had") == 1


async def test_robots_txt_is_that_of_all_workers() -> None:
    class Shared:
        async def find(self, origin: str, fetch: Callable[[], Awaitable[Answer]]) -> RobotsFile:
            assert origin == "http://s.test"
            self.answer = await fetch()
            return RobotsFile(self.answer.body)

    shared, engine = Shared(), Engine(200, IgnoreRequest("no"))
    files = files_of(engine, shared)
    assert await files.robots("http://s.test/robots.txt") == b"body"
    assert shared.answer == Answer(200, b"body", b"7")
    assert engine.asked[0].meta["dont_obey_robotstxt"]
    await files.robots("http://s.test/robots.txt")
    assert shared.answer.status == 404
