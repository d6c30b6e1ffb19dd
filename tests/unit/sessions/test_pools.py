"""Pools of sessions, over several workers. The cases of scrapy-zyte-api's session tests and of crawlee's are
among them, made anew for what is here.
"""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from ipaddress import ip_address
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import HtmlResponse, Response

from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.models import SharedValue
from mocra_scrapy.sessions import pool_state
from mocra_scrapy.sessions.none_found import NoSession, SessionGone
from tests.unit.sessions import policies
from tests.unit.sessions.conftest import Stage, until
from tests.unit.sessions.policies import SHOP, Refreshes, Says, Shop, pool


async def test_fifty_log_ins_needed_fifty_made(stage: Stage) -> None:
    shop = Shop()
    workers = [await stage.visitor(shop, **pool("Logs", size=50)) for _ in range(4)]
    answers = await asyncio.gather(*(workers[n % 4].get(f"{SHOP}/{n}") for n in range(100)))
    assert {answer.status for answer in answers} == {200}
    for n in range(100):
        await workers[n % 4].get(f"{SHOP}/{n}")
    assert (shop.logins, shop.refused) == (50, 0)
    assert sum(one.stats.get_value("mocra/sessions/made", 0) for one in workers) == 50


async def test_the_worker_that_logs_in_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    one = await stage.visitor(shop, **pool("Logs"))
    one.landed.clear()  # its log-in never comes back
    waiting = [asyncio.ensure_future(one.get(f"{SHOP}/1"))]
    await until(lambda: one.on_way)
    other = await stage.visitor(shop, **pool("Logs"))
    waiting.append(asyncio.ensure_future(other.get(f"{SHOP}/2")))
    await until(lambda: other.stats.get_value("mocra/sessions/waited"))
    assert not other.on_way, "one logs in, the other one waits"
    await one.kill()
    other.sessions._worker_died(one.mocra.worker)  # it was on the same machine: that is known at once
    assert (await waiting[1]).headers["X-Visitor"] == b"v1"
    assert shop.logins == 1
    waiting[0].cancel()
    # Where nobody knows, its lease ends.
    monkeypatch.setattr(pool_state, "LEASE", 0.05)
    third = await stage.visitor(shop, **pool("Logs", size=2))
    third.landed.clear()
    waiting = [asyncio.ensure_future(third.get(f"{SHOP}/3"))]
    await until(lambda: third.sessions.pools["shop.example"].making)
    await third.kill()
    fourth = await stage.visitor(shop, **pool("Logs", size=2))
    for n in range(2000):
        await fourth.get(f"{SHOP}/{n}")
        await asyncio.sleep(0.005)  # by its clock
        if shop.logins == 2:
            break
    assert shop.logins == 2
    waiting[0].cancel()


async def test_a_site_that_bans_after_ten_uses(stage: Stage) -> None:
    """With ``max_uses`` nobody is ever refused."""
    shop = Shop(bans_after=10)
    workers = [await stage.visitor(shop, **pool("Logs", size=3, max_uses=10)) for _ in range(2)]
    for n in range(100):
        assert (await workers[n % 2].get(f"{SHOP}/{n}")).status == 200
    await asyncio.gather(*(workers[n % 2].get(f"{SHOP}/{n}") for n in range(60)))
    assert shop.refused == 0
    assert max(shop.pages.values()) == 10
    assert 16 <= shop.logins <= 16 + 2 * 3, "and what two workers had taken of three sessions at the end"


async def test_a_site_that_bans_and_nobody_knows_when(stage: Stage) -> None:
    """What the check calls bad is fetched once more in another session."""
    shop = Shop(bans_after=10)
    workers = [await stage.visitor(shop, **pool("Logs", size=2, max_errors=1)) for _ in range(2)]
    for n in range(60):
        assert (await workers[n % 2].get(f"{SHOP}/{n}")).status == 200
    assert 0 < shop.refused <= shop.logins
    assert sum(one.stats.get_value("mocra/sessions/retried", 0) for one in workers) == shop.refused


async def test_one_refreshes_for_all(stage: Stage) -> None:
    shop = Shop(bans_after=10)
    Refreshes.refreshed = 0
    workers = [await stage.visitor(shop, **pool("Refreshes")) for _ in range(3)]
    for n in range(10):
        await workers[n % 3].get(f"{SHOP}/{n}")
    answers = await asyncio.gather(*(worker.get(f"{SHOP}/x") for worker in workers))
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert (Refreshes.refreshed, shop.logins) == (1, 2)
    (session,) = {worker.mocra.session(answer.request).id for worker, answer in zip(workers, answers, strict=True)}
    assert {answer.headers["X-Visitor"] for answer in answers} == {b"v2"}
    assert session.startswith("shop.example/")


