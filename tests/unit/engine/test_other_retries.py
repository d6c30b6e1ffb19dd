"""A project's own retry middleware: what it gives up is told."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares import retry
from scrapy.http import Response
from scrapy.settings import Settings
from scrapy.statscollectors import MemoryStatsCollector

from mocra_scrapy.downloadermiddlewares import retry as ours
from mocra_scrapy.engine.other_retries import on_given_up


class Captcha(retry.RetryMiddleware):
    def process_response(self, request: Request, response: Response, spider: Spider | None = None) -> Any:
        if b"captcha" in response.body:
            return self._retry(request, "captcha") or response
        return super().process_response(request, response)


class WithMiddleware(Crawler):
    middleware: Any = None

    def get_downloader_middleware(self, cls: type) -> Any:
        return self.middleware if isinstance(self.middleware, cls) else None


def crawler(cls: type | None, **settings: Any) -> WithMiddleware:
    made = WithMiddleware(Spider, Settings(settings))
    made.stats = MemoryStatsCollector(made)
    made.spider = Spider("books")
    made.spider.crawler = made
    made.middleware = None if cls is None else cls.from_crawler(made)  # type: ignore[attr-defined]
    return made


@pytest.mark.parametrize("cls", [Captcha, retry.RetryMiddleware])
def test_what_it_gives_up_is_told(cls: type) -> None:
    made, told = crawler(cls, RETRY_TIMES=1), []
    on_given_up(made, lambda request, reason: told.append((request.url, reason)))
    request = Request("http://a.test/1")
    again = made.middleware.process_response(request, Response(request.url, status=503))
    assert isinstance(again, Request)
    assert told == []
    made.middleware.process_response(again, Response(request.url, status=503))
    assert told == [("http://a.test/1", "503 Service Unavailable")]
    made.middleware.process_response(Request("http://a.test/2", meta={"dont_retry": True}), Response("x:", status=503))
    made.middleware.process_exception(again, error := TimeoutError("late"))
    assert told[1:] == [("http://a.test/1", error)]
    if cls is Captcha:
        made.middleware.process_response(again, Response(request.url, body=b"captcha"))
        assert told[2:] == [("http://a.test/1", "captcha")]


def test_ours_tells_by_itself_and_there_may_be_none() -> None:
    told: list[Any] = []
    for cls in (ours.RetryMiddleware, None):
        made = crawler(cls, RETRY_TIMES=0)
        on_given_up(made, lambda *args: told.append(args))
        if made.middleware is not None:
            made.middleware.process_response(Request("http://a.test"), Response("http://a.test", status=503))
    assert told == []
    on_given_up(Crawler(Spider, Settings()), lambda *args: told.append(args))  # without an engine
