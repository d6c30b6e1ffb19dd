"""For whom a page is stored where a pool chose the session, and which pages are stored for nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import IgnoreRequest

from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.httpcache import POLICY
from tests.unit.cache.httpcache.test_middleware import DUMMY, FILES, URL, Desk, done, page

POLICIES = [POLICY, DUMMY["HTTPCACHE_POLICY"]]


@pytest.fixture
async def desk() -> AsyncIterator[Callable[..., Desk]]:
    made: list[Desk] = []

    def make(**settings: Any) -> Desk:
        made.append(Desk(**settings))
        return made[-1]

    yield make
    for one in made:
        await one.close()


def of(session: str, **meta: Any) -> Request:
    """What the middleware of cookies makes of a request to which a pool gave *session*."""
    return Request(URL, meta={"mocra_session_used": [session, 1, 0, 0], **meta})


@pytest.mark.parametrize("other", [{}, DUMMY, {"HTTPCACHE_STORAGE": FILES}])
async def test_each_session_of_a_pool_has_its_own_pages(
    other: dict[str, str], desk: Callable[..., Desk], tmp_path: Path
) -> None:
    """What one account was shown is not for another one, whoever chose it."""
    one = desk(MOCRA_HTTPCACHE_SCOPE="crawl", HTTPCACHE_DIR=str(tmp_path), **other)
    asked = [lambda: of("shop/1"), lambda: of("shop/2"), lambda: Request(URL)]
    for n, make in enumerate(asked):
        await one.fetch(page(b"%d" % n, cache_control="max-age=60"), make())
    for n, make in enumerate(asked):
        assert (await one.fetch(None, make())).body == b"%d" % n
    assert (await one.fetch(None, of("shop/2", mocra_session="shop/2"))).body == b"1", "bound to it, it is the same one"
    assert (await one.fetch(None, of("shop/2", dont_merge_cookies=True))).body == b"2", "it goes without cookies"
    shared = desk(MOCRA_HTTPCACHE_SCOPE="spider", HTTPCACHE_DIR=str(tmp_path / "shared"), **other)
    await shared.fetch(page(cache_control="max-age=60"), of("shop/1"))
    assert await shared.fetch(None, of("shop/2")), "what may be shared is"


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_replay_has_no_pool_and_gets_what_any_session_was_given(policy: str, desk: Callable[..., Desk]) -> None:
    given = {"HTTPCACHE_POLICY": policy, "MOCRA_HTTPCACHE_SCOPE": "crawl", "MOCRA_BACKEND": "memory://replay"}
    one = desk(**given)
    await one.fetch(page(b"account", cache_control="max-age=60"), of("shop/1"))
    jar = Request("http://a.test/jar", meta={"cookiejar": 7})
    await one.fetch(page(b"jar", cache_control="max-age=60"), jar)
    away = desk(HTTPCACHE_IGNORE_MISSING=True, **given)
    assert (await away.fetch(None)).body == b"account"
    for request in (Request("http://a.test/jar"), Request(URL, meta={"cookiejar": 8})):
        with pytest.raises(IgnoreRequest):
            await away.fetch(None, request)


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_page_that_a_verdict_refuses_is_not_stored(policy: str, desk: Callable[..., Desk]) -> None:
    """A ban that a proxy earned, the log-in page that the end of a session gave: those that wait ask for themselves."""
    one = desk(HTTPCACHE_POLICY=policy)
    mocra = Mocra.from_crawler(one.crawler)
    banned = Request(URL)
    assert await done(one.middleware.process_request(banned)) is None
    banned.meta["dont_cache"] = True  # what the middleware of proxies says, before the cache sees the answer
    answer = await done(one.middleware.process_response(banned, page(b"captcha", cache_control="max-age=60")))
    assert answer.body == b"captcha"
    assert len(one.middleware._flights) == 0
    mocra.refusals.append(lambda request, response: b"log in" in response.body)
    assert (await one.fetch(page(b"log in", cache_control="max-age=60"))).body == b"log in"
    assert (await one.fetch(page(b"page", cache_control="max-age=60"))).body == b"page", "nothing was stored"
    assert not one.middleware._flights._is_useless(next(iter(one.middleware._flights._useless), "")), "and others wait"
    assert (await one.fetch(None)).body == b"page"


@pytest.mark.parametrize("settings", [{"HTTPCACHE_ALWAYS_STORE": True}, DUMMY])
async def test_who_records_a_crawl_is_told_what_is_missing(
    settings: dict[str, Any], desk: Callable[..., Desk], caplog: pytest.LogCaptureFixture
) -> None:
    """Each reason once: a replay would show it too late."""
    shared, own = desk(**settings), desk(**settings, MOCRA_HTTPCACHE_SCOPE="crawl")
    for one in (shared, own):
        for n in range(3):
            await one.fetch(page(set_cookie="a=1"), Request(f"http://a.test/{n}"))
            await one.fetch(page(cache_control="private"), Request(f"http://a.test/p{n}"))
    told = [record.getMessage() for record in caplog.records if "is not stored" in record.message]
    assert len(told) == 1
    assert "http://a.test/0" in told[0]
    assert 'Set MOCRA_HTTPCACHE_SCOPE = "crawl", for the replay as well' in told[0]
    assert (shared.stat("httpcache/store"), own.stat("httpcache/store")) == (0, 6), "a private cache has them all"
    caplog.clear()
    await own.fetch(page(cache_control="no-store"))
    told = [record.getMessage() for record in caplog.records if "is not stored" in record.message]
    assert [("no-store" in text) for text in told] == ([True] if "HTTPCACHE_ALWAYS_STORE" in settings else [])
    quiet = desk()
    await quiet.fetch(page(set_cookie="a=1"))
    assert len([record for record in caplog.records if "is not stored" in record.message]) == len(told)


async def test_a_refused_answer_changes_nothing_that_is_stored(desk: Callable[..., Desk]) -> None:
    one = desk()
    Mocra.from_crawler(one.crawler).refusals.append(lambda request, response: response.status in (403, 503))
    await one.fetch(page(cache_control="max-age=0", etag='"1"'))
    assert (await one.fetch(page(b"ban", 403, cache_control="max-age=60"))).status == 403
    assert (await one.fetch(page(b"", 503))).flags == ["cached", "stale"], (
        "it stands for a site in trouble all the same"
    )
    assert (await one.fetch(page(b"", 304, etag='"1"'))).body == b"page"
    await one.fetch(page(b"ban", 403), Request(URL, method="DELETE"))
    assert (await one.fetch(page(b"", 304, etag='"1"'))).body == b"page"


@pytest.mark.parametrize("policy", [DUMMY["HTTPCACHE_POLICY"], "scrapy.extensions.httpcache.RFC2616Policy"])
async def test_one_of_scrapys_storages_keeps_no_refused_page_either(
    policy: str, desk: Callable[..., Desk], tmp_path: Path
) -> None:
    """The same request once more would be answered with it, and not go out in another session."""
    one = desk(HTTPCACHE_POLICY=policy, HTTPCACHE_STORAGE=FILES, HTTPCACHE_DIR=str(tmp_path))
    Mocra.from_crawler(one.crawler).refusals.append(lambda request, response: b"log in" in response.body)
    assert (await one.fetch(page(b"log in", cache_control="max-age=60"))).body == b"log in"
    assert (await one.fetch(page(b"page", cache_control="max-age=60"))).body == b"page", "nothing was stored"
    assert (await one.fetch(None)).body == b"page"
    asks = Request(URL, headers={"Cache-Control": "max-age=0"})
    if "RFC2616" in policy:
        assert (await one.fetch(page(b"log in", cache_control="max-age=60"), asks)).body == b"log in"
        assert "cached_response" not in asks.meta, "a retry would carry it"
        assert (await one.fetch(None)).body == b"page"
