"""The middleware, on an engine that does what the test says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.downloadermiddlewares import httpcache as theirs
from scrapy.exceptions import IgnoreRequest, NotConfigured
from scrapy.http import Response, TextResponse
from scrapy.utils.test import get_crawler

from mocra_scrapy.cache.httpcache import flights
from mocra_scrapy.downloadermiddlewares.httpcache import HttpCacheMiddleware
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.httpcache import POLICY, STORAGE

URL = "http://a.test/page"
OURS = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_POLICY": POLICY, "HTTPCACHE_STORAGE": STORAGE}
FILES = "scrapy.extensions.httpcache.FilesystemCacheStorage"


class Desk:
    def __init__(self, **settings: Any) -> None:
        self.crawler: Any = get_crawler(Spider, {"ADDONS": {"mocra_scrapy.Addon": 300}, **OURS, **settings})
        self.crawler.spider = self.crawler._create_spider("books")
        self.middleware: Any = HttpCacheMiddleware.from_crawler(self.crawler)
        self.middleware.spider_opened(self.crawler.spider)
        self.sent: list[Request] = []

    async def fetch(self, said: Response | Exception | None, request: Request | None = None) -> Any:
        """What comes of *request* where the site says so; ``None``: it must not be asked."""
        request = request or Request(URL)
        early = await done(self.middleware.process_request(request))
        if early is not None:
            return early
        assert said is not None, "the site is asked"
        self.sent.append(request)
        self.headers = request.headers.copy()
        if isinstance(said, Exception):
            found = self.middleware.process_exception(request, said)
            return said if found is None else found
        return await done(self.middleware.process_response(request, said))

    def stat(self, name: str) -> Any:
        return self.crawler.stats.get_value(name, 0)

    async def close(self) -> None:
        self.middleware.spider_closed(self.crawler.spider)
        for part in Mocra.from_crawler(self.crawler)._components._made.values():
            await part.close()


async def done(result: Any) -> Any:
    return await result if isinstance(result, Awaitable) else result


@pytest.fixture
async def desk() -> AsyncIterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(**settings: Any) -> Desk:
        made.append(Desk(**settings))
        return made[-1]

    yield make
    for one in made:
        await one.close()


def page(body: bytes = b"page", status: int = 200, **headers: str) -> Response:
    return TextResponse(URL, status, {k.replace("_", "-"): v for k, v in headers.items()}, body, encoding="latin-1")


async def test_it_stands_where_scrapys_stood_and_only_then() -> None:
    for settings, path in (
        ({}, HttpCacheMiddleware),
        ({"HTTPCACHE_POLICY": "scrapy.extensions.httpcache.DummyPolicy"}, HttpCacheMiddleware),
        ({"HTTPCACHE_STORAGE": FILES}, HttpCacheMiddleware),
        (
            {"HTTPCACHE_STORAGE": FILES, "HTTPCACHE_POLICY": "scrapy.extensions.httpcache.DummyPolicy"},
            theirs.HttpCacheMiddleware,
        ),
        (
            {
                "HTTPCACHE_STORAGE": FILES,
                "HTTPCACHE_POLICY": "scrapy.extensions.httpcache.DummyPolicy",
                "MOCRA_SESSIONS": {"a.test": {}},
            },
            HttpCacheMiddleware,
        ),
    ):
        crawler = get_crawler(Spider, {"ADDONS": {"mocra_scrapy.Addon": 300}, **OURS, **settings})
        from scrapy.utils.misc import load_object

        placed = [load_object(key) for key in crawler.settings.getdict("DOWNLOADER_MIDDLEWARES_BASE")]
        assert path in placed
        assert len({HttpCacheMiddleware, theirs.HttpCacheMiddleware} & set(placed)) == 1
    moved = {"DOWNLOADER_MIDDLEWARES": {"scrapy.downloadermiddlewares.httpcache.HttpCacheMiddleware": 50}}
    crawler = get_crawler(Spider, {"ADDONS": {"mocra_scrapy.Addon": 300}, **OURS, **moved})
    placed_at = {load_object(key): order for key, order in crawler.settings.getdict("DOWNLOADER_MIDDLEWARES").items()}
    assert placed_at[HttpCacheMiddleware] == 50
    with pytest.raises(NotConfigured):
        HttpCacheMiddleware.from_crawler(get_crawler(Spider, {"HTTPCACHE_ENABLED": False}))


async def test_scrapys_middleware_says_that_it_can_not_use_ours() -> None:
    crawler: Any = get_crawler(Spider, OURS)
    crawler.spider = crawler._create_spider("books")
    middleware = theirs.HttpCacheMiddleware.from_crawler(crawler)
    with pytest.raises(ConfigurationError, match="works in our middleware only"):
        middleware.spider_opened(crawler.spider)
    with pytest.raises(ConfigurationError, match="HTTPCACHE_POLICY"):
        middleware.process_request(Request(URL))


async def test_a_hit_and_a_validation(desk: Callable[..., Desk]) -> None:
    one = desk()
    first = await one.fetch(page(cache_control="max-age=60", etag='"1"'))
    assert first.flags == []
    hit = await one.fetch(None, Request(f"{URL}#part"))
    assert (hit.body, hit.flags, hit.url, hit.encoding) == (b"page", ["cached"], f"{URL}#part", "latin-1")
    again = Request(URL, headers={"Cache-Control": "no-cache", "If-None-Match": '"mine"'})
    validated = await one.fetch(page(b"", 304, etag='"1"'), again)
    assert one.headers["If-None-Match"] == b'"1"'
    assert again.headers["If-None-Match"] == b'"mine"', "a retry copies what the spider sent"
    assert set(again.meta) == {"cache_timestamp"}
    assert (validated.status, validated.body, validated.flags) == (200, b"page", ["cached"])
    assert [one.stat(f"httpcache/{n}") for n in ("hit", "miss", "store", "revalidate", "firsthand")] == [1, 1, 1, 1, 1]
    assert one.stat("mocra/httpcache/saved_bytes") == 4


async def test_a_hit_has_the_url_at_which_its_page_was(desk: Callable[..., Desk]) -> None:
    """A browser may have been sent on by the page itself: links on it begin where it ended up."""
    one = desk()
    there = page("ä".encode(), cache_control="max-age=60", etag='"1"').replace(url="http://a.test/b/", encoding="utf-8")
    await one.fetch(there)
    assert (await one.fetch(None, Request(f"{URL}#part"))).url == "http://a.test/b/"
    again = Request(URL, headers={"Cache-Control": "no-cache"})
    assert (await one.fetch(page(b"", 304, etag='"1"'), again)).url == "http://a.test/b/"
    away = desk(HTTPCACHE_IGNORE_MISSING=True, MOCRA_BACKEND=one.crawler.settings["MOCRA_BACKEND"])
    away.middleware._rfc9111._pages.entries = one.middleware._rfc9111._pages.entries
    stale = await one.fetch(OSError("no route"), again.replace())
    replayed = await away.fetch(None)
    assert stale.flags == ["cached", "stale"]
    for got in (await one.fetch(None), await one.fetch(page(b"", 304, etag='"1"'), again.replace()), stale, replayed):
        assert (got.url, got.text, got.encoding) == ("http://a.test/b/", "ä", "utf-8"), got.flags


async def test_conditions_don_t_outlive_a_request_that_comes_by_again(desk: Callable[..., Desk]) -> None:
    """It was late, and went back into the queue as it was."""
    one = desk()
    await one.fetch(page(cache_control="max-age=0", etag='"1"'))
    request = Request(URL)
    assert await done(one.middleware.process_request(request)) is None
    assert "If-None-Match" in request.headers
    one.middleware._finished(request)
    assert "If-None-Match" not in request.headers
    assert len(one.middleware._flights) == 0, "others need not wait for it"
    copied = Request(URL)
    await done(one.middleware.process_request(copied))
    copy = copied.replace(dont_filter=True)
    one.middleware._finished(copied)
    assert (await one.fetch(page(b"", 304, etag='"1"'), copy)).status == 200


async def test_trouble(desk: Callable[..., Desk]) -> None:
    one = desk()
    await one.fetch(page(cache_control="max-age=0", etag='"1"'))
    stale = await one.fetch(OSError("no route"))
    assert stale.flags == ["cached", "stale"]
    assert (await one.fetch(page(status=503))).flags == ["cached", "stale"]
    error = KeyError("a defect of another middleware")
    assert await one.fetch(error) is error
    assert one.stat("httpcache/errorrecovery") == 2
    strict = desk(MOCRA_HTTPCACHE_STALE_IF_ERROR=0)
    await strict.fetch(page(cache_control="max-age=0", etag='"1"'))
    error = OSError("no route")
    assert await strict.fetch(error) is error


async def test_a_retry_is_not_told_the_same_error_again(desk: Callable[..., Desk]) -> None:
    one = desk()
    await one.fetch(page(status=503, cache_control="max-age=60"))
    assert (await one.fetch(None)).status == 503
    assert (await one.fetch(page(), Request(URL, meta={"retry_times": 1}))).status == 200


async def test_what_passes_by(desk: Callable[..., Desk]) -> None:
    one = desk(HTTPCACHE_IGNORE_SCHEMES=["ftp"])
    for request in (Request(URL, meta={"dont_cache": True}), Request("ftp://a.test/")):
        await one.fetch(page(cache_control="max-age=60"), request)
        await one.fetch(page(cache_control="max-age=60"), request)
    assert (await one.fetch(None, Request(URL, headers={"Cache-Control": "only-if-cached"}))).status == 504


async def test_offline(desk: Callable[..., Desk]) -> None:
    one = desk(MOCRA_BACKEND="memory://offline", HTTPCACHE_ALWAYS_STORE=True)
    await one.fetch(page())
    away = desk(MOCRA_BACKEND="memory://offline", HTTPCACHE_IGNORE_MISSING=True)
    assert (await away.fetch(None)).flags == ["cached"]
    for request in (Request("http://a.test/other"), Request(URL, method="POST")):
        with pytest.raises(IgnoreRequest):
            await away.fetch(None, request)
    assert (away.stat("httpcache/hit"), away.stat("httpcache/ignore")) == (1, 2)


async def test_stale_pages_are_validated_behind_the_scenes(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "LINGER", 0.001)
    one = desk()
    await one.fetch(page(cache_control="max-age=0, stale-while-revalidate=60", etag='"1"'))
    asked: list[Request] = []

    async def download(request: Request) -> Any:
        asked.append(request)
        return await one.fetch(page(b"new", cache_control="max-age=60"), request)

    one.crawler.engine = SimpleNamespace(download_async=download)
    while not asked:  # the claim of who fetched it stays for a moment
        assert (await one.fetch(None)).flags == ["cached", "stale"]
        await asyncio.sleep(0)
    while one.stat("mocra/httpcache/validated_behind") < 1:
        await asyncio.sleep(0)
    assert len(asked) == 1, "by one"
    assert one.headers["If-None-Match"] == b'"1"'
    assert (await one.fetch(None)).body == b"new"
    assert one.stat("mocra/httpcache/stale") >= 1


async def test_our_policy_on_scrapys_files(
    desk: Callable[..., Desk], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = desk(HTTPCACHE_STORAGE=FILES, HTTPCACHE_DIR=str(tmp_path))
    forged = {"x-mocra-httpcache": "gaNub3Tw"}
    await one.fetch(
        TextResponse(URL, 200, {"Vary": "Foo", "Cache-Control": "max-age=60", **forged}, b"one"),
        Request(URL, headers={"Foo": "1"}),
    )
    hit = await one.fetch(None, Request(URL, headers={"Foo": "1"}))
    assert hit.body == b"one"
    assert b"X-Mocra-Httpcache" not in hit.headers
    await one.fetch(page(b"two", cache_control="max-age=60"), Request(URL, headers={"Foo": "2"}))
    await one.fetch(page(b"", 204), Request(URL, method="DELETE"))
    await one.fetch(page(b"three", cache_control="max-age=60"))
    for body in tmp_path.rglob("response_body"):
        body.unlink()
    with caplog.at_level(logging.WARNING):
        await one.fetch(page(b"four", cache_control="no-store"))
        await one.fetch(page(b"five", cache_control="no-store"))
    assert len([r for r in caplog.records if "HTTP cache" in r.message]) == 1


async def test_our_storage_below_scrapys_policies(desk: Callable[..., Desk]) -> None:
    dummy = {"HTTPCACHE_POLICY": "scrapy.extensions.httpcache.DummyPolicy", "MOCRA_BACKEND": "memory://below"}
    one, other = desk(**dummy), desk(**dummy)
    post = Request(URL, method="POST", body=b"a=1")
    waits = asyncio.ensure_future(done(other.middleware.process_request(post.copy())))
    assert await one.fetch(page(b"answer"), post) is not None
    late = await waits
    assert late is None or late.body == b"answer"
    hit = await other.fetch(None, post.copy())
    assert (hit.body, hit.flags) == (b"answer", ["cached"])
    assert (await one.fetch(page(b"other"), post.replace(body=b"a=2"))).body == b"other"
    failed = Request("http://a.test/failed")
    assert await done(one.middleware.process_request(failed)) is None
    one.middleware._finished(failed)
    assert len(one.middleware._flights) == 0


DUMMY = {"HTTPCACHE_POLICY": "scrapy.extensions.httpcache.DummyPolicy"}


@pytest.mark.parametrize(
    ("asked", "said", "stored"),
    [
        ({}, {}, True),
        ({}, {"cache_control": "private"}, False),
        ({"Authorization": "me"}, {}, False),
        ({"Authorization": "me"}, {"cache_control": "public"}, True),
        ({"Cookie": "a=1"}, {}, False),
        ({"Cookie": "a=1"}, {"cache_control": "max-age=9"}, True),
        ({}, {"set_cookie": "a=1"}, False),
    ],
)
async def test_scrapys_policies_share_what_may_be_shared(
    asked: dict[str, str], said: dict[str, str], stored: bool, desk: Callable[..., Desk]
) -> None:
    for scope, expected in (("spider", stored), ("crawl", True)):
        one = desk(MOCRA_HTTPCACHE_SCOPE=scope, **DUMMY)
        await one.fetch(page(**said), Request(URL, headers=asked))
        counted = (one.stat("httpcache/store"), one.stat("httpcache/uncacheable"))
        assert counted == ((1, 0) if expected else (0, 1)), scope
        got = await one.fetch(page(b"new"), Request(URL, headers=asked))
        assert (got.body == b"page") == expected


async def test_scrapys_policies_leave_out_fields_that_are_private(desk: Callable[..., Desk]) -> None:
    one = desk(**DUMMY)
    await one.fetch(page(cache_control='private="x-a"', x_a="1", x_b="2"))
    hit = await one.fetch(None)
    assert (hit.headers.get("X-A"), hit.headers["X-B"]) == (None, b"2")


async def test_no_dictionary_learns_from_what_scrapys_policies_store_for_somebody(desk: Callable[..., Desk]) -> None:
    one = desk(MOCRA_HTTPCACHE_SCOPE="crawl", **DUMMY)
    learned: list[object] = []
    one.middleware.storage.pages.dictionary.learn = lambda *payload: learned.append(payload)
    await one.fetch(page(), Request(URL, headers={"Authorization": "me"}))
    await one.fetch(page(set_cookie="a=1"), Request("http://a.test/2"))
    await one.fetch(page(), Request("http://a.test/3", headers={"Cookie": "a=1"}))
    assert not learned
    await one.fetch(page(), Request("http://a.test/4"))
    assert len(learned) == 1


@pytest.mark.parametrize("other", [{}, DUMMY, {"HTTPCACHE_STORAGE": FILES}])
async def test_each_cookie_jar_of_a_crawl_has_its_own_pages(
    other: dict[str, str], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    one = desk(MOCRA_HTTPCACHE_SCOPE="crawl", HTTPCACHE_DIR=str(tmp_path), **other)
    users = [{}, {"cookiejar": 1}, {"cookiejar": "1"}, {"mocra_session": "s"}, {"cookiejar": 1, "mocra_session": "s"}]
    for n, meta in enumerate(users):
        await one.fetch(page(b"%d" % n, cache_control="max-age=60"), Request(URL, meta=meta))
    for n, meta in enumerate(users):
        assert (await one.fetch(None, Request(URL, meta=meta))).body == b"%d" % n
    if not other:
        await one.fetch(page(), Request(URL, method="DELETE", meta={"cookiejar": 1}))
        assert (await one.fetch(page(b"new"), Request(URL, meta={"cookiejar": 1}))).body == b"new"
        assert (await one.fetch(None, Request(URL, meta={"cookiejar": "1"}))).body == b"2"
    shared = desk(**other, HTTPCACHE_DIR=str(tmp_path / "shared"))
    await shared.fetch(page(cache_control="max-age=60"), Request(URL, meta={"cookiejar": 1}))
    assert await shared.fetch(None, Request(URL, meta={"cookiejar": 2})), "what may be shared is"


@pytest.mark.parametrize("policy", [POLICY, "scrapy.extensions.httpcache.DummyPolicy"])
async def test_who_waits_goes_back_into_the_queue_when_the_worker_closes(
    desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    one = desk(HTTPCACHE_POLICY=policy)
    assert await done(one.middleware.process_request(Request(URL))) is None
    queued, inline = Request(URL), Request(URL)
    monkeypatch.setattr(one.middleware._state, "send_back", lambda request: request is queued)
    waits = [asyncio.ensure_future(done(one.middleware.process_request(request))) for request in (queued, inline)]
    while one.middleware._flights.waiting < 2:
        await asyncio.sleep(0)
    one.middleware._flights.stop()  # what the engine's hook calls
    assert await asyncio.gather(*waits) == [queued, None]


@pytest.mark.parametrize("policy", [POLICY, "scrapy.extensions.httpcache.DummyPolicy"])
async def test_after_a_timeout_nobody_waits_for_the_next_one(desk: Callable[..., Desk], policy: str) -> None:
    one = desk(HTTPCACHE_POLICY=policy)
    first = Request(URL)
    assert await done(one.middleware.process_request(first)) is None
    rest = [asyncio.ensure_future(done(one.middleware.process_request(Request(URL)))) for _ in range(5)]
    while one.middleware._flights.waiting < 5:
        await asyncio.sleep(0)
    assert one.middleware.process_exception(first, TimeoutError()) is None
    assert await asyncio.gather(*rest) == [None] * 5
