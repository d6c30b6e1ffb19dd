"""Log-ins that fail, and what comes of it."""

from __future__ import annotations

import asyncio
import logging

import pytest
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from mocra_scrapy.models.sessions import MAKING
from mocra_scrapy.sessions.pool_state import LEASE
from tests.unit.sessions.conftest import Stage, until
from tests.unit.sessions.policies import SHOP, Shop, pool


@pytest.mark.parametrize(
    ("policy", "stat", "logged"),
    [("Refuses", "mocra/sessions/init_bad", "said so"), ("Raises", "mocra/sessions/init_failed", "ValueError")],
)
async def test_too_many_bad_inits_close_the_crawl(
    stage: Stage, policy: str, stat: str, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    workers = [await stage.visitor(Shop(), **pool(policy, max_bad_inits=3)) for _ in range(2)]
    closed: list[str] = []
    for one in workers:
        one.mocra.worker_state.close = closed.append  # type: ignore[method-assign]
        with pytest.raises(IgnoreRequest, match="max_bad_inits"):
            await one.get(SHOP)
    assert closed == ["mocra_bad_session_inits"] * 2
    assert sum(one.stats.get_value(stat, 0) for one in workers) == 3
    assert sum(one.stats.get_value("mocra/sessions/made", 0) for one in workers) == 0
    assert logged in caplog.text
    assert "s3cret" not in "".join(record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG)


@pytest.mark.parametrize("policy", ["Logs", "Patient"])
async def test_a_log_in_without_a_proxy_is_nobodys_failure(stage: Stage, policy: str) -> None:
    """While requests wait for a proxy, which may take hours, log-ins do, too."""
    shop, left = Shop(), [3]

    def site(request: Request) -> Response:
        if "/login" in request.url and left[0]:
            left[0] -= 1
            request.meta[MAKING].without_proxy = True  # as the pool of proxies says it
            raise IgnoreRequest("there is no proxy")
        return shop(request)

    one = await stage.visitor(site, **pool(policy, max_bad_inits=1))
    assert (await one.get(SHOP)).status == 200
    stats = one.stats.get_stats()
    assert left == [0]
    assert not {"mocra/sessions/init_failed", "mocra/sessions/init_bad"} & set(stats)


async def test_a_policy_closes_the_spider(stage: Stage) -> None:
    one = await stage.visitor(Shop(), **pool("Closes", wait=0.2))
    closed: list[str] = []
    one.mocra.worker_state.close = closed.append  # type: ignore[method-assign]
    with pytest.raises(IgnoreRequest):
        await one.get(SHOP)
    assert closed[0] == "no_account_left"


@pytest.mark.parametrize("closing", [False, True])
async def test_a_log_in_that_hangs_ends_with_the_crawl(stage: Stage, closing: bool) -> None:
    """Whoever waits for the session of a worker that closes is told. Where the run goes on after all, because somebody
    pushed, another log-in is begun at once.
    """
    shop, hangs = Shop(), asyncio.Event()

    one = await stage.visitor(shop, **pool("Logs", wait=3600, init_timeout=3600))
    once = one.once

    async def slow(request: Request) -> Response | Request:
        if "/login" in request.url and not hangs.is_set():
            await hangs.wait()
        return await once(request)

    one.once = slow  # type: ignore[method-assign]
    waiting = asyncio.ensure_future(one.get(SHOP))
    site = one.sessions.pools["shop.example"]
    await until(lambda: site.making)
    first = set(site.making)
    one.mocra.worker_state.stopping = closing
    one.mocra.worker_state.over()
    if closing:
        with pytest.raises(IgnoreRequest, match="the worker closes"):
            await asyncio.wait_for(waiting, 60)
        await until(lambda: not site.making)
        return
    await until(lambda: site.making and not first & set(site.making), LEASE)
    hangs.set()
    assert (await asyncio.wait_for(waiting, 60)).status == 200
    assert shop.logins == 1
    assert not {"mocra/sessions/init_failed", "mocra/sessions/init_bad"} & set(one.stats.get_stats())
