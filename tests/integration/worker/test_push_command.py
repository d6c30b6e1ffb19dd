"""``scrapy mocra push``: what is stored is what a worker of that spider would store."""

from __future__ import annotations

import argparse
import io
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.settings import Settings

from mocra_scrapy.backends import open_backend
from mocra_scrapy.codec.requests import load_codec
from mocra_scrapy.commands.verbs.push import Push
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import QueueOptions
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.redis


class PushedSpider(Spider):
    name = "pushed"
    crawl = ""

    def __init__(self, prefix: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.prefix = prefix

    def other(self, response: Any) -> None: ...


@pytest.fixture(autouse=True)
def crawl(monkeypatch: pytest.MonkeyPatch) -> str:
    """A crawl of this test's own."""
    name = f"pushed-{secrets.token_hex(4)}"
    monkeypatch.setattr(PushedSpider, "crawl", name)
    return name


async def push(backend: str, *seeds: str, settings: Any = (), **options: Any) -> int:
    crawler = Crawler(
        PushedSpider, Settings({"MOCRA_BACKEND": backend, "MOCRA_CRAWL": PushedSpider.crawl, **dict(settings)})
    )
    given = {"seeds": list(seeds), "file": None, "dont_filter": False, "priority": None, "arguments": [], **options}
    return await Push(crawler, argparse.Namespace(**given)).run()


async def stored(url: str) -> list[Request]:
    backend = open_backend(url)
    await backend.open()
    queue = backend.request_queue(PushedSpider.crawl, QueueOptions())
    try:
        codec = load_codec("msgpack", PushedSpider(), 10_000)
        return [codec.decode(entry.body) for entry in await queue.peek(100)]
    finally:
        await queue.close()
        await backend.close()


async def test_seeds_of_every_kind_are_stored(
    redis_single: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = redis_single.url
    (tmp_path / "file").write_bytes(b"http://a.test/3\n\nhttp://a.test/4\n")
    monkeypatch.setattr("sys.stdin", argparse.Namespace(buffer=io.BytesIO(b"http://a.test/2\n")))
    seed = json.dumps({"url": "http://b.test/", "callback": "other", "priority": 9})
    assert await push(url, "http://a.test/1", seed, "-", file=str(tmp_path / "file"), priority=5) == 0
    assert f"5 requests stored in crawl {PushedSpider.crawl!r}" in capsys.readouterr().out
    requests = {request.url: request for request in await stored(url)}
    assert set(requests) == {*(f"http://a.test/{i}" for i in range(1, 5)), "http://b.test/"}
    assert requests["http://a.test/1"].priority == 5
    assert (requests["http://b.test/"].priority, requests["http://b.test/"].callback.__name__) == (9, "other")  # type: ignore[union-attr]
    # What is known is told, unless it is wanted all the same.
    assert await push(url, "http://a.test/1") == 0
    assert f"0 requests stored in crawl {PushedSpider.crawl!r}, 1 known to it already" in capsys.readouterr().out
    assert await push(url, "http://a.test/1", dont_filter=True) == 0
    assert len(await stored(url)) == 6


async def test_what_cant_be_used_is_named_and_the_rest_is_stored(
    redis_single: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await push(redis_single.url, "nonsense", "http://a.test", '{"url": "http://a.test", "colour": 1}') == 1
    told = capsys.readouterr()
    assert "1 request stored" in told.out
    assert "'nonsense' is no http(s) URL" in told.err
    assert "unknown field `colour`" in told.err
    assert "2 seeds could not be used" in told.err


async def test_a_url_that_is_none_costs_itself(
    redis_single: RedisServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = ["http://[bad/", "http://127.0.0.1:99999/", "http://a.test/" + "x" * 100_000]
    assert await push(redis_single.url, *bad, "http://a.test/") == 1
    told = capsys.readouterr()
    assert "1 request stored" in told.out
    assert "http://[bad/: the URL 'http://[bad/' can't be read" in told.err
    assert "http://127.0.0.1:99999/: the URL" in told.err
    assert "its URL has 100014 characters, more than 65536" in told.err
    assert "3 seeds could not be used" in told.err

    def fingerprint(self: Any, request: Request) -> bytes:
        raise ValueError("no URL for it")

    monkeypatch.setattr("scrapy.utils.request.RequestFingerprinter.fingerprint", fingerprint)
    assert await push(redis_single.url, "http://b.test/") == 1
    assert "http://b.test/: no URL for it" in capsys.readouterr().err


async def test_the_spider_has_its_arguments_and_its_own_word(
    redis_single: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hook(spider: Any, data: bytes) -> Request:
        return Request(spider.prefix + data.decode())

    monkeypatch.setattr(PushedSpider, "make_request_from_data", hook, raising=False)
    assert await push(redis_single.url, "7", arguments=["prefix=http://a.test/"]) == 0
    assert [request.url for request in await stored(redis_single.url)] == ["http://a.test/7"]


async def test_what_it_cant_do_is_told() -> None:
    with pytest.raises(ConfigurationError, match="keeps everything inside the process"):
        await push("memory://", "http://a.test")
    with pytest.raises(ConfigurationError, match="MOCRA_BUDGETS"):
        await push("memory://", "http://a.test", settings={"MOCRA_BUDGETS": {"pages": 5}})
    with pytest.raises(ConfigurationError, match="-a"):
        await push("memory://", "http://a.test", arguments=["x"])
