"""Locks that are lost, given up or cancelled."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from mocra_scrapy.exceptions import LockLost, MocraError
from tests.unit.coordination.lock_stage import Locks, lock
from tests.unit.coordination.test_leadership import Clock, eventually


async def test_a_lost_lock_cancels_its_body(locks: Locks, clock: Clock) -> None:
    cancelled = False

    async def body() -> None:
        nonlocal cancelled
        async with lock(locks, clock, ttl=0.3) as held:
            clock.now += 0.4
            assert held.lost, "by the clock, at once"
            assert await locks.real.acquire("door", "other", 1000)
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled = True
                raise

    with pytest.raises(LockLost, match="was lost while it was held") as raised:
        await body()
    assert cancelled
    assert isinstance(raised.value, MocraError)
    await asyncio.sleep(0)  # nothing of the cancellation is left
    task = asyncio.current_task()
    assert task is not None
    assert getattr(task, "cancelling", lambda: 0)() == 0
    assert [grant.owner for grant in await locks.real.holders("door")] == ["other"], "not released by somebody else"


async def test_a_body_that_ended_after_the_loss_is_told(locks: Locks, clock: Clock) -> None:
    with pytest.raises(LockLost):
        async with lock(locks, clock):
            clock.now += 31


async def test_a_body_that_swallows_the_cancellation_is_told(locks: Locks, clock: Clock) -> None:
    async def body() -> None:
        async with lock(locks, clock, ttl=0.1):
            clock.now += 1
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)

    with pytest.raises(LockLost):
        await body()
    await asyncio.sleep(0)


async def test_an_error_of_the_body_wins(locks: Locks, clock: Clock) -> None:
    async def body() -> None:
        async with lock(locks, clock, ttl=0.1):
            clock.now += 1
            try:
                await asyncio.sleep(30)
            finally:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await body()
    await asyncio.sleep(0)


async def test_a_flag_instead(locks: Locks, clock: Clock) -> None:
    async with lock(locks, clock, ttl=0.1, on_loss="flag") as held:
        clock.now += 1
        assert await locks.real.acquire("door", "other", 1000)
        await eventually(lambda: held._gone)
        assert held.lost
    assert [grant.owner for grant in await locks.real.holders("door")] == ["other"]


async def test_somebody_elses_cancellation_stays_one(locks: Locks, clock: Clock) -> None:
    async def work() -> None:
        async with lock(locks, clock):
            await asyncio.sleep(30)

    task = asyncio.ensure_future(work())
    await eventually(lambda: locks.calls)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(await locks.real.holders("door")) == []


@pytest.mark.parametrize("longer", [False, True])
async def test_an_outage(longer: bool, locks: Locks, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Shorter than the time to live: nothing happens, and it is told once. Longer: lost."""
    body = asyncio.Event()

    async def work() -> int:
        async with lock(locks, clock, ttl=0.3):
            body.set()
            locks.away = True
            clock.now += 0.4 if longer else 0.1
            await eventually(lambda: locks.calls.count("renew") >= 2)
            locks.away = False
            locks.calls.clear()
            await eventually(lambda: "renew" in locks.calls)
        return 1

    if longer:
        with pytest.raises(LockLost):
            await work()
    else:
        assert await work() == 1
        assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert list(await locks.real.holders("door")) == []


async def test_who_waits_tells_of_an_outage_once(locks: Locks, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        locks.away = True
        locks.calls.clear()
        one = lock(locks, clock, ttl=0.1)
        task = asyncio.ensure_future(one.__aenter__())
        await eventually(lambda: locks.calls.count("acquire") >= 3)
        locks.away = False
        await task
        await one.__aexit__(None, None, None)
    told = [record.levelname for record in caplog.records if "it will try again" in record.getMessage()]
    assert told == ["WARNING", "WARNING"]


async def test_it_is_not_held_while_it_is_waited_for(locks: Locks, clock: Clock) -> None:
    assert await locks.real.acquire("door", "other", 1000)
    one = lock(locks, clock)
    task = asyncio.ensure_future(one.__aenter__())
    await eventually(lambda: "wait" in locks.calls)
    assert one.lost
    with pytest.raises(LockLost):
        one.check()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_belief_ends_before_the_server_does_also_after_a_renewal(locks: Locks, clock: Clock) -> None:
    async with lock(locks, clock, ttl=0.3, on_loss="flag") as held:
        clock.now += 0.1
        locks.calls.clear()
        await eventually(lambda: "renew" in locks.calls)
        locks.away = True
        await asyncio.sleep(0)
        clock.now += 0.23
        assert not held.lost
        clock.now += 0.02
        assert held.lost, "0.8 of 0.3 s after the renewal"
        assert len(await locks.real.holders("door")) == 1, "the server's end comes later"


async def test_a_renewal_whose_answer_comes_too_late_loses_it_for_good(locks: Locks, clock: Clock) -> None:
    def late(verb: str) -> None:
        if verb == "renew":
            clock.now += 0.25

    locks.after = late
    async with lock(locks, clock, ttl=0.3, on_loss="flag") as held:
        await eventually(lambda: "renew" in locks.calls)
        await eventually(lambda: held._gone)
        locks.after = lambda verb: None
        clock.now -= 0.25
        assert held.lost, "though the server says that it was kept"


@pytest.mark.parametrize("stack", [False, True])
async def test_in_a_generator_nothing_is_cancelled(stack: bool, locks: Locks, clock: Clock) -> None:
    """Whichever task iterates a callback has nothing to do with its lock: what that task does
    between two items (pipelines!) must not be cancelled.
    """
    lost = asyncio.Event()

    async def callback() -> Any:
        held = lock(locks, clock, ttl=0.1)
        async with contextlib.AsyncExitStack() as more:
            if stack:
                await more.enter_async_context(held)
                yield 1
            else:
                async with held:
                    yield 1
                    await asyncio.sleep(0)
                    with pytest.raises(LockLost):
                        held.check()
                    yield 2

    async def iterate() -> list[int]:
        got = []
        async for one in callback():
            got.append(one)
            if one == 1:
                clock.now += 1  # it is lost while the item is in the pipelines
                assert await locks.real.acquire("door", "other", 1000)
                lost.set()
                for _ in range(20):
                    await asyncio.sleep(0.005)
            else:
                assert got == [1, 2]
        return got

    with pytest.raises(LockLost, match="was lost while it was held"):
        await asyncio.ensure_future(iterate())
    assert lost.is_set()


async def test_in_a_coroutine_that_a_generator_awaits_the_body_is_cancelled(locks: Locks, clock: Clock) -> None:
    async def login() -> None:
        async with lock(locks, clock, ttl=0.1):
            clock.now += 1
            await asyncio.sleep(30)

    async def callback() -> Any:
        with pytest.raises(LockLost):
            await login()
        yield 1

    assert [one async for one in callback()] == [1]
