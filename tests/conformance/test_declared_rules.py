"""IRequestQueue.declare_dead: deaths that are known before a lease has run out."""

from __future__ import annotations

import asyncio

from mocra_scrapy.models import Bounds, Entry, SlotLimit

from .harness import Harness, bodies, entries


async def test_a_declared_death_is_like_any_other(harness: Harness) -> None:
    options = {"limit": SlotLimit(concurrency=3), "max_deliveries": 2}
    a, b = await harness.worker("a", **options), await harness.worker("b", second=True, **options)
    assert await a.queue.claim_seeding("a")
    await a.push([Entry(str(i).encode(), f"s{i % 5}") for i in range(9)])
    loads = {f"s{i}": 3 for i in range(5)}
    held = await harness.lease_all(a, bounds=Bounds(loads=loads))
    assert len(held) == 9
    await a.push(entries("rest", slot="s0"))
    assert await harness.lease_all(b) == []
    assert not await b.queue.claim_seeding("b")
    assert await b.queue.declare_dead("nobody") is None
    assert (await b.queue.size()).leased == 9
    assert await b.queue.declare_dead("a") == 9
    assert {x.name: x.expires_in < 0 for x in await b.queue.workers()} == {"a": True, "b": False}
    assert await b.queue.declare_dead("a") is None, "it has no lease that could end"
    assert await b.queue.claim_seeding("b")
    # Its permits are free, its entries are b's: with one more delivery, the first hand-out counted.
    got = await harness.lease_all(b, bounds=Bounds(loads=loads))
    assert sorted(bodies(got)) == [*map(str, range(9)), "rest"]
    assert {lease.deliveries for lease in got if lease.body != b"rest"} == {2}
    assert [x.name for x in await b.queue.workers()] == ["b"]
    # The next death is the one too many.
    assert await b.queue.declare_dead("b") == 10
    c = await harness.worker("c", **options)
    await harness.lease_all(c)
    assert sorted(x.body for x in await c.queue.dead()) == [str(i).encode() for i in range(9)]


async def test_a_declared_death_wakes_those_who_wait(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries(1, 2, slot="s"))
    assert len(await harness.lease_all(a)) == 2
    assert await harness.lease_all(b) == []
    waiting = asyncio.ensure_future(b.queue.wait("b", 60))
    await asyncio.sleep(0)
    assert await a.queue.declare_dead("a") == 2
    assert await asyncio.wait_for(waiting, 30)
    assert bodies(await harness.lease_all(b)) == ["1", "2"]


async def test_a_death_declared_by_mistake_is_survived(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries(1, 2, slot="s"))
    held = await harness.lease_all(a)
    # It calls before anybody came for what it holds: nothing has happened.
    await b.queue.declare_dead("a")
    assert not (await a.exchange()).lost
    assert await harness.lease_all(b) == []
    # Somebody came.
    await b.queue.declare_dead("a")
    assert len(got := await harness.lease_all(b)) == 2
    answers = [await a.exchange(ack=held, push=entries("child", slot="t")), await a.exchange()]
    assert [answer.lost for answer in answers] == [True, False]
    assert list(answers[0].acked) == [False, False]
    assert list(answers[0].stored) == [True]
    assert list(await b.ack(got)) == [True, True]
    assert bodies(await harness.lease_all(a)) == ["child"]
