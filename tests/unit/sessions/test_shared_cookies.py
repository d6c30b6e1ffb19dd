"""Cookies that all workers share."""

from __future__ import annotations

import asyncio
import random
from itertools import count
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import NotConfigured
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from mocra_scrapy.codec.requests import RequestCodec
from mocra_scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.sessions.jar import is_public_suffix, site_of
from tests.unit.sessions.conftest import ShopSpider, Stage, sent, until

SHOP = "https://www.shop.example"


def setting(*cookies: str) -> Any:
    """A site that sets *cookies* with each answer."""
    return lambda request: Response(request.url, headers={"Set-Cookie": list(cookies)})


def silent(request: Request) -> Response:
    return Response(request.url)


async def test_a_cookie_of_one_worker_is_sent_by_all(stage: Stage) -> None:
    one, other = [await stage.visitor(silent) for _ in range(2)]
    one.site = setting("sid=a1; Path=/", "area=eu; Path=/basket")
    await one.get(f"{SHOP}/")
    request = Request(f"{SHOP}/basket/1")
    other.site = lambda asked: Response(asked.url, headers={"X-Seen": str(sent(asked))})
    answer = await other.fetch(request)
    assert answer.headers["X-Seen"] == b"{'area': 'eu', 'sid': 'a1'}", "the longer path first"
    assert "Cookie" not in request.headers, "it carries them on its way only"
    assert await stage_sent(other, f"{SHOP}/") == {"sid": "a1"}
    assert await stage_sent(other, "https://evil.example/") == {}
    assert await stage_sent(other, "https://shop.example/") == {}, "of one host, and no other"


async def stage_sent(visitor: Any, url: str, **meta: Any) -> dict[str, str]:
    """What the site is sent."""
    seen: list[dict[str, str]] = []

    def look(request: Request) -> Response:
        seen.append(sent(request))
        return Response(request.url)

    visitor.site = look
    await visitor.get(url, **meta)
    return seen[-1]


async def test_a_change_costs_one_round_trip_and_nothing_else_any(stage: Stage) -> None:
    one, other = [await stage.visitor(silent) for _ in range(2)]
    calls: list[str] = []
    for visitor in (one, other):
        values = visitor.sessions.store._values
        assert values is not None
        get, put = values.get, values.put

        async def counted_get(name: str, get: Any = get) -> Any:
            calls.append("get")
            return await get(name)

        async def counted_put(*args: Any, put: Any = put, **more: Any) -> Any:
            calls.append("put")
            return await put(*args, **more)

        values.get, values.put = counted_get, counted_put  # type: ignore[method-assign]
    one.site = setting("sid=a1; Max-Age=3600; Path=/")
    await one.get(SHOP)
    assert calls == ["get", "put"]
    for _ in range(20):  # its end moves a little each time
        await one.get(SHOP)
    assert calls == ["get", "put"]
    assert await stage_sent(other, SHOP) == {"sid": "a1"}
    for _ in range(20):
        await stage_sent(other, SHOP)
    assert calls == ["get", "put", "get"]
    one.site = setting("sid=a2; Path=/")
    await one.get(SHOP)
    await asyncio.sleep(0)
    assert await stage_sent(other, SHOP) == {"sid": "a2"}
    assert calls == ["get", "put", "get", "put", "get"]


async def test_a_request_waits_for_what_its_parent_knew(stage: Stage) -> None:
    """The message of the change comes later than the request: by another connection."""
    one, other = [await stage.visitor(silent) for _ in range(2)]
    assert await stage_sent(other, SHOP) == {}
    other.sessions.store._heard = lambda name: None  # type: ignore[method-assign]
    one.site = setting("sid=a1; Path=/")
    await one.get(SHOP)
    assert await stage_sent(other, SHOP) == {}, "it has not heard of it"
    child = Request(f"{SHOP}/child")
    one.mocra.worker_state.on_intake(child)  # type: ignore[misc]
    assert await stage_sent(other, child.url, **child.meta) == {"sid": "a1"}
    elsewhere = Request("https://other.example/")
    one.mocra.worker_state.on_intake(elsewhere)  # type: ignore[misc]
    assert not elsewhere.meta


