"""Many workers at once: no entry is with two of them, and none is lost when some die."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Entry, Finish

from .harness import Harness, fp

WORKERS, ENTRIES = 8, 400


class Crowd:
    """Who holds what right now, as the workers themselves know it."""

    def __init__(self, harness: Harness, seed: int) -> None:
        self.harness = harness
        self.random = random.Random(seed)
        self.held: dict[bytes, str] = {}
        self.done: Counter[bytes] = Counter()

    async def work(self, session: QueueSession, patience: int, dies: float = 0.0) -> None:
        """Lease, process, push a child now and then together with the ack, until nothing came
        *patience* times.
        """
        empty = 0
        while empty < patience:
            answer = await session.exchange(want=self.random.randint(1, 9))
            leases = answer.leases
            empty = 0 if leases or await self.harness.is_coming(session, answer) else empty + 1
            for lease in leases:
                assert self.held.setdefault(lease.body, session.worker) == session.worker
            await asyncio.sleep(0)
            if leases and self.random.random() < dies:
                return  # with all it holds, and without a word
            some = self.random.randint(0, len(leases))
            children = [
                Entry(lease.body + b"/child", lease.slot, fingerprint=fp(lease.body + b"/child"))
                for lease in leases[:some]
                if b"/" not in lease.body and lease.body.endswith(b"7")
            ]
            for lease in leases:
                del self.held[lease.body]
            settled = await session.exchange(push=children, ack=leases[:some], release=leases[some:])
            assert all(settled.acked)
            assert all(settled.released)
            self.done.update(lease.body for lease in leases[:some])

    async def bury_the_dead(self) -> None:
        """Their time is over: what they held is anybody's."""
        await self.harness.die()
        self.held.clear()


def expected() -> set[bytes]:
    first = {b"%d" % i for i in range(ENTRIES)}
    return first | {body + b"/child" for body in first if body.endswith(b"7")}


async def crowd(harness: Harness, seed: int) -> tuple[Crowd, list[QueueSession]]:
    sessions = [await harness.worker(f"w{i}", second=bool(i % 2), max_deliveries=50) for i in range(WORKERS)]
    await sessions[0].queue.claim_seeding("w0")
    for at in range(0, ENTRIES, 100):
        await sessions[0].push([Entry(b"%d" % i, f"s{i % 13}", i % 3, fp(i)) for i in range(at, at + 100)])
    await sessions[0].queue.complete_seeding("w0")
    return Crowd(harness, seed), sessions


async def test_no_entry_is_with_two_workers(harness: Harness) -> None:
    everybody, sessions = await crowd(harness, 1)
    await asyncio.gather(*(everybody.work(s, 8 * harness.shards) for s in sessions))
    assert set(everybody.done) == expected()
    assert set(everybody.done.values()) == {1}
    verdicts = await asyncio.gather(*(s.queue.finish(s.worker) for s in sessions))
    assert sorted(verdicts) == [Finish.FINISHED] * (WORKERS - 1) + [Finish.WON]


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_when_workers_die(harness: Harness, seed: int) -> None:
    everybody, sessions = await crowd(harness, seed)
    number = WORKERS
    for _ in range(6):
        await asyncio.gather(*(everybody.work(s, 2 * harness.shards, dies=0.05) for s in sessions))
        await everybody.bury_the_dead()
        sessions = [
            await harness.worker(f"w{number + i}", second=bool(i % 2), max_deliveries=50) for i in range(WORKERS)
        ]
        number += WORKERS
    await everybody.work(sessions[0], 8 * harness.shards)
    assert set(everybody.done) == expected()
    assert set(everybody.done.values()) == {1}
    size = await sessions[0].queue.size()
    assert (size.unfinished, size.dead, size.seen) == (0, 0, len(expected()))
    assert await sessions[0].queue.finish(sessions[0].worker) is Finish.WON
