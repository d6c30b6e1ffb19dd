"""The pool in Scrapy's chain of middlewares: where a request goes that has no proxy, or a bad one."""

from __future__ import annotations

import asyncio
import gzip
import secrets
from typing import Any, cast

import pytest
from scrapy import Request
from scrapy.http import HtmlResponse, Response

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.codec.proxies import without_credentials
from mocra_scrapy.downloadermiddlewares import httpproxy
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.sessions import MAKING, Making
from mocra_scrapy.politeness.download_outcomes import DownloadOutcomes
from mocra_scrapy.proxies.putting_off import NoProxy
from mocra_scrapy.signals import worker_died
from tests.unit.proxies.chain import URLS, Delivery, all_out


async def test_a_request_goes_through_a_proxy_and_comes_back_without_its_password(make: Any) -> None:
    chain = await make()
    request = Request("http://a.example/", meta={"depth": 1})
    assert await chain.out(request) is None
    assert request.meta["proxy"].startswith("http://127.0.0.1:800")
    assert request.headers[b"Proxy-Authorization"].startswith(b"Basic ")
    assert chain.pool.fetches.in_flight == 1
    answer = chain.back(request, HtmlResponse("http://a.example/", body=b"a page"))
    assert answer.body == b"a page"
    assert chain.pool.fetches.in_flight == 0
    assert b"Proxy-Authorization" not in request.headers
    assert "planted" not in repr((request.meta, request.headers, request.to_dict()))
    # What is stored of it knows no proxy at all, and who fetches it again chooses anew.
    assert without_credentials(request.meta) == {"depth": 1, "download_slot": "a.example"} or without_credentials(
        request.meta
    ) == {"depth": 1}
    assert await chain.out(request.copy()) is None


async def test_a_proxy_of_the_requests_own_is_left_alone(make: Any) -> None:
    chain = await make()
    own = Request("http://a.example/", meta={"proxy": "http://u:p@h:1"})
    assert await chain.out(own) is None
    assert own.meta["proxy"] == "http://h:1"
    for meta in ({"proxy": None}, {"mocra_proxy": False}):
        direct = Request("http://a.example/", meta=meta)
        assert await chain.out(direct) is None
        assert not direct.meta.get("proxy")
        assert b"Proxy-Authorization" not in direct.headers
    with pytest.raises(ConfigurationError, match="mocra_proxy"):
        await chain.out(Request("http://a.example/", meta={"mocra_proxy": {"color": "red"}}))


async def test_a_proxy_of_its_own_beside_meta_that_was_copied(make: Any) -> None:
    """As ``Request(url, meta={**response.meta, "proxy": …})`` has it."""
    chain = await make()
    first = Request("http://a.example/")
    await chain.out(first)
    copied = dict(chain.back(first, HtmlResponse("http://a.example/", body=b"x")).request.meta)
    for own, goes in (("http://mine:1", "http://mine:1"), ("http://u:p@mine:1", "http://mine:1"), (None, None)):
        meta = {**copied, "proxy": own}
        assert without_credentials(meta)["proxy"] == goes
        assert "_mocra_proxy" not in without_credentials(meta)
        request = Request("http://a.example/", meta=meta)
        assert await chain.out(request) is None
        assert request.meta["proxy"] == goes
        assert chain.pool.fetches.in_flight == 0
    request = Request("http://a.example/", meta=copied)
    assert "proxy" not in without_credentials(request.meta)
    await chain.out(request)
    assert chain.pool.fetches.in_flight == 1, "what was only copied is chosen anew"


