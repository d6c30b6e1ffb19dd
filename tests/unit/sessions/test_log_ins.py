"""Log-ins that fail, and what comes of it."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import pytest
from scrapy import Request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response

from mocra_scrapy.models.sessions import MAKING
from mocra_scrapy.sessions.pool_state import LEASE, OVER
from mocra_scrapy.worker.deliveries import CURRENT
from mocra_scrapy.worker.earlier_failures import NO_FAILURES
from tests.unit.sessions.conftest import Stage, Visitor, until
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


async def hanging(stage: Stage, shop: Shop, asked: list[Request]) -> tuple[Visitor, asyncio.Event]:
    """A worker whose log-ins hang until the event is set."""
    one, answers = await stage.visitor(shop, **pool("Logs", wait=3600, init_timeout=3600)), asyncio.Event()
    once = one.once

    async def slow(request: Request) -> Response | Request:
        if "/login" in request.url:
            asked.append(request)
            await answers.wait()
        return await once(request)

    one.once = slow  # type: ignore[method-assign]
    return one, answers


@pytest.mark.parametrize("closing", [False, True])
async def test_a_log_in_that_hangs_ends_with_the_crawl(stage: Stage, closing: bool) -> None:
    """What waits for the session of a worker that closes goes back into the queue. Where the run goes on after all,
    because somebody pushed, another log-in is begun, by whichever worker: the pool has room for it at once.
    """
    shop, asked = Shop(), list[Request]()
    one, answers = await hanging(stage, shop, asked)
    site = one.sessions.pools["shop.example"]
    request = Request(SHOP)

    async def queued() -> Response | Request:
        CURRENT.set(SimpleNamespace(request=request, lease=object(), failures=NO_FAILURES))  # type: ignore[arg-type]
        return await one.once(request)

    waiting = asyncio.ensure_future(queued())
    await until(lambda: asked)
    (first,) = site.making
    one.mocra.worker_state.stopping = closing
    one.mocra.worker_state.over()
    if closing:
        again = await asyncio.wait_for(waiting, 60)
        assert isinstance(again, Request)
        assert again.meta["mocra_delay"] > 0
        await until(lambda: not site.making and site.state.sessions[first].status == OVER)
    else:
        await until(lambda: len(asked) == 2, LEASE)
        answers.set()
        answer = await asyncio.wait_for(waiting, 60)
        assert isinstance(answer, Response)
        assert answer.status == 200
        assert shop.logins == 1
    assert not {"mocra/sessions/init_failed", "mocra/sessions/init_bad"} & set(one.stats.get_stats())


@pytest.mark.parametrize("closing", [False, True])
async def test_a_log_in_goes_on_for_what_can_not_go_back(stage: Stage, closing: bool) -> None:
    """A callback awaits its answer, or a pipeline does: the page that it comes from would be a dead letter, the item
    would have no file.
    """
    shop, asked = Shop(), list[Request]()
    one, answers = await hanging(stage, shop, asked)
    waiting = asyncio.ensure_future(one.get(SHOP))
    await until(lambda: asked)
    one.mocra.worker_state.stopping = closing
    for _ in range(3):
        one.mocra.worker_state.over()
        await asyncio.sleep(0)
    answers.set()
    assert (await asyncio.wait_for(waiting, 60)).status == 200
    assert shop.logins == len(asked) == 1
    assert asked[0].meta["dont_cache"], "the page of a cache would be another visitor's"
