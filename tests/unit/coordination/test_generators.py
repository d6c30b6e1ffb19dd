"""Generators that hold a lock hear of its loss where they go on, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from mocra_scrapy.coordination.generators import Interruptible, interruptible
from mocra_scrapy.coordination.locks import Lock
from mocra_scrapy.exceptions import LockLost

from .lock_stage import Locks, lock
from .test_leadership import Clock, eventually


async def taken_from(locks: Locks, clock: Clock, held: Lock) -> None:
    """The lock is lost, and its renewer has said so."""
    clock.now += 31
    assert await locks.real.acquire("door", "other", 1000)
    held._lose("the test says so")


async def direct(held: Lock) -> AsyncIterator[int]:
    async with held:
        for number in range(9):
            yield number


async def stacked(held: Lock) -> AsyncIterator[int]:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(held)
        for number in range(9):
            yield number


async def nested(held: Lock) -> AsyncIterator[int]:
    async with contextlib.aclosing(direct(held)) as numbers:
        async for number in numbers:
            yield number


async def managed(held: Lock) -> AsyncIterator[int]:
    @contextlib.asynccontextmanager
    async def logged_in() -> AsyncIterator[None]:
        async with held:
            yield

    async with logged_in():
        for number in range(9):
            yield number


async def by_a_coroutine(held: Lock) -> AsyncIterator[int]:
    async def enter(stack: contextlib.AsyncExitStack) -> None:
        await stack.enter_async_context(held)

    async with contextlib.AsyncExitStack() as stack:
        await enter(stack)
        for number in range(9):
            yield number


@pytest.mark.parametrize("callback", [direct, stacked, nested, managed, by_a_coroutine])
async def test_the_next_resume_raises(callback: Any, locks: Locks, clock: Clock) -> None:
    """Not the end of the block, eight items later; and what iterates it is not cancelled."""
    held, got = lock(locks, clock), []

    async def iterate() -> None:
        async for number in interruptible(callback(held)):
            got.append(number)
            if number == 1:
                await taken_from(locks, clock, held)
                await asyncio.sleep(0)  # a pipeline: here a cancellation would strike

    with pytest.raises(LockLost, match="'door' was lost while it was held"):
        await asyncio.ensure_future(iterate())
    assert got == [0, 1]
    assert [grant.owner for grant in await locks.real.holders("door")] == ["other"]


async def test_by_the_clock_before_anybody_says_so(locks: Locks, clock: Clock) -> None:
    """A loop that stood still has not run the renewer yet."""
    numbers = interruptible(direct(lock(locks, clock)))
    assert await numbers.__anext__() == 0
    clock.now += 31
    with pytest.raises(LockLost):
        await numbers.__anext__()


async def test_who_is_sent_something_hears_of_it_too(locks: Locks, clock: Clock) -> None:
    async def talk() -> AsyncGenerator[str, str]:
        async with lock(locks, clock):
            heard = yield "hello"
            while True:
                heard = yield heard

    talking: Any = interruptible(talk())
    assert await anext(talking) == "hello"
    assert await talking.asend("so") == "so"
    clock.now += 31
    with pytest.raises(LockLost):
        await talking.asend("on")


async def test_who_swallows_it_is_told_once_more_at_the_end(locks: Locks, clock: Clock) -> None:
    async def stubborn() -> AsyncIterator[str]:
        async with lock(locks, clock):
            try:
                yield "before"
            except LockLost:
                yield "tidied up"
            yield "still there"

    numbers = interruptible(stubborn())
    assert await numbers.__anext__() == "before"
    clock.now += 31
    assert await numbers.__anext__() == "tidied up"
    assert await numbers.__anext__() == "still there"
    with pytest.raises(LockLost):
        await numbers.__anext__()


async def test_only_who_holds_it_and_only_while_it_does(locks: Locks, clock: Clock) -> None:
    async def other() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def before() -> AsyncIterator[int]:
        async with lock(locks, clock):
            yield 1
        yield 2
        async with Lock(locks, "window", clock=clock, on_loss="flag") as flagged:  # type: ignore[arg-type]
            yield 3
            assert flagged.lost
            yield 4

    beside, one = interruptible(other()), interruptible(before())
    assert await beside.__anext__() == await one.__anext__() == 1
    assert await one.__anext__() == 2
    clock.now += 31
    assert await beside.__anext__() == 2
    assert await one.__anext__() == 3
    clock.now += 31
    assert await one.__anext__() == 4
    assert [number async for number in one] == []


async def test_what_it_awaits_is_cancelled_as_anywhere_else(locks: Locks, clock: Clock) -> None:
    """A coroutine of its own that holds the lock is in its body, as long as the generator runs."""
    reached = asyncio.Event()

    async def login() -> None:
        async with lock(locks, clock, ttl=0.1):
            clock.now += 1
            reached.set()
            await asyncio.sleep(30)

    async def callback() -> AsyncIterator[int]:
        with pytest.raises(LockLost):
            await login()
        yield 1

    assert [number async for number in interruptible(callback())] == [1]
    assert reached.is_set()


async def test_it_is_a_generator_to_everybody_else(locks: Locks, clock: Clock) -> None:
    closed = []

    async def talk() -> AsyncIterator[Any]:
        try:
            heard = yield "hello"
            try:
                yield heard
            except ValueError as error:
                yield str(error)
        finally:
            closed.append(True)

    talking = interruptible(talk())
    assert isinstance(talking, Interruptible)
    assert aiter(talking) is talking
    assert await anext(talking) == "hello"
    assert await talking.asend("so") == "so"
    assert await talking.athrow(ValueError("no")) == "no"
    await talking.aclose()
    assert closed == [True]
    for plain in (None, [1], iter([1]), (number for number in "ab")):
        assert interruptible(plain) is plain


async def test_one_that_is_dropped_is_closed_and_gives_its_lock_back(locks: Locks, clock: Clock) -> None:
    """Whoever iterates may stop: then Python closes it, as without us."""
    numbers: Any = interruptible(direct(lock(locks, clock)))
    assert await numbers.__anext__() == 0
    assert len(await locks.real.holders("door")) == 1
    del numbers
    gc.collect()
    await eventually(lambda: "release" in locks.calls)
    await asyncio.sleep(0)
    assert list(await locks.real.holders("door")) == []