async def test_a_session_has_what_its_policy_gave_it(stage: Stage) -> None:
    seen: list[Request] = []
    shop = Shop()

    def look(request: Request) -> Response:
        seen.append(request.copy())
        return shop(request)

    options = {"headers": {"Accept-Language": "de"}, "user_agents": ["Joe/1", "Ann/2"], "proxy": True, "size": 4}
    one = await stage.visitor(look, **pool("Logs", **options))
    answers = [await one.get(f"{SHOP}/{n}") for n in range(40)]
    agents: dict[str, set[bytes | None]] = {}
    for request in seen:
        if "/login" not in request.url:
            sid = request.headers["Cookie"].decode().partition("=")[2]
            assert request.headers["X-Token"] == f"token-of-{sid}".encode()
            agents.setdefault(sid, set()).add(request.headers["User-Agent"])
        assert request.headers["Accept-Language"] == b"de"
    assert [len(one) for one in agents.values()] == [1, 1, 1, 1], "it stays with it"
    request: Any = answers[-1].request
    session = one.mocra.session(request)
    assert (session.sticky, session.pool, session["token"]) == (
        True,
        "shop.example",
        f"token-of-{session.cookie('sid')}",
    )
    assert "X-Token" not in request.headers
    assert "s3cret" not in repr(request.meta)
    # Nothing to another site, though the visitor is the same.
    elsewhere = Request("https://other.example/", meta={"mocra_session": session.id})
    one.site = lambda asked: seen.append(asked.copy()) or Response(asked.url)  # type: ignore[func-returns-value]
    await one.fetch(elsewhere)
    assert not {b"X-Token", b"Accept-Language", b"Cookie"} & set(seen[-1].headers)


async def test_session_preserved_on_redirect(stage: Stage) -> None:
    shop = Shop()
    one = await stage.visitor(shop, **pool("Logs", size=3))
    for _ in range(4):
        await one.get(f"{SHOP}/fill")
    for _ in range(6):
        before = Counter(shop.pages)
        answer = await one.get(f"{SHOP}/old")
        assert answer.url == f"{SHOP}/new"
        (used,) = (Counter(shop.pages) - before).keys()
        assert answer.headers["X-Visitor"] == used.encode()
        request: Any = answer.request
        assert one.mocra.session(request).cookie("sid") == used


@pytest.mark.parametrize("on_retry", ["rotate", "keep"])
async def test_session_rotated_on_retry(stage: Stage, on_retry: str) -> None:
    shop = Shop()
    one = await stage.visitor(shop, **pool("Logs", size=3, on_retry=on_retry))
    for _ in range(4):
        await one.get(f"{SHOP}/fill")
    await until(lambda: one.stats.get_value("mocra/sessions/made") == 3)
    for _ in range(6):
        request: Any = (await one.get(f"{SHOP}/page")).request
        again = request.replace(meta={**request.meta, "retry_times": 1})  # as a retry middleware does
        second: Any = (await one.fetch(again)).request
        same = one.mocra.session(request).id == one.mocra.session(second).id
        assert same == (on_retry == "keep")


async def test_a_pinned_session_stays_and_says_when_it_is_gone(stage: Stage) -> None:
    shop = Shop()
    one = await stage.visitor(shop, **pool("Logs", size=2))
    for _ in range(3):
        await one.get(f"{SHOP}/fill")
    request: Any = (await one.get(f"{SHOP}/page")).request
    session = one.mocra.session(request)
    for _ in range(3):
        answer = await one.get(f"{SHOP}/page", mocra_session=session.id)
        assert answer.headers["X-Visitor"] == session.cookie("sid").encode()  # type: ignore[union-attr]
    session.retire("it is of no use")
    await until(lambda: not one.sessions.pools["shop.example"].is_good(one.sessions.used_by(request)))  # type: ignore[arg-type]
    assert one.stats.get_value("mocra/sessions/retired") == 1
    with pytest.raises(SessionGone, match="is gone"):  # not deferred for ever
        await one.get(f"{SHOP}/page", mocra_session=session.id)
    assert (await one.get(f"{SHOP}/page")).status == 200


async def test_which_pool_a_request_belongs_to(stage: Stage) -> None:
    settings = {
        "MOCRA_SESSIONS": {"shop.example": {"size": 1}, "api.shop.example": {"size": 1}, "other": {"size": 1}},
    }
    one = await stage.visitor(lambda request: Response(request.url), **settings)

    async def name(url: str, **meta: Any) -> str:
        request: Any = (await one.get(url, **meta)).request
        return one.mocra.session(request).pool

    assert await name(SHOP) == "shop.example"
    assert await name("https://v1.api.shop.example/x") == "api.shop.example", "the nearest"
    assert await name("https://else.example/") == ""
    assert await name("https://else.example/", mocra_session_pool="other") == "other"
    assert await name(SHOP, mocra_session_pool=False) == ""
    assert await name(SHOP, mocra_session="mine") == ""
    with pytest.raises(ConfigurationError, match="no pool"):
        await one.get(SHOP, mocra_session_pool="nope")


