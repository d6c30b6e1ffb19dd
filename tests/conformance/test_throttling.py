"""The rules of throttling together, over several shards, and under repetition."""

from __future__ import annotations

import pytest

from mocra_scrapy.models import Bounds, Finish, Lease, SlotLimit

from .harness import Harness, bodies, entries


@pytest.mark.parametrize("workers", [1, 3])
async def test_every_entry_comes_through_within_limits(harness: Harness, workers: int) -> None:
    """All of them together, until the queue is drained and nothing is left behind."""
    limit = SlotLimit(interval=1, burst=2, concurrency=3, jitter=0.2)
    sessions = [await harness.worker(f"w{i}", second=bool(i % 2), limit=limit, lease=1e6) for i in range(workers)]
    await sessions[0].queue.claim_seeding("w0")
    await sessions[0].push([e for n in range(40) for e in entries(n, slot=f"s{n % 5}")])
    await sessions[0].queue.complete_seeding("w0")
    done: list[str] = []
    for _ in range(200):
        for session in sessions:
            leases = (await session.exchange(want=5)).leases
            done += bodies(leases)
            await session.exchange(ack=leases, bounds=Bounds(keep_permits={lease.slot: 0 for lease in leases}))
        await harness.advance(1)
        if len(done) == 40:
            break
    assert sorted(done, key=int) == [str(n) for n in range(40)]
    await harness.advance(10)
    verdicts = [await session.queue.finish(session.worker) for session in sessions]
    assert verdicts.count(Finish.WON) == 1
    for session in sessions:
        await session.queue.close_worker(session.worker)
    assert await harness.residue() == set()


async def test_a_repeated_call_books_once(harness: Harness) -> None:
    """ "The same call again changes nothing", for departures and permits."""
    limit = SlotLimit(interval=100, burst=2, concurrency=4)
    a = await harness.worker("a", limit=limit, lease=1e6)
    await a.push(entries(*range(10), slot="s"))
    first: list[Lease] = []
    while not first:
        answer = await a.exchange(want=10)
        first = list(answer.leases)
    again = await a.exchange(want=10, repeat=True)
    assert [lease.token for lease in again.leases] == [lease.token for lease in first]
    assert again.permits == answer.permits == {"s": 2}
    for _ in range(2 * harness.shards):
        assert list((await a.exchange(want=10, bounds=Bounds(loads={"s": 2}))).leases) == []
