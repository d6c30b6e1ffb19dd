"""``audit`` on a server on which others have keys, too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis

from mocra_scrapy.backends import open_backend
from mocra_scrapy.backends.redis.audit import RedisAudit
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.interfaces import IBackend
from mocra_scrapy.models import Entry, QueueOptions, RuleSet, SlotLimit
from tests.integration.backends.redis_crawls import backend

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("nothing_stays_open")]

FOREIGN = 8000  # keys of somebody else
SHARDS = 3


def scans(client: redis.Redis) -> int:
    return int(client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"])  # type: ignore[union-attr]


async def test_the_names_of_a_server_are_passed_over_once(redis_url: str) -> None:
    """500 a step, once for all shards; and those of a crawl with a longer name are not its own."""
    opened = open_backend(redis_url, prefix="p")
    with redis.Redis.from_url(redis_url) as client:
        client.mset({f"foreign:{n}": "" for n in range(FOREIGN)})
        try:
            for crawl in ("shop", "shop:books"):
                session = QueueSession(opened.request_queue(crawl, QueueOptions(shards=SHARDS)), "a")
                await session.queue.join("a")
                await session.push([Entry(b"%d" % n, f"slot {n}") for n in range(20)])
                await session.queue.close()
            session = QueueSession(opened.request_queue("shop", QueueOptions(shards=SHARDS)), "b")
            before = scans(client)
            audit = await session.queue.audit()
            once = 2 * (2 * FOREIGN) // 500  # a table has up to twice as many places as keys
            assert 0 < scans(client) - before <= once < SHARDS * 2 * FOREIGN // 500
            assert (audit.settled, audit.differs, audit.pending, audit.found_pending) == (True, False, 20, 20)
            await session.queue.close()
        finally:
            await opened.close()


@contextlib.asynccontextmanager
async def a_list_behind_a_gate(url: str) -> AsyncIterator[tuple[IBackend, QueueSession, QueueSession]]:
    """A list of a slot and a scope of which somebody has the one permit."""
    async with backend(url) as on:
        one = SlotLimit(concurrency=1)
        rules = RuleSet(one, {"@gate": one})
        queue = on.request_queue("c", QueueOptions(rules=rules, scopes=True, lease=60))
        a, b = (QueueSession(queue, name) for name in "ab")
        for session in (a, b):
            await queue.join(session.worker)
        await a.push([Entry(b"%d" % n, f"s{n}", scopes=("@gate",)) for n in range(4)])
        assert len(await a.lease(4)) == 2
        assert not await b.lease(4)
        try:
            yield on, a, b
        finally:
            await queue.close()


async def test_a_list_that_stands_in_two_places_is_found_and_put_into_one(redis_url: str) -> None:
    async with a_list_behind_a_gate(redis_url) as (_, _, b):
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:
            (behind,) = client.scan_iter("mocra:{c:0}:behind:*")
            name, other = client.zrange(behind, 0, -1)
            client.zadd("mocra:{c:0}:ready", {name: 1})
            assert (await b.queue.audit()).lists == 1
            assert (await b.queue.audit(fix=True)).lists == 1
            assert client.zrange(behind, 0, -1) == [other]
            assert client.zscore("mocra:{c:0}:ready", name) is not None
        assert (await b.queue.audit()).lists == 0


async def test_a_gate_with_nothing_behind_it_keeps_nobody_busy(redis_url: str) -> None:
    """Where no limits count any more it goes, and the worker is not asked to come at once, for ever."""
    async with a_list_behind_a_gate(redis_url) as (on, a, b):
        with redis.Redis.from_url(redis_url, decode_responses=True) as client:
            (behind,) = client.scan_iter("mocra:{c:0}:behind:*")
            client.delete(behind)  # somebody else did
            for session in (a, b):
                await session.queue.close_worker(session.worker)
            free = QueueSession(on.request_queue("c", QueueOptions(lease=60)), "free")
            await free.queue.join("free")
            assert await free.lease(5)
            for _ in range(2):
                answer = await free.exchange(want=5)
            assert answer.next_due != 0
            assert not [name for name in client.zrange("mocra:{c:0}:ready", 0, -1) if name.startswith("\x1f\x1f")]
        await free.queue.close()


async def test_what_others_do_meanwhile_is_no_difference(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks a request is given back and leased again: all counts are as they were, and no part of
    the crawl was seen as it is.
    """
    async with backend(redis_url) as on:
        queue = on.request_queue("c", QueueOptions(lease=60))
        await queue.join("a")
        a = QueueSession(queue, "a")
        await a.push([Entry(b"%d" % n, "s") for n in range(3)])
        held = await a.lease(1)
        look = RedisAudit._sum

        async def work_between(self: RedisAudit, shard: int, flag: str, what: str, names: Any) -> tuple[int, int]:
            if what == "workers":
                await a.release(held)
            found = await look(self, shard, flag, what, names)
            if what == "workers":
                held[:] = await a.lease(1)
            return found

        monkeypatch.setattr(RedisAudit, "_sum", work_between)
        audit = await queue.audit(fix=True)
        assert (audit.settled, audit.repaired) == (False, False)
        monkeypatch.undo()
        audit = await queue.audit()
        assert (audit.pending, audit.leased, audit.settled, audit.differs) == (2, 1, True, False)
        await queue.close()