async def test_all_wait_for_a_session_that_is_read_for_the_first_time(stage: Stage) -> None:
    """The second one must not go out with what is not known yet."""
    one, other = [await stage.visitor(silent) for _ in range(2)]
    one.site = setting("sid=a1; Path=/")
    await one.get(SHOP)
    seen: list[dict[str, str]] = []

    def look(request: Request) -> Response:
        seen.append(sent(request))
        return Response(request.url)

    other.site = look
    values, asked, answered = other.sessions.store._values, asyncio.Event(), asyncio.Event()
    assert values is not None
    get = values.get

    async def slow(name: str) -> Any:
        asked.set()
        await answered.wait()
        return await get(name)

    values.get = slow  # type: ignore[method-assign]
    first = asyncio.ensure_future(other.get(f"{SHOP}/1"))
    await asked.wait()
    second = asyncio.ensure_future(other.get(f"{SHOP}/2"))
    await asyncio.sleep(0)
    answered.set()
    await asyncio.gather(first, second)
    assert seen == [{"sid": "a1"}] * 2


async def test_two_answers_at_once_lose_nothing(stage: Stage) -> None:
    """Each cookie by itself, and of one cookie the newer answer."""
    workers = [await stage.visitor(silent) for _ in range(4)]
    for n, worker in enumerate(workers):
        worker.site = setting(f"own{n}={n}; Path=/", f"last={n}; Path=/")
    await asyncio.gather(*(worker.get(f"{SHOP}/{n}") for n, worker in enumerate(workers)))
    for worker in workers:
        worker.sessions.store._heard("*")
        cookies = await stage_sent(worker, SHOP)
        assert {name for name in cookies if name != "last"} == {"own0", "own1", "own2", "own3"}
        assert cookies == await stage_sent(workers[0], SHOP), "all agree"


@pytest.mark.parametrize("number", [2, 4])
async def test_a_cookie_that_changes_with_each_answer_is_never_lost_or_mixed(stage: Stage, number: int) -> None:
    """A site that takes each value once; workers take turns; some are killed, and others come."""
    counter, valid = count(), {"a": "", "b": ""}

    def strict(request: Request) -> Response:
        mine = "a" if "/a" in request.url else "b"
        if valid[mine] and sent(request).get("sid") != valid[mine]:
            return Response(request.url, status=403)
        valid[mine] = f"{mine}-{next(counter)}"
        return Response(request.url, headers={"Set-Cookie": f"sid={valid[mine]}; Path=/"})

    rng = random.Random(number)
    workers = [await stage.visitor(strict) for _ in range(number)]
    meta: dict[str, dict[str, Any]] = {"a": {}, "b": {}}
    for n in range(60):
        worker, whose = rng.choice(workers), rng.choice("ab")
        if n % 15 == 14:
            await workers[0].kill()
            workers = [*workers[1:], await stage.visitor(strict)]
            worker = workers[-1]
        child = Request(f"{SHOP}/{whose}/{n}", meta={"cookiejar": whose, **meta[whose]})
        answer = await worker.fetch(child)
        assert answer.status == 200, n
        # What its callback yields: the queue takes it to any worker.
        following = Request(f"{SHOP}/{whose}/next", meta={"cookiejar": whose})
        worker.mocra.worker_state.on_intake(following)  # type: ignore[misc]
        meta[whose] = dict(following.meta)


async def test_deleted_and_expired_cookies_are_gone_everywhere(stage: Stage) -> None:
    one, other = [await stage.visitor(silent) for _ in range(2)]
    one.site = setting("a=1; Path=/", "b=2; Path=/", "c=3; Max-Age=1000; Path=/")
    await one.get(SHOP)
    assert set(await stage_sent(other, SHOP)) == {"a", "b", "c"}
    other.site = setting("a=; Max-Age=0; Path=/", "b=; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/")
    await other.get(SHOP)
    await asyncio.sleep(0)
    assert set(await stage_sent(one, SHOP)) == {"c"}
    fresh = await stage.visitor(silent)
    assert set(await stage_sent(fresh, SHOP)) == {"c"}


async def test_no_site_sets_or_deletes_another_ones(stage: Stage) -> None:
    one = await stage.visitor(setting("sid=1; Path=/; Domain=.shop.example"))
    await one.get(SHOP)
    one.site = setting(
        "sid=; Max-Age=0; Path=/; Domain=.shop.example", "x=1; Domain=.shop.example", "y=1; Domain=.example"
    )
    await one.get("https://evil.example/")
    assert await stage_sent(one, "https://deep.shop.example/") == {"sid": "1"}
    one.site = setting("wide=1; Domain=github.io", "own=1")
    await one.get("https://a.github.io/")
    assert await stage_sent(one, "https://b.github.io/") == {}
    assert await stage_sent(one, "https://a.github.io/") == {"own": "1"}
    hosts = ("A.b.Shop.co.uk", "localhost", "127.0.0.1", "a.b.corp", "x.github.io", "github.io")
    assert [site_of(host) for host in hosts] == [
        "shop.co.uk",
        "localhost",
        "127.0.0.1",
        "b.corp",
        "x.github.io",
        "github.io",
    ]
    assert is_public_suffix("co.uk")