@pytest.mark.parametrize("body", [b"solve this captcha", gzip.compress(b"solve this captcha")], ids=["plain", "gzip"])
async def test_what_a_proxy_spoilt_goes_through_another_one(make: Any, body: bytes) -> None:
    chain = await make(MOCRA_PROXY_BAN_BODIES=["captcha"], MOCRA_PROXY_TRIES=1)
    request = Request("http://a.example/")
    await chain.out(request)
    headers = {"Content-Encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}
    response = Response("http://a.example/", body=body, headers=headers)
    if headers:  # HttpCompressionMiddleware stands between the outer and the inner one
        seen = chain.choice.process_response(request, response)
        assert chain.outer.process_response(request, seen) is response
        again = chain.inner.process_response(request, Response("http://a.example/", body=gzip.decompress(body)))
    else:
        again = chain.back(request, response)
    assert isinstance(again, Request)
    assert again.dont_filter
    assert again.meta["mocra_proxy_tries"] == 1
    assert "dont_cache" not in again.meta
    await chain.out(again)
    assert isinstance(chain.back(again, Response("http://a.example/", body=b"captcha")), Response)
    assert (chain.stat("banned"), chain.stat("retried"), chain.stat("given_up")) == (2, 1, 1)


async def test_a_refusal_may_change_the_sessions_cookie(make: Any) -> None:
    """What a site that rotates its cookie with each answer sends to a proxy that it refuses."""
    chain = await make(MOCRA_SESSIONS=True)
    sent, request = [], Request("http://a.example/")
    for status, cookie in ((200, "1"), (403, "2"), (503, "3"), (407, "4"), (200, "5")):
        assert await chain.out(request) is None
        sent.append(request.headers.get("Cookie"))
        response = Response(request.url, status, headers={"Set-Cookie": f"sid={cookie}; Path=/"})
        answer = chain.back(request, response)
        request = answer if isinstance(answer, Request) else Request(request.url)
    assert sent == [None, b"sid=1", b"sid=2", b"sid=3", b"sid=3"], "that of a 407 is not the site's"
    assert chain.stat("retried") == 3


async def test_a_failure_of_the_proxy_says_nothing_of_the_site(make: Any) -> None:
    chain = await make()
    is_of_proxy = chain.mocra.component(DownloadOutcomes).is_of_proxy
    assert is_of_proxy is not None
    for status, said in ((200, False), (404, False), (407, True), (403, True), (502, True)):
        request = Request("http://a.example/")
        await chain.out(request)
        chain.back(request, Response("http://a.example/", status))
        assert is_of_proxy(request) == said, status
    request = Request("http://a.example/")
    await chain.out(request)
    assert isinstance(chain.failed(request, ConnectionRefusedError()), Request)
    assert is_of_proxy(request)
    # Once the site is known to be down its failures are its own.
    chain.pool._turns.down["a.example"] = chain.pool.choices.clock() + 60
    request = Request("http://a.example/")
    await chain.out(request)
    assert chain.back(request, Response("http://a.example/", 502)).status == 502
    assert not is_of_proxy(request)


async def test_who_waits_goes_back_into_the_queue(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = await make()
    all_out(chain)
    monkeypatch.setattr(httpproxy, "_delivery_of", lambda _: Delivery())
    request = Request("http://a.example/")
    again = await chain.out(request)
    assert isinstance(again, Request)
    assert again.dont_filter
    assert 18 < again.meta["mocra_delay"] <= 21
    assert "proxy" not in request.meta
    assert chain.stat("put_off") == 1
    monkeypatch.setattr(httpproxy, "_delivery_of", lambda _: None)  # robots.txt: somebody waits for it
    with pytest.raises(NoProxy, match="MOCRA_BYPASS_MAX_WAIT"):
        await chain.out(Request("http://a.example/robots.txt"))


async def test_a_log_in_that_waits_for_a_proxy_says_so(make: Any) -> None:
    chain = await make()
    request = Request("http://a.example/login", meta={MAKING: Making()})
    all_out(chain)
    with pytest.raises(NoProxy):
        await chain.out(request)
    assert request.meta[MAKING].without_proxy
    for member in chain.pool.choices.members.values():
        member.whole.until = 0.0
        chain.pool.choices.changed(member)
    await chain.putting_off.take(request, chain.pool.fetches.asked(request), None)
    assert not request.meta[MAKING].without_proxy


async def test_the_crawl_may_end_or_go_on_without_a_proxy(make: Any) -> None:
    direct = await make(MOCRA_PROXY_ON_EMPTY="direct")
    all_out(direct)
    request = Request("http://a.example/")
    assert await direct.out(request) is None
    assert "proxy" not in request.meta
    assert direct.stat("direct") == 1
    close = await make(MOCRA_PROXY_ON_EMPTY="close")
    all_out(close)
    closed: list[str] = []
    close.putting_off._engine = cast(
        "Any", type("Engine", (), {"close_spider": lambda self, reason: closed.append(reason)})()
    )
    with pytest.raises(NoProxy, match="close"):
        await close.out(Request("http://a.example/"))
    assert closed == ["mocra_no_proxies"]


async def test_tags_and_countries_are_asked_for(make: Any) -> None:
    urls = [{"url": URLS[0], "tags": ["a"], "country": "de"}, {"url": URLS[1], "tags": ["a", "b"]}]
    chain = await make(MOCRA_PROXIES=urls)
    for wish, port in (({"tags": "b"}, 8001), ({"country": "DE"}, 8000), ({"tags": ["a"], "country": "de"}, 8000)):
        request = Request("http://a.example/", meta={"mocra_proxy": wish})
        await chain.out(request)
        assert request.meta["proxy"].endswith(f":{port}"), wish


async def test_the_permits_of_a_worker_that_is_known_to_be_dead_are_free_at_once(make: Any) -> None:
    shared = {
        "MOCRA_BACKEND": f"memory://{secrets.token_hex(4)}",
        "MOCRA_PROXIES": URLS[:1],
        "MOCRA_PROXY_CONCURRENCY": 1,
    }
    dead, alive = await make(**shared), await make(**shared)
    assert await dead.out(Request("http://a.example/")) is None
    with pytest.raises(NoProxy):
        await alive.out(Request("http://a.example/"))
    await end_tasks([dead.pool._turns._task])
    (held,) = (await alive.pool.store.use()).permits.values()
    assert dict(held) == {dead.mocra.worker: 1}
    alive.crawler.signals.send_catch_log(worker_died, worker=dead.mocra.worker, held=1)
    await asyncio.gather(*alive.pool._freeing)
    assert await alive.out(Request("http://a.example/")) is None
