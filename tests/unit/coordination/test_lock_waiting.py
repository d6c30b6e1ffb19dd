"""``Lock``: how it waits in line, and that nothing of a hold outlives it."""

from __future__ import annotations

import asyncio
from typing import Any

from mocra_scrapy.coordination import locks as _locks
from tests.unit.coordination.lock_stage import Locks, lock
from tests.unit.coordination.test_leadership import Clock, eventually


class Noting(Locks):
    """Notes how long each attempt stays in line, and how long it naps before the next one."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.patience: list[float] = []
        self.naps: list[float] = []

    async def acquire(self, name: str, owner: str, ttl: float, **more: Any) -> Any:
        self.patience.append(more["patience"])
        return await self.real.acquire(name, owner, ttl, **more)

    async def wait(self, name: str, timeout: float) -> bool:
        self.naps.append(timeout)
        return False


async def test_who_waits_stays_in_line_until_it_asks_again(clock: Clock) -> None:
    """A second longer than it naps, for the way; and one that died holds up nobody for more than
    three.
    """
    locks = Noting(clock)
    held = await locks.real.acquire("door", "other", 1000)
    assert held is not None

    async def work() -> None:
        async with lock(locks, clock, ttl=1000):
            pass

    waiting = asyncio.ensure_future(work())
    await eventually(lambda: len(locks.naps) >= 20)
    await locks.real.release("door", "other", held.number)
    await waiting
    naps, patience = locks.naps[:20], locks.patience[1:21]
    assert all(nap + 1 <= stays for nap, stays in zip(naps, patience, strict=True)), "of the attempt after it began"
    assert max(patience) <= 3.0
    assert max(naps) > 2 * naps[0], "it asks less and less often"


async def test_one_attempt_leaves_no_place_in_line(clock: Clock) -> None:
    locks = Noting(clock)
    async with lock(locks, clock, timeout=0):
        assert locks.patience == [0.0]


async def test_the_wait_ends_with_who_waits(clock: Clock) -> None:
    class Endless(Locks):
        async def wait(self, name: str, timeout: float) -> bool:
            self.calls.append("wait")
            await asyncio.sleep(3600)
            return False

    locks = Endless(clock)
    assert await locks.real.acquire("door", "other", 1000)
    before = asyncio.all_tasks()

    async def work() -> None:
        async with lock(locks, clock):
            pass

    waiting = asyncio.ensure_future(work())
    await eventually(lambda: locks.calls == ["acquire", "wait", "acquire"])
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert asyncio.all_tasks() == before
    assert not _locks._behind


async def test_nobody_waits_on_when_it_is_held(clock: Clock) -> None:
    class Late(Locks):
        async def wait(self, name: str, timeout: float) -> bool:
            await self.real.release("door", "other", 0)
            await asyncio.sleep(3600)
            return True

    locks = Late(clock)
    assert await locks.real.acquire("door", "other", 1000)
    before = asyncio.all_tasks()
    async with lock(locks, clock) as held:
        assert locks.calls == ["acquire", "acquire"]
        assert asyncio.all_tasks() - before == {held._renewer}


async def test_what_is_given_back_is_forgotten(locks: Locks, clock: Clock) -> None:
    for _ in range(3):
        async with lock(locks, clock):
            pass
    await eventually(lambda: not _locks._behind)


async def test_a_grant_that_came_late_is_renewed_before_it_ends(locks: Locks, clock: Clock) -> None:
    """Not a third of its time to live later, when others have it."""

    def late(verb: str) -> None:
        if verb == "acquire":
            clock.now += 3600 * _locks.BELIEF - 0.01

    locks.after = late
    async with lock(locks, clock, ttl=3600) as held:
        await eventually(lambda: "renew" in locks.calls)
        await eventually(lambda: held._until > clock.now + 1000)
        assert not held.lost
