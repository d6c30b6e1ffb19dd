"""``scrapy mocra cache``: what it shows, deletes, writes and reads."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request
from scrapy.settings import Settings
from scrapy.utils.request import RequestFingerprinter

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.cache.httpcache.messages import Answer, Rules
from mocra_scrapy.cache.httpcache.pages import SharedPages, page_name, print_name
from mocra_scrapy.cache.httpcache.record import with_extra
from mocra_scrapy.cache.httpcache.storing import kept
from mocra_scrapy.commands.verbs.cache import _Uncounted, verb
from mocra_scrapy.settings.httpcache import POLICY, read_httpcache
from tests.unit.cache.httpcache.exchanges import ask, fields

OURS: dict[str, Any] = {"HTTPCACHE_POLICY": POLICY, "MOCRA_PROJECT": "shop", "SPIDER_MODULES": []}


def say(*line: str, **settings: Any) -> int:
    parser = argparse.ArgumentParser()
    verb().add_options(parser)
    command = SimpleNamespace(settings=Settings({**OURS, **settings}))
    return verb().run(parser.parse_intermixed_args(line), command)  # type: ignore[arg-type]


def store(backend: MemoryBackend, *urls: str, scope: str = "spider:shop:books", age: float = 10.0) -> None:
    options = read_httpcache(Settings(OURS))

    async def write() -> None:
        pages = SharedPages(backend.cache(f"http:{scope}", options.bounds), options, _Uncounted())
        for url in urls:
            asked, at = ask(url=url, foo="1"), time.time() - age
            said = Answer(200, fields(vary="Foo", cache_control="max-age=60"), url.encode(), url)
            await pages.write(page_name(url), [kept(asked, said, Rules(), requested=at - 1, received=at)])
        await pages.dictionary.close()

    asyncio.run(write())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["export", "books"], "into which file"),
        (["import", "books"], "which file"),
        (["purge", "books", "http://a.test/"], "use --url"),
    ],
)
def test_what_makes_no_sense_is_refused(line: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert say(*line) == 2
    assert says in capsys.readouterr().err


def test_look(backend: MemoryBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert say("look", "books") == 0
    assert "Scope spider:shop:books (a shared cache): 0 entries" in capsys.readouterr().out
    store(backend, "http://a.test/1", "http://a.test/2", "http://a.test:81/", "http://b.test/")
    assert say("look", "books", "--lines", "2") == 0
    out = capsys.readouterr().out
    assert "4 entries" in out
    assert "  a.test  2\n" in out
    assert "more sites" in out
    assert say("look", "books", "--json") == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {one["site"]: one["entries"] for one in told} == {"a.test": 2, "a.test:81": 1, "b.test": 1}
    assert say("look", "books", "http://a.test/1") == 0
    out = capsys.readouterr().out
    assert re.match(r"200, .* old, fresh for", out), out
    assert "for requests with foo: 1" in out
    assert say("look", "books", "http://a.test/9") == 1
    assert "Nothing is stored" in capsys.readouterr().err
    assert say("look", "books", MOCRA_HTTPCACHE_SCOPE="crawl") == 0
    assert "Scope crawl:shop:books (a private cache): 0 entries" in capsys.readouterr().out


def test_purge(backend: MemoryBackend, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    store(backend, "http://a.test/1", "http://a.test/2", "http://a.test:81/", "http://b.test/")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(readline=lambda: "n\n"))
    assert say("purge", "books") == 1
    assert "Nothing was deleted" in capsys.readouterr().out
    for line, gone in ((["--url", "http://a.test/1"], 1), (["--site", "a.test"], 1), ([], 2)):
        assert say("purge", "books", "--yes", *line) == 0
        assert f"Deleted: {gone} " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["all.warc.gz", "all.har"])
def test_export_and_import(
    name: str, tmp_path: Path, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    urls = [f"http://a.test/{n}" for n in range(30)]
    store(backend, *urls, "http://b.test/", age=30)
    path = tmp_path / name
    assert say("export", "books", "--output", str(path), "--site", "a.test") == 0
    assert "30 pages" in capsys.readouterr().out
    assert say("export", "books", "--output", str(path)) == 1, "it is there"
    capsys.readouterr()
    assert say("import", "other", str(path)) == 0
    assert "30 pages stored in scope spider:shop:other" in capsys.readouterr().out
    assert say("look", "other", urls[7], "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert 30 <= told["age"] < 90, "its age counts from when it was fetched"
    assert told["varies_by"] == {"foo": "1"}
    assert say("import", "third", str(path), MOCRA_HTTPCACHE_KEEP=5) == 0
    told = capsys.readouterr()
    assert "0 pages stored" in told.out
    assert "30 pages left out: too large, too old" in told.err


def test_entries_of_scrapys_policies_keep_their_requests(
    tmp_path: Path, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    options, request = read_httpcache(Settings(OURS)), Request("http://a.test/", method="POST", body=b"a=1")
    fingerprint = RequestFingerprinter().fingerprint(request)

    async def write() -> None:
        pages = SharedPages(backend.cache("http:spider:shop:books", options.bounds), options, _Uncounted())
        page = kept(ask(), Answer(200, {}, b"answer", "http://a.test/"), Rules(), requested=1, received=time.time())
        one = with_extra(page, url=request.url, method="POST", body=b"a=1")
        await pages.write(print_name(request.url, fingerprint), [one])
        await pages.dictionary.close()

    async def read() -> list[bytes]:
        pages = SharedPages(backend.cache("http:spider:shop:other", options.bounds), options, _Uncounted())
        return [one.answer.body for one in await pages.read(print_name(request.url, fingerprint))]

    asyncio.run(write())
    path = str(tmp_path / "posts.warc")
    assert say("export", "books", "--output", path) == 0
    assert say("import", "other", path) == 0
    assert "1 page left out" in capsys.readouterr().err, "our policy knows pages by URL"
    assert say("import", "other", path, HTTPCACHE_POLICY="scrapy.extensions.httpcache.DummyPolicy") == 0
    assert asyncio.run(read()) == [b"answer"]


def test_a_file_that_is_none_and_a_private_backend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert say("look", "books", MOCRA_BACKEND="memory://") == 1
    assert "there is nothing to look at" in capsys.readouterr().err