async def test_jars_are_apart_and_a_named_session_is_one(stage: Stage) -> None:
    one = await stage.visitor(silent)
    for jar in (1, "1", None, "x"):
        one.site = setting(f"jar={type(jar).__name__}{jar}; Path=/")
        await one.get(SHOP, cookiejar=jar)
    for jar in (1, "1", None, "x"):
        assert await stage_sent(one, SHOP, cookiejar=jar) == {"jar": f"{type(jar).__name__}{jar}"}
    assert await stage_sent(one, SHOP, mocra_session="x", cookiejar=1) == {"jar": "strx"}
    assert await stage_sent(one, SHOP, dont_merge_cookies=True) == {}


async def test_nothing_of_a_session_is_stored_with_a_request(stage: Stage) -> None:
    one = await stage.visitor(setting("sid=s3cret-cookie; Path=/"))
    await one.get(SHOP)
    session = one.mocra.session(Request(SHOP))
    session.set_header("Authorization", "Bearer s3cret-token")
    session["csrf"] = "s3cret-data"
    codec = RequestCodec(one.crawler.spider, max_bytes=10**6)
    seen: list[bytes] = []

    def look(request: Request) -> Response:
        assert request.headers["Authorization"] == b"Bearer s3cret-token"
        assert sent(request) == {"sid": "s3cret-cookie"}
        copied = request.replace(url=f"{SHOP}/copy")
        seen.extend(codec.encode(one) for one in (request, request.copy(), copied))
        assert codec.decode(seen[-1]).headers.get("Authorization") == b"mine"
        return Response(request.url)

    one.site = look
    request = Request(SHOP, headers={"Authorization": "mine"})
    answer = await one.fetch(request)
    assert request.headers.to_unicode_dict() == {"Authorization": "mine"}
    seen.append(codec.encode(request))
    assert answer.request is request
    assert not any(b"s3cret" in payload for payload in seen)
    assert "s3cret" not in repr(session)
    assert await stage_sent(one, "https://other.example/") == {}, "nor to another site"


async def test_what_a_session_has_is_known_to_all_workers(stage: Stage) -> None:
    one, other = [await stage.visitor(silent) for _ in range(2)]
    session = one.mocra.session(Request(SHOP, meta={"mocra_session": "joe"}))
    session["token"], session["list"] = "t", [1, {"a": None}]
    session.set_header("user-agent", "Joe/1")
    session.bind_proxy("proxy-7")
    session.set_cookie("lang", "de", domain=".shop.example")
    await until(lambda: not one.sessions.store.get("joe@shop.example").unsaved)
    await stage_sent(other, SHOP, mocra_session="joe")
    same = other.mocra.session(Request(SHOP, meta={"mocra_session": "joe"}))
    assert (same["token"], same["list"], sorted(same), same.user_agent) == (
        "t",
        [1, {"a": None}],
        ["list", "token"],
        "Joe/1",
    )
    assert (same.proxy, same.cookie("lang"), same.get("no"), "token" in same) == ("proxy-7", "de", None, True)
    del same["token"]
    same.set_header("User-Agent", None)
    await until(lambda: not other.sessions.store.get("joe@shop.example").unsaved)
    await stage_sent(one, SHOP, mocra_session="joe")
    assert ("token" in session, session.headers) == (False, {})


async def test_too_much_is_refused_or_told(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    one, other = [await stage.visitor(silent) for _ in range(2)]
    session = one.mocra.session(Request(SHOP, meta={"mocra_session": "joe"}))
    with pytest.raises(ConfigurationError, match="50,000 can be kept"):
        session["page"] = "x" * 60_000
    session["token"] = "t"
    session.set_cookie("huge", "x" * 300_000, domain="shop.example")
    await until(lambda: not one.sessions.store.get("joe@shop.example").unsaved)
    assert await stage_sent(other, SHOP, mocra_session="joe") == await stage_sent(one, SHOP, mocra_session="joe") == {}
    assert other.mocra.session(Request(SHOP, meta={"mocra_session": "joe"}))["token"] == "t"
    assert caplog.text.count("1 value found no room") == 1


async def test_scrapys_settings_hold(stage: Stage) -> None:
    with pytest.raises(NotConfigured):
        CookiesMiddleware.from_crawler(get_crawler(ShopSpider, {"COOKIES_ENABLED": False, "MOCRA_SESSIONS": True}))
    one = await stage.visitor(setting("a=1"), COOKIES_DEBUG=True)
    assert one.middleware.debug
