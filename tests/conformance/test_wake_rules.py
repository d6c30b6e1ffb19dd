"""Who is woken, when, and what a worker that leaves gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Finish

from .harness import Harness, bodies, entries


async def woken(sleeper: QueueSession, provoke: Callable[[], Awaitable[object]], patience: float = 0.25) -> bool:
    """Whether *sleeper* is woken by *provoke*, tried until it is: the first wake-up may be lost. *patience*: seconds
    that a wait takes, more than *provoke* does.
    """
    for _ in range(40):
        while leases := await sleeper.lease(10):
            await sleeper.ack(leases)
        waiting = asyncio.ensure_future(sleeper.queue.wait(sleeper.worker, patience))
        await asyncio.sleep(0)
        await provoke()
        if await waiting:
            return True
    return False


async def sleeps(session: QueueSession) -> bool:
    """Whether *session*'s worker is left alone in the end: a wake-up or two may come for nothing."""
    for _ in range(5):
        if not await session.queue.wait(session.worker, 0.03):
            return True
    return False


async def test_a_push_wakes_a_waiting_worker(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    assert list(await b.lease(10)) == []
    assert await sleeps(b)
    assert await woken(b, lambda: a.push(entries("x", slot="s")))
    # Woken before it listens:
    while leases := await b.lease(10):
        await b.ack(leases)
    await a.push(entries("y", slot="s"))
    assert await b.queue.wait("b", 5) is True
    while leases := await b.lease(10):
        await b.ack(leases)
    assert await sleeps(b)
    # One that has all it wants sleeps on; a push that only it could have made does not wake itself.
    await b.push(entries("own", slot="s"))
    assert await sleeps(b)


async def test_a_push_of_many_wakes_as_many(harness: Harness) -> None:
    a, *sleepers = [await harness.worker(name, second=name != "a") for name in "abcd"]
    for sleeper in sleepers:
        assert list(await sleeper.lease(10)) == []
        assert await sleeps(sleeper)
    waiting = [asyncio.ensure_future(s.queue.wait(s.worker, 5)) for s in sleepers]
    await asyncio.sleep(0)
    await a.push(entries(1, 2, 3, slot="s"))
    assert await asyncio.gather(*waiting) == [True, True, True]


async def test_a_leaving_worker_wakes_a_waiting_one(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries("x", slot="s"))
    assert len(await harness.lease_all(a)) == 1
    assert await harness.lease_all(b) == []
    assert await sleeps(b)
    assert await woken(b, lambda: a.queue.close_worker("a"), 60.0)
    assert bodies(await harness.lease_all(b)) == ["x"]


async def test_the_end_wakes_everybody(harness: Harness) -> None:
    sleepers = [await harness.worker(name, second=True) for name in ("b", "c")]
    a = await harness.worker("a")
    for sleeper in sleepers:
        assert await woken(sleeper, lambda: a.push(entries("x", slot="s")))
        await sleeper.ack(await harness.lease_all(sleeper))
        assert await sleeps(sleeper)
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    for sleeper in sleepers:
        assert await sleeper.queue.wait(sleeper.worker, 5)
        assert await sleeps(sleeper)
    waiting = [asyncio.ensure_future(s.queue.wait(s.worker, 10)) for s in sleepers]
    await asyncio.sleep(0)
    assert await a.queue.finish("a") is Finish.WON
    assert await asyncio.gather(*waiting) == [True, True]


async def test_a_leaving_worker_gives_everything_back(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries(*range(300), slot="s"))
    held = await harness.lease_all(a, want=290)
    assert len(held) == 300
    await a.ack(held[:10])
    assert await a.queue.close_worker("a") == 290
    assert [x.name for x in await b.queue.workers()] == ["b"]
    assert await a.queue.close_worker("a") == 0
    assert list(await a.ack(held[10:12])) == [False, False]
    again = await harness.lease_all(b)
    assert bodies(again) == [str(i) for i in range(10, 300)]
    assert {x.deliveries for x in again} == {1}
