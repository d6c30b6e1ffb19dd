"""IRequestQueue: the verbs for people: counts, lists, dead letters, the filter."""

from __future__ import annotations

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Burial, CrawlState, Entry, Finish, QueueSize

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


async def test_an_audit_finds_nothing(harness: Harness) -> None:
    a = await harness.worker("a", isolate_after=1)
    await a.push([Entry(str(i).encode(), f"s{i % 5}", priority=i % 3) for i in range(30)])
    await harness.lease_all(a, want=7)
    await harness.die()
    b = await harness.worker("b", second=True, isolate_after=1)
    await b.lease(3)
    await b.push([Entry(b"later", "s", delay=9.0), Entry(b"alone", "alone")])
    before = await b.queue.size()
    for fix in (False, True):
        audit = await b.queue.audit(fix)
        assert (audit.differs, audit.settled) == (False, True)
        assert (audit.found_pending, audit.found_leased) == (before.pending, before.leased)
        assert await b.queue.size() == before


@pytest.mark.parametrize("part", ["q:1:s1", "q:*", "ready", "i:*", "w:a", "workers", "meta", "suspect"])
async def test_counts_heal(harness: Harness, part: str) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push([Entry(str(i).encode(), f"s{i % 5}", priority=i % 3) for i in range(30)])
    held = await harness.lease_all(a, want=4)
    assert held
    await a.release(held[:-2])
    assert await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    if await harness.lose_part(part):
        if part == "meta":  # nothing is counted any more, and all of it is still there
            assert (await b.queue.size()).pending
            assert await b.queue.finish("b") is Finish.BUSY
        assert part == "suspect" or (await b.queue.audit()).differs
        assert part == "suspect" or (await b.queue.audit(True)).differs
        assert not (await b.queue.audit()).differs
    await harness.die()
    for _ in range(20 * harness.shards):
        await b.ack(await harness.lease_all(b))
        if await b.queue.finish("b") is Finish.WON:
            break
    else:
        raise AssertionError(f"it does not end: {await b.queue.size()}")
