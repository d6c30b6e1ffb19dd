"""``scrapy mocra cache``: what it shows, deletes, writes and reads."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import time
from datetime import datetime, timezone
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
from mocra_scrapy.commands.verbs.cache import verb
from mocra_scrapy.commands.verbs.cache_scope import Uncounted
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
        pages = SharedPages(backend.cache(f"http:{scope}", options.bounds), options, Uncounted())
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
        (["purge", "books", "--yes", "--url", ""], "--url is empty"),
        (["purge", "books", "--yes", "--site", ""], "is no host"),
        (["purge", "books", "--yes", "--site", " "], "is no host"),
        (["purge", "books", "--yes", "--site", "http://a.test"], "is no host"),
        (["purge", "books", "--yes", "--site", "a.test", "--url", "http://a.test/"], "don't go together"),
        (["purge", "books", "--yes", "--url", "foo"], "'foo' is no URL"),
        (["purge", "books", "--yes", "--url", "http:///x"], "is no URL"),
        (["look", "books", "foo"], "'foo' is no URL"),
        (["look", "books", "http://[bad/"], "is no URL"),
        (["look", "books", "--site", "a.test"], "--site means nothing"),
        (["export", "books", "--output", "x.har", "--url", "http://a.test/"], "--url means nothing"),
        (["export", "books", "--output", "x.har", "--site", ""], "is no host"),
    ],
)
def test_what_makes_no_sense_is_refused(
    line: list[str], says: str, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    store(backend, "http://a.test/1")
    assert say(*line) == 2
    assert says in capsys.readouterr().err
    assert say("look", "books") == 0
    assert "1 entry" in capsys.readouterr().out, "nothing was deleted"


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
    for line, gone in ((["--url", "http://a.test/1"], 1), (["--site", "A.test"], 1), ([], 2)):
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
    assert 30 <= told["age"] < 900, "its age counts from when it was fetched"
    assert told["varies_by"] == {"foo": "1"}
    assert say("import", "third", str(path), MOCRA_HTTPCACHE_KEEP=5) == 0
    told = capsys.readouterr()
    assert "0 pages stored" in told.out
    assert "30 pages left out: too old (MOCRA_HTTPCACHE_KEEP)" in told.err


def test_entries_of_scrapys_policies_keep_their_requests(
    tmp_path: Path, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    options, request = read_httpcache(Settings(OURS)), Request("http://a.test/", method="POST", body=b"a=1")
    fingerprint = RequestFingerprinter().fingerprint(request)

    async def write() -> None:
        pages = SharedPages(backend.cache("http:spider:shop:books", options.bounds), options, Uncounted())
        page = kept(ask(), Answer(200, {}, b"answer", "http://a.test/"), Rules(), requested=1, received=time.time())
        one = with_extra(page, url=request.url, method="POST", body=b"a=1")
        await pages.write(print_name(request.url, fingerprint), [one])
        await pages.dictionary.close()

    async def read() -> list[bytes]:
        pages = SharedPages(backend.cache("http:spider:shop:other", options.bounds), options, Uncounted())
        return [one.answer.body for one in await pages.read(print_name(request.url, fingerprint))]

    asyncio.run(write())
    path = str(tmp_path / "posts.warc")
    assert say("export", "books", "--output", path) == 0
    assert say("import", "other", path) == 0
    assert "1 page left out: no answers to GET" in capsys.readouterr().err, "our policy knows pages by URL"
    assert say("import", "other", path, HTTPCACHE_POLICY="scrapy.extensions.httpcache.DummyPolicy") == 0
    assert asyncio.run(read()) == [b"answer"]


def test_a_file_that_is_none_and_a_private_backend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert say("look", "books", MOCRA_BACKEND="memory://") == 1
    assert "there is nothing to look at" in capsys.readouterr().err


def har(path: Path, *entries: Any) -> str:
    path.write_text(json.dumps({"log": {"entries": list(entries)}}))
    return str(path)


def exchange(
    url: str = "http://a.test/", status: int = 200, said: dict[str, str] | None = None, **asked: str
) -> dict[str, Any]:
    def named(lines: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "value": value} for name, value in lines.items()]

    return {
        "startedDateTime": datetime.now(timezone.utc).isoformat(),
        "time": 1,
        "request": {"method": "GET", "url": url, "headers": named(asked)},
        "response": {"status": status, "headers": named(said or {}), "content": {"text": "page"}},
    }


DUMMY, RFC2616 = (f"scrapy.extensions.httpcache.{name}" for name in ("DummyPolicy", "RFC2616Policy"))
OF_ONE_USER = "left out: made for one user"


@pytest.mark.parametrize(
    ("entry", "policy", "shared", "private"),
    [
        (exchange(), POLICY, "", ""),
        (exchange(said={"Cache-Control": "private, max-age=9"}), POLICY, OF_ONE_USER, ""),
        (exchange(Authorization="me"), POLICY, OF_ONE_USER, ""),
        (exchange(Cookie="a=1"), POLICY, OF_ONE_USER, ""),
        (exchange(said={"Set-Cookie": "a=1"}), POLICY, OF_ONE_USER, ""),
        (exchange(said={"Set-Cookie": "a=1", "Cache-Control": "max-age=9"}), POLICY, "", ""),
        (exchange(said={"Cache-Control": "no-store"}), POLICY, "left out: no-store", "left out: no-store"),
        (exchange(status=206), POLICY, "left out: status 206", "left out: status 206"),
        (exchange(status=304), POLICY, "left out: status 304", "left out: status 304"),
        (exchange(status=0), POLICY, "left out: status 0", "left out: status 0"),
        (exchange(Authorization="me"), DUMMY, OF_ONE_USER, ""),
        (exchange(said={"Set-Cookie": "a=1"}), DUMMY, OF_ONE_USER, ""),
        (exchange(status=206), DUMMY, "left out: status 206", "left out: status 206"),
        (
            exchange(said={"Cache-Control": "no-store"}),
            RFC2616,
            "HTTPCACHE_POLICY does not",
            "HTTPCACHE_POLICY does not",
        ),
    ],
)
def test_what_may_not_be_stored_is_not_imported(
    entry: dict[str, Any],
    policy: str,
    shared: str,
    private: str,
    tmp_path: Path,
    backend: MemoryBackend,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = har(tmp_path / "a.har", entry)
    for scope, why in (("all", shared), ("crawl", private)):
        chosen = {"MOCRA_HTTPCACHE_SCOPE": scope, "HTTPCACHE_POLICY": policy}
        assert say("import", "books", path, **chosen) == 0
        told = capsys.readouterr()
        assert f"{0 if why else 1} page" in told.out
        assert why in told.err
        assert bool(told.err) == bool(why), told.err
        assert say("look", "books", "http://a.test/", **chosen) == (1 if why else 0)
        capsys.readouterr()


def test_pages_for_one_user_stay_so_in_a_file(
    tmp_path: Path, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    path, again = har(tmp_path / "a.har", exchange(Authorization="secret")), str(tmp_path / "b.har")
    assert say("import", "books", path, MOCRA_HTTPCACHE_SCOPE="crawl") == 0
    assert say("export", "books", "--output", again, MOCRA_HTTPCACHE_SCOPE="crawl") == 0
    assert "secret" not in Path(again).read_text()
    capsys.readouterr()
    assert say("import", "books", again) == 0
    assert OF_ONE_USER in capsys.readouterr().err


def test_entries_that_are_odd_are_told_and_the_others_imported(
    tmp_path: Path, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    def but(**changes: Any) -> dict[str, Any]:
        return {**exchange(), **changes}

    request, response = exchange()["request"], exchange()["response"]
    odd: list[Any] = [
        None,
        7,
        "entry",
        {},
        exchange("foo"),
        exchange("http://[bad/"),
        exchange("http:///x"),
        exchange("http://a.test/", said={"_": "1"}) | {"time": "Infinity"},
        but(request=None),
        but(request={**request, "url": None}),
        but(request={**request, "headers": None}),
        but(request={**request, "method": 5}),
        but(response={**response, "status": "ok"}),
        but(response={**response, "status": 99999}),
        but(response={**response, "headers": [7]}),
        but(response={**response, "content": None}),
        but(response={**response, "content": {"text": "?", "encoding": "base64"}}),
        but(startedDateTime=None),
        but(startedDateTime="yesterday"),
        but(_selecting="{"),
        but(_selecting="[" * 100_000),
        but(_selecting='{"a": 7}'),
    ]
    path = har(tmp_path / "a.har", *odd, exchange("http://a.test/good"))
    assert say("import", "books", path) == 0
    told = capsys.readouterr()
    assert "1 page stored" in told.out
    assert f"{path}: entry 1 left out: " in told.err
    assert f"{path}: {len(odd)} entries left out that can't be read" in told.err
    assert say("look", "books", "http://a.test/good") == 0


def test_a_file_that_is_cut_off_is_told(
    tmp_path: Path, backend: MemoryBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    store(backend, "http://a.test/1", "http://a.test/2")
    whole, part = tmp_path / "whole.warc", tmp_path / "part.warc"
    assert say("export", "books", "--output", str(whole)) == 0
    part.write_bytes(whole.read_bytes()[:-12])
    capsys.readouterr()
    assert say("import", "other", str(part)) == 1
    told = capsys.readouterr()
    assert "1 page stored" in told.out
    assert "entry 5 left out (http://a.test/" in told.err
    assert "the file ends within it" in told.err
    assert f"Error: {part}: it is cut off" in told.err
