"""IRateLimiter: nobody gets a burst anew by what sets limits or holds anew. Only moved clocks count."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mocra_scrapy.models import Booking, LimitChange, Reservation, SlotLimit

from .harness import Harness, entries
from .test_limiter_rules import ONE, SLACK, near, waits


async def test_a_resumption_is_no_burst(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=100, burst=4))
    for name in ("free", "held", "longer", "paused", "reset"):
        assert [round(wait) for wait in await waits(limiter, *[name] * 5)] == [0, 0, 0, 0, 100], name
        if name in ("held", "longer", "reset"):
            await limiter.hold(name, 1000)
        if name == "longer":
            await limiter.hold(name, 2000)
        if name == "paused":
            await limiter.pause(name)
        await (limiter.reset(name) if name == "reset" else limiter.resume(name))
        assert [near(wait, at) for wait, at in zip(await waits(limiter, name, name), (200, 300), strict=True)] == [
            True
        ] * 2, name


async def test_a_lifted_hold_leaves_no_wait(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=100, burst=2))
    for name in ("once", "twice", "changed"):
        await limiter.hold(name, 5000)
        if name == "twice":
            await limiter.hold(name, 9000)
        if name == "changed":
            await limiter.change(name, LimitChange(interval=10))
        await limiter.resume(name)
        interval = 10 if name == "changed" else 100
        assert [
            near(wait, at) for wait, at in zip(await waits(limiter, *[name] * 3), (0, 0, interval), strict=True)
        ] == [True] * 3, name
    assert await waits(limiter, "behind", "behind") == [0, 0]
    await limiter.hold("behind", 2000)
    later = await limiter.reserve([Reservation(("behind",))] * 2)
    assert near(later[1].wait, 2100)
    await limiter.resume("behind")
    for booking in later[::-1]:
        (again,) = await limiter.reserve([Reservation(("behind",), -1, booking.departure)])
    assert near(again.wait, 100), "those behind the hold were given back"


async def test_a_longer_interval_is_no_burst(harness: Harness) -> None:
    """By people, and by the rules of a worker that joins."""
    fast, slow = SlotLimit(interval=10, burst=4), SlotLimit(interval=1000, burst=4)
    await harness.worker("a", **ONE, limit=fast)
    limiter = harness.limiter(second=True, **ONE)
    for name in ("people", "rules"):
        assert await waits(limiter, *[name] * 4) == [0] * 4
    await limiter.change("people", LimitChange(interval=1000))
    await harness.worker("b", second=True, **ONE, limit=slow)
    for name in ("people", "rules"):
        got = await waits(limiter, *[name] * 3)
        assert all(near(wait, at) for wait, at in zip(got, (10, 1010, 2010), strict=True)), (name, got)


@pytest.mark.parametrize("burst", [1, 2])
@pytest.mark.parametrize("changes", [(150,), (150, 120), (150, 400)])
async def test_an_interval_that_comes_back_is_kept(harness: Harness, changes: tuple[int, ...], burst: int) -> None:
    """AutoThrottle, say, finds a longer one for a while. What is booked by then keeps its distance."""
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=100, burst=burst))
    booked = await waits(limiter, *["s"] * (burst + 2))
    assert near(booked[-1], 200)
    for interval in (*changes, 100):
        await limiter.change("s", LimitChange(interval=interval, adapted=True))
    (wait,) = await waits(limiter, "s")
    assert near(wait, 300)
    assert all(near(one, at) for one, at in zip(await waits(limiter, "s", "s"), (400, 500), strict=True))


async def test_a_longer_interval_for_a_time_has_no_burst(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=10, burst=3))
    for name in ("used", "fresh"):
        if name == "used":
            assert await waits(limiter, *[name] * 3) == [0] * 3
        await limiter.change(name, LimitChange(interval=10_000, lasts=500))
        assert (await limiter.look(name)).limit.burst == 1
    assert [near(wait, 30) for wait in await waits(limiter, "used")] == [True]
    assert await waits(limiter, "fresh") == [0]
    assert near(-(await waits(limiter, "fresh", max_wait=10))[0], 500)
    await harness.advance(501)
    assert (await limiter.look("used")).limit == SlotLimit(interval=10, burst=3)
    assert (await waits(limiter, "fresh"))[0] <= 10, "its waits end with it"
    assert (await waits(limiter, "used"))[0] <= 30, "but for those of what was booked ahead"


@pytest.mark.parametrize("jitter", [0.0, 0.3])
async def test_nothing_is_taken_back_from_before_a_change(harness: Harness, jitter: float) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=100, jitter=jitter))

    async def book(departure: Booking | None = None) -> Booking:
        (one,) = await limiter.reserve(
            [Reservation(("s",), -1 if departure else 1e6, departure and departure.departure)]
        )
        return one

    booked = [await book() for _ in range(3)]
    await limiter.change("s", LimitChange(interval=10))
    after = await book()
    due = (await book(booked[0])).wait
    for old in booked[1:]:
        assert near((await book(old)).wait, due), "the next ones own that time"
    assert due >= after.wait + 10 * (1 - jitter) - 5


async def test_a_rolling_restart_keeps_the_strictest(harness: Harness) -> None:
    """Four workers of one set of rules are replaced one by one with those of another set, under load."""
    fast, slow = SlotLimit(interval=10, burst=4), SlotLimit(interval=40, burst=4)
    before, after = {"s": fast, "t": slow}, {"s": slow, "t": fast}
    workers = [await harness.worker(f"old{i}", i % 2 == 1, **ONE, limit=fast, names=before) for i in range(4)]
    await workers[0].push([entry for slot in "st" for entry in entries(*range(400), slot=slot)])
    limiter = harness.limiter(**ONE)
    now, mixed, seen = 0.0, [float("inf")] * 2, {"s": list[float](), "t": list[float]()}

    async def load() -> None:
        for slot in "st":
            seen[slot] += [now + wait for wait in await waits(limiter, slot, max_wait=0) if wait >= 0]
        for worker in workers:
            for lease in (await worker.exchange(want=20)).leases:
                seen[lease.slot].append(now + lease.wait)

    for i, pause in enumerate((90, 7, 130, 45)):
        await load()
        joins = await harness.worker(f"new{i}", i % 2 == 0, **ONE, limit=fast, names=after)
        mixed[0] = min(mixed[0], now)
        await load()
        await workers.pop(0).queue.close_worker(f"old{i}")
        workers.append(joins)
        if i == 3:
            mixed[1] = now
        for _ in range(3):
            await load()
            await harness.advance(pause)
            now += pause
    await load()

    def allowed(slot: str, begin: float, end: float) -> float:
        """What the rules of all who lived let go in that time: the strictest while both did. The first one after a
        join is still as far from the last one as the rules said when that was booked.
        """
        edges = [begin, *(min(max(at, begin), end) for at in mixed), end]
        intervals = before[slot].interval, slow.interval, after[slot].interval
        first = slot == "s" and begin <= mixed[0] < end
        return 4 + first + sum((b - a) / each for (a, b), each in zip(pairwise(edges), intervals, strict=True))

    for slot, times in seen.items():
        times.sort()
        for i, first in enumerate(times):
            for n, last in enumerate(times[i:], 1):
                assert n <= allowed(slot, first, last) + SLACK / 10, (slot, first, last, mixed)
        assert len(times) >= 0.9 * allowed(slot, times[0], now), "and it is used"
