"""``Lock``: waiting, renewing, losing. The clock is the test's."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from mocra_scrapy.coordination.locks import Lock
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError, LockTimeout
from tests.unit.coordination.lock_stage import Locks, lock
from tests.unit.coordination.test_leadership import Clock, eventually


@pytest.mark.parametrize("wrong", [{"ttl": 0}, {"ttl": 1e9}, {"limit": 0}, {"on_loss": "shout"}])
def test_wrong_arguments_are_refused(wrong: dict[str, Any], locks: Locks, clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match="lock 'door'"):
        lock(locks, clock, **wrong)


async def test_one_after_the_other(locks: Locks, clock: Clock) -> None:
    inside, numbers = 0, []

    async def work() -> None:
        nonlocal inside
        async with lock(locks, clock) as held:
            inside += 1
            assert inside == 1
            assert not held.lost
            numbers.append(held.number)
            await asyncio.sleep(0.001)
            inside -= 1
        assert held.lost

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(10)))
    assert numbers == sorted(set(numbers))
    assert time.monotonic() - began < 10, "woken by the release, not by the poll"
    assert list(await locks.real.holders("door")) == []


async def test_a_semaphore(locks: Locks, clock: Clock) -> None:
    inside, most = 0, 0

    async def work() -> None:
        nonlocal inside, most
        async with lock(locks, clock, limit=3):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.002)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(12)))
    assert most == 3


async def test_a_timeout(locks: Locks, clock: Clock) -> None:
    locks.after = lambda verb: setattr(clock, "now", clock.now + 1.0)
    assert await locks.real.acquire("door", "other", 1000)
    for timeout in (0, 3.5):
        locks.calls.clear()
        with pytest.raises(LockTimeout, match="'door' was not free within"):
            async with lock(locks, clock, timeout=timeout):
                pytest.fail("it is taken")
        assert (locks.calls.count("acquire") > 1) == bool(timeout)


async def test_an_answer_that_got_lost_is_made_good(locks: Locks, clock: Clock) -> None:
    def lose(verb: str) -> None:
        if locks.calls == ["acquire"]:
            raise BackendUnavailable("the answer got lost")

    locks.after = lose
    async with lock(locks, clock, ttl=1000):
        assert locks.calls[:3] == ["acquire", "wait", "acquire"]
        assert len(await locks.real.holders("door")) == 1


async def test_it_is_renewed_in_the_background(locks: Locks, clock: Clock) -> None:
    async with lock(locks, clock, ttl=0.3) as held:
        for _ in range(4):
            await eventually(lambda: "renew" in locks.calls)
            locks.calls.clear()
            clock.now += 0.2
            assert not held.lost
    assert list(await locks.real.holders("door")) == []


async def test_used_once(locks: Locks, clock: Clock) -> None:
    once = lock(locks, clock)
    async with once:
        pass
    with pytest.raises(RuntimeError):
        async with once:
            pass


class Slow(Locks):
    """Locks whose server grants at once, and whose answers come when the test says so."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.answer = asyncio.Event()

    async def acquire(self, *args: Any, **more: Any) -> Any:
        self.calls.append("acquire")
        grant = await self.real.acquire(*args, **more)
        await self.answer.wait()
        return grant


async def test_who_gives_up_while_the_answer_is_out_leaves_nothing_behind(clock: Clock) -> None:
    locks = Slow(clock)

    async def work() -> None:
        async with lock(locks, clock):
            pytest.fail("it was given up")

    task = asyncio.ensure_future(work())
    await eventually(lambda: locks.calls)
    assert len(await locks.real.holders("door")) == 1, "the server has granted it"
    task.cancel()
    asyncio.get_running_loop().call_soon(locks.answer.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(await locks.real.holders("door")) == []


async def test_a_timeout_does_not_wait_for_an_answer_that_is_late(clock: Clock) -> None:
    locks = Slow(clock)
    began = time.monotonic()
    with pytest.raises(LockTimeout):
        async with Lock(locks, "door", timeout=0.05):  # type: ignore[arg-type]
            pytest.fail("it was not granted in time")
    assert time.monotonic() - began < 3, "not the time that the answer takes"
    locks.answer.set()
    await eventually(lambda: "release" in locks.calls)
    await asyncio.sleep(0)
    assert list(await locks.real.holders("door")) == []


async def test_who_is_cancelled_while_it_gives_back_gives_back(locks: Locks, clock: Clock) -> None:
    go = asyncio.Event()

    class Reluctant(Locks):
        async def release(self, *args: Any) -> Any:
            self.calls.append("release")
            await go.wait()
            return await self.real.release(*args)

    slow = Reluctant(clock)

    async def work() -> None:
        async with lock(slow, clock):
            pass

    task = asyncio.ensure_future(work())
    await eventually(lambda: "release" in slow.calls)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert list(await slow.real.holders("door")) == []


async def test_nobody_starves(locks: Locks, clock: Clock) -> None:
    """One that asks again as soon as it gave back does not pass by those who wait."""
    order: list[int] = []

    async def work(name: int) -> None:
        for _ in range(5):
            async with lock(locks, clock):
                order.append(name)
                await asyncio.sleep(0)

    await asyncio.gather(*(work(i) for i in range(4)))
    counts = [order[:8].count(i) for i in range(4)]
    assert min(counts) >= 1, order


async def test_a_release_between_the_question_and_the_wait_is_not_missed(clock: Clock) -> None:
    """No poll helps here: whoever is not told waits for ever."""

    class Deaf(Locks):
        async def wait(self, name: str, timeout: float) -> bool:
            return bool(await self.real.wait(name, 3600))

    locks = Deaf(clock)
    held = await locks.real.acquire("door", "other", 1000)
    assert held is not None

    def let_go(verb: str) -> None:
        if locks.calls == ["acquire"]:
            asyncio.ensure_future(locks.real.release("door", "other", held.number))  # noqa: RUF006

    locks.after = let_go

    async def work() -> None:
        async with lock(locks, clock, ttl=1000):
            assert locks.calls.count("acquire") == 2

    await asyncio.wait_for(work(), 20)
