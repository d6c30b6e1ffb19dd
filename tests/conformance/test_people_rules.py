"""IRequestQueue: the verbs for people: counts, lists, dead letters, the filter."""

from __future__ import annotations

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Burial, CrawlState, Entry, QueueSize

from .harness import LEASE, Harness, entries, fp


async def bury_all(harness: Harness, session: QueueSession) -> None:
    for lease in await harness.lease_all(session):
        await session.bury([Burial(lease, "unreadable")])


async def test_size_counts_every_state(harness: Harness) -> None:
    a = await harness.worker("a")
    assert await a.queue.size() == QueueSize()
    await a.push([Entry(b"", f"s{i}", fingerprint=fp(i)) for i in range(10)])
    await bury_all(harness, a)
    await a.push([Entry(b"", f"s{i}") for i in range(6)])
    held = await harness.lease_all(a)
    await a.push([Entry(b"", f"s{i}", fingerprint=fp(-i)) for i in range(1, 5)])
    answer = await a.exchange(push=[Entry(b"", f"s{i}", delay=30) for i in range(3)], ack=held[:1])
    assert await harness.queue(second=True).size() == QueueSize(pending=4, delayed=3, leased=5, dead=10, seen=14)
    assert answer.size.unfinished >= 4 if harness.shards > 1 else answer.size == await a.queue.size()
    await a.release(held[1:])
    assert await a.queue.size() == QueueSize(pending=9, delayed=3, leased=0, dead=10, seen=14)


async def test_workers_are_listed(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries(1, 2, 3, slot="s"))
    await harness.lease_all(b)
    await harness.advance(LEASE * 0.7)
    await a.exchange(want=1)
    listed = {x.name: x for x in await a.queue.workers()}
    assert {name: x.held for name, x in listed.items()} == {"a": 0, "b": 3}
    assert 0.8 * LEASE < listed["a"].expires_in <= LEASE
    assert 0.1 * LEASE < listed["b"].expires_in <= 0.3 * LEASE
    await harness.advance(LEASE * 0.7)
    assert {x.name: x.expires_in < 0 for x in await a.queue.workers()}["b"]
    await harness.lease_all(a)
    assert {x.name: x.held for x in await a.queue.workers()} == {"a": 3}
    await a.queue.close_worker("a")
    assert await a.queue.workers() == []


async def test_peek_changes_nothing(harness: Harness) -> None:
    a = await harness.worker("a")
    assert list(await a.queue.peek()) == []
    await a.push([Entry(b"%d" % i, "s", i % 3 - 1, fp(i), start=i % 2 == 0) for i in range(9)])
    await a.push([Entry(b"later", "s", delay=30)])
    size = await a.queue.size()
    seen = list(await a.queue.peek(100))
    assert len(seen) == 9
    assert {(x.fingerprint, x.delay, x.slot) for x in seen} == {(None, 0.0, "s")}
    assert len(list(await harness.queue(second=True).peek(4))) == 4
    assert await a.queue.size() == size
    leases = await harness.lease_all(a)
    # What will be handed out first is shown first.
    assert [(x.body, x.priority, x.start) for x in seen] == [(x.body, x.priority, x.start) for x in leases]


async def test_a_forgotten_fingerprint_is_new(harness: Harness) -> None:
    a = await harness.worker("a")
    some = [Entry(b"%d" % i, f"s{i}", fingerprint=fp(i)) for i in range(6)]
    await a.push(some)
    reader = harness.queue(second=True)
    assert list(await reader.forget([fp(0), fp("other"), fp(4), fp(0)])) == [True, False, True, False]
    assert (await reader.size()).seen == 4
    assert list(await a.push(some)) == [True, False, False, False, True, False]
    assert (await reader.size()).pending == 8


async def test_clear_deletes_everything(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.queue.claim_seeding("a")
    await a.push([Entry(b"", f"s{i}", i, fp(i), delay=30.0 * (i % 2)) for i in range(20)])
    held = await harness.lease_all(a)
    await a.bury([Burial(held[0], "unreadable")])
    await a.release(held[1:3])
    reader = harness.queue(second=True)
    await reader.clear()
    assert await reader.size() == QueueSize()
    assert await reader.state() == CrawlState(0)
    assert list(await reader.dead()) == list(await reader.workers()) == list(await reader.peek()) == []
    assert await harness.residue() == set()
    # Leases from before are worth nothing, and fit nothing from after.
    b = await harness.worker("b", second=True)
    await b.push(entries(*range(20), slot="s1"))
    assert len(await harness.lease_all(b)) == 20
    assert not any(await a.ack(held[3:]))
    assert (await reader.size()).leased == 20
    assert (await reader.state()).run == 1