@pytest.mark.parametrize(
    ("said", "status", "fetched"),
    [
        (None, 200, 1),
        (True, 200, 1),
        ("good", 200, 1),
        (False, 200, 3),
        ("bad", 200, 3),
        ("expired", 200, 3),
        ("nonsense", 200, 3),
        (ValueError("a mistake in the check"), 200, 3),
    ],
)
async def test_what_a_check_says(stage: Stage, said: Any, status: int, fetched: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(Says, "said", said)
    one = await stage.visitor(lambda request: Response(request.url), **{**pool("Says", max_errors=1), "RETRY_TIMES": 2})
    answer = await one.get(f"{SHOP}/")
    assert (answer.status, one.on_way) == (status, fetched), "the last answer goes to the callback"
    stats = one.stats.get_stats()
    assert stats.get("mocra/sessions/retry/count", 0) == fetched - 1
    assert stats.get("mocra/sessions/check_failed", 0) == (
        fetched if said == "nonsense" or isinstance(said, Exception) else 0
    )


async def test_errors_are_made_up_for(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in crawlee: a good answer makes up for half of a bad one."""
    one = await stage.visitor(lambda request: Response(request.url), **pool("Says"))
    known = one.sessions.pools["shop.example"]

    async def errors(said: str) -> float:
        monkeypatch.setattr(Says, "said", said)
        await one.get(SHOP, dont_retry=True)
        await until(lambda: not known._told)
        (entry,) = [entry for entry in known.state.sessions.values() if entry.status == "good"] or [None]
        return -1 if entry is None else entry.errors

    assert [await errors(said) for said in ("bad", "bad", "good", "bad", "bad")] == [1, 2, 1.5, 2.5, -1]


async def test_the_wait_is_bounded(stage: Stage) -> None:
    one = await stage.visitor(Shop(), **pool("Logs", wait=0.05))
    one.landed.clear()
    with pytest.raises(IgnoreRequest, match=r"within MOCRA_SESSIONS\['shop.example'\]\['wait'\] = 0.05 s"):
        await one.get(SHOP)
    one.landed.set()


async def test_what_a_closing_worker_took_comes_back(stage: Stage) -> None:
    shop = Shop()
    one = await stage.visitor(shop, **pool("Logs", max_uses=80))
    await one.get(SHOP)
    other = await stage.visitor(shop, **pool("Logs", max_uses=80))
    await other.get(SHOP)
    await one.close()
    one.gone = True
    for n in range(78):
        await other.get(f"{SHOP}/{n}")
    assert (shop.logins, list(shop.pages.values())) == (1, [80])


async def test_a_pool_that_is_damaged_begins_anew(stage: Stage) -> None:
    one = await stage.visitor(Shop(), **pool("Logs"))
    await one.sessions._pooled.put("shop.example", b"nonsense")
    assert (await one.get(SHOP)).status == 200
    found = await one.sessions._pooled.get("shop.example")
    assert isinstance(found, SharedValue)
    assert b"good" in (found.value or b"")
    assert b"token" not in (found.value or b"")


async def test_an_outage_of_the_backend_is_waited_for(stage: Stage) -> None:
    one = await stage.visitor(Shop(), **pool("Logs"))
    values, left = one.sessions._pooled, [3]
    get = values.get

    async def away(name: str) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise BackendUnavailable("it is away")
        return await get(name)

    values.get = away  # type: ignore[method-assign]
    assert (await one.get(SHOP)).status == 200
    assert issubclass(NoSession, Exception)
    assert policies.SHOP


async def test_a_check_reads_what_came_compressed(stage: Stage) -> None:
    """It is asked next to the downloader, and once; the page goes on as it came."""
    shop, seen = Shop(bans_after=2), list[bytes]()

    def site(request: Request) -> Response:
        answer = shop(request)
        text = b"Please log in" if answer.status == 403 else b"Welcome"
        coded = {b"Content-Encoding": b"gzip", b"Content-Type": b"text/html", **answer.headers}
        body, address = gzip.compress(text), ip_address("127.0.0.1")
        return HtmlResponse(request.url, 200, headers=coded, body=body, request=request, ip_address=address)

    one = await stage.visitor(site, **pool("Reads"))
    one.sessions.policies["shop.example"].seen = seen  # type: ignore[attr-defined]
    for n in range(6):
        page = await one.get(f"{SHOP}/{n}")
        assert gzip.decompress(page.body) == b"Welcome"
    assert seen == [b"Welcome", b"Welcome", b"Please log in"] * 2 + [b"Welcome"] * 2
    assert shop.logins == 3
