"""Sites that take each cookie once: one request of a session at a time, over all workers."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response

from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.sessions import assignment, store
from mocra_scrapy.signals import worker_died
from tests.unit.sessions.conftest import Stage, until
from tests.unit.sessions.policies import SHOP, Shop, pool


class Strict:
    """A site that takes each cookie once."""

    def __init__(self) -> None:
        self.numbers, self.valid = count(), ""

    def __call__(self, request: Request) -> Response:
        cookie = (request.headers.get("Cookie") or b"").decode()
        if self.valid and cookie != f"sid={self.valid}":
            return Response(request.url, status=403)
        self.valid = f"{next(self.numbers)}"
        return Response(request.url, headers={"Set-Cookie": f"sid={self.valid}; Path=/"})


async def test_one_at_a_time_over_all_workers(stage: Stage) -> None:
    """A site that takes each cookie once, and workers that ask all at once."""
    strict = Strict()
    workers = [await stage.visitor(strict, **pool("Says", concurrency=1)) for _ in range(4)]
    answers = await asyncio.gather(*(workers[n % 4].get(f"{SHOP}/{n}") for n in range(40)))
    assert {answer.status for answer in answers} == {200}
    assert strict.valid == "39"
    assert not any(one.assignment._held for one in workers)


async def test_nobody_has_a_session_whose_cookie_is_not_stored_yet(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend is away for longer than an answer waits for it, and the site takes each cookie once."""
    monkeypatch.setattr(store, "PATIENCE", 0.05)
    shop = Strict()
    one, other = [await stage.visitor(shop, **pool("Says", concurrency=1)) for _ in range(2)]
    for worker in (one, other):
        await worker.get(SHOP)
    values, away = one.sessions.store._values, asyncio.Event()
    put = values.put  # type: ignore[union-attr]

    async def later(*args: Any, **more: Any) -> Any:
        if not away.is_set():
            raise BackendUnavailable("it is away")
        return await put(*args, **more)

    values.put = later  # type: ignore[method-assign, union-attr]
    assert (await one.get(SHOP)).status == 200, "it is not kept waiting"
    assert one.stats.get_value("mocra/sessions/unsaved") == 1
    waiting = asyncio.ensure_future(other.get(SHOP))
    await until(lambda: other.assignment._waiting)
    assert other.on_way == 1
    away.set()
    assert (await waiting).status == 200


async def test_a_session_that_a_killed_worker_had_is_free_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its death is known, so nobody waits for the end of the permit."""
    monkeypatch.setattr(assignment, "PERMIT", 3600.0)
    shop = Shop()
    one, other = [await stage.visitor(shop, **pool("Logs", concurrency=1)) for _ in range(2)]
    await one.get(f"{SHOP}/first")
    await other.get(f"{SHOP}/second")
    one.landed.clear()
    lost = asyncio.ensure_future(one.get(f"{SHOP}/1"))
    await until(lambda: one.on_way == 3)
    await one.kill()
    waiting = asyncio.ensure_future(other.get(f"{SHOP}/2"))
    other.crawler.signals.send_catch_log(worker_died, worker=one.mocra.worker, held=1)
    assert (await asyncio.wait_for(waiting, 60)).status == 200
    lost.cancel()


async def test_who_waits_for_a_session_that_ends_gets_another_one(stage: Stage) -> None:
    """It is not sent out to be refused, which would cost each of them a retry."""
    shop = Shop(bans_after=5)
    one = await stage.visitor(shop, **pool("Refreshes", concurrency=1))
    answers = await asyncio.gather(*(one.get(f"{SHOP}/{n}") for n in range(20)))
    assert {answer.status for answer in answers} == {200}
    assert (shop.logins, shop.refused) == (4, 3)
    assert one.stats.get_value("mocra/sessions/retried") == 3
    await until(lambda: not one.assignment._released)
    assert not one.assignment._held


async def test_nobody_has_a_session_of_which_it_is_not_stored_that_it_ended(stage: Stage) -> None:
    """A worker may be told that the session is free before it is told that it is over."""
    shop = Shop(bans_after=4)
    workers = [await stage.visitor(shop, **pool("Refreshes", concurrency=1)) for _ in range(3)]
    answers = await asyncio.gather(*(workers[n % 3].get(f"{SHOP}/{n}") for n in range(24)))
    assert {answer.status for answer in answers} == {200}
    assert shop.logins == 6
    assert shop.refused == 5
