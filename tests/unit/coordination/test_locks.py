"""``Lock``: waiting, renewing, losing. The clock is the test's."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination.locks import Lock
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError, LockLost, LockTimeout, MocraError

from .test_leadership import Clock, eventually


class Locks:
    """Locks whose server can be made to fail."""

    def __init__(self, clock: Clock) -> None:
        self.real = MemoryBackend(clock=clock).locks()
        self.away = False
        self.calls: list[str] = []
        self.after: Callable[[str], None] = lambda verb: None

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            self.calls.append(verb)
            if self.away and verb != "wait":
                raise BackendUnavailable("away")
            answer = await getattr(self.real, verb)(*args, **more)
            self.after(verb)
            return answer

        return call


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def locks(clock: Clock) -> Locks:
    return Locks(clock)


def lock(locks: Locks, clock: Clock, **more: Any) -> Lock:
    return Lock(locks, "door", "me", clock=clock, **more)  # type: ignore[arg-type]


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
async def test_an_outage(longer: bool, locks: Locks, clock: Clock) -> None:
    """Shorter than the time to live: nothing happens. Longer: lost."""
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
