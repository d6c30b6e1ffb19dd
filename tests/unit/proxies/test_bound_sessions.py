"""Sessions that keep to one proxy."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import HtmlResponse

from mocra_scrapy.downloadermiddlewares import httpproxy
from mocra_scrapy.models.proxies import CREDENTIALS
from mocra_scrapy.sessions.component import Sessions
from tests.unit.proxies.chain import URLS, Delivery


class Session:
    """As sessions have it."""

    id, pool, sticky, proxy = "7", "site", True, ""
    retired = ""

    def bind_proxy(self, identity: str) -> None:
        self.proxy = identity

    def retire(self, why: str) -> None:
        self.retired = why


async def test_a_session_keeps_its_proxy_and_dies_with_it(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = await make()
    session = Session()
    chain.pool.fetches._session_of = lambda _: session
    seen = set()
    for _ in range(10):
        request = Request("http://a.example/")
        assert await chain.out(request) is None
        seen.add(request.meta["proxy"])
        chain.back(request, HtmlResponse("http://a.example/", body=b"x"))
    assert len(seen) == 1
    member = chain.pool.choices.members[session.proxy]
    assert member.proxy.address in seen
    monkeypatch.setattr(httpproxy, "_delivery_of", lambda _: Delivery())
    member.whole.until, member.whole.why = chain.pool.choices.clock() + 20, "doubt"
    chain.pool.choices.changed(member)
    assert isinstance(await chain.out(Request("http://a.example/")), Request), "it waits for its proxy"
    assert not session.retired
    member.whole.why = CREDENTIALS
    assert isinstance(await chain.out(Request("http://a.example/")), Request)
    assert session.retired


async def test_a_session_keeps_its_proxy_after_the_store_forgot_it(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions are kept for days, sticky keys for half an hour after their last use."""
    session = Session()
    for n in range(6):
        chain = await make()  # and a store that knows nothing
        chain.pool.fetches._session_of = lambda _: session
        request = Request("http://a.example/")
        if n == 0:
            session.proxy = list(chain.pool.choices.members)[-1]
            kept = session.proxy
        assert await chain.out(request) is None
        assert request.meta["_mocra_proxy"] == session.proxy == kept
    gone = await make(MOCRA_PROXIES=URLS[:-1])
    gone.pool.fetches._session_of = lambda _: session
    monkeypatch.setattr(httpproxy, "_delivery_of", lambda _: Delivery())
    assert isinstance(await gone.out(Request("http://a.example/")), Request)
    assert session.retired
    session.retired = ""
    nothing = await make(MOCRA_PROXIES="file:/dev/null")
    nothing.pool.fetches._session_of = lambda _: session
    assert isinstance(await nothing.out(Request("http://a.example/")), Request)
    assert not session.retired, "the list may be back in a moment"


async def test_a_session_that_no_site_has_seen_waits_for_no_proxy(make: Any) -> None:
    """Its first request may have been given one that is out by now."""
    chain = await make()
    session = Session()
    chain.pool.fetches._session_of = lambda _: session
    asked = chain.pool.fetches.asked(Request("http://a.example/login"))
    while chain.pool.fetches._sticky.member_of(asked.key) is None:
        await chain.pool.fetches.wait(asked, 1.0)  # the store has bound it
    first = chain.pool.fetches._sticky.member_of(asked.key)
    first.at("a.example").until = chain.pool.choices.clock() + 3600
    chain.pool.choices.changed(first)
    request = Request("http://a.example/login")
    assert await chain.out(request) is None
    assert session.proxy not in ("", first.identity)
    assert chain.pool.choices.members[session.proxy].proxy.address == request.meta["proxy"]


@pytest.mark.parametrize(("said", "banned"), [("expired", 0), ("bad", 1), ("good", 1)])
async def test_a_proxy_is_not_blamed_for_a_log_in_that_is_over(make: Any, said: str, banned: int) -> None:
    """403 of a site that wants a log-in: it would say so through any proxy."""
    chain = await make(
        MOCRA_SESSIONS={"a.example": {"policy": "tests.unit.sessions.policies.Says", "size": 1}}, MOCRA_PROXY_TRIES=0
    )
    policy = chain.mocra.component(Sessions).policies["a.example"]
    asked = []
    policy.check = lambda response, request: asked.append(response) or said
    request = Request("http://a.example/")
    assert await chain.out(request) is None
    answer = chain.back(request, HtmlResponse("http://a.example/", 403))
    if inspect.isawaitable(answer):
        answer = await answer
    assert isinstance(answer, Request) == (said != "good"), "in another session"
    assert chain.stat("banned") == banned
    assert len(asked) == 1
