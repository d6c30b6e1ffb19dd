"""IRateLimiter: departures beside the queue's hand-out, holds, live changes. Only moved clocks
count.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mocra_scrapy.models import (
    Bounds,
    Finish,
    LimitChange,
    Reservation,
    SlotLimit,
)

from .harness import Harness, bodies, entries

SLACK = 5.0
ONE: dict[str, Any] = {"shards": 1, "lease": 1e6}
SLOW = {"floor": 1.0, "recovery": 0.5, "most": 600.0, "calm": 10.0}


async def waits(limiter: Any, *names: str, max_wait: float = 1e6) -> list[float]:
    """One reservation each; those that were not booked are negative."""
    got = await limiter.reserve([Reservation((name,), max_wait) for name in names])
    return [booking.wait if booking.booked else -booking.wait for booking in got]


def near(value: float, expected: float) -> bool:
    return expected - SLACK <= value <= expected + 0.001


async def test_bookings_and_leases_share_one_state(harness: Harness) -> None:
    limit = SlotLimit(interval=100)
    a, limiter = await harness.worker("a", **ONE, limit=limit), harness.limiter(second=True, **ONE, limit=limit)
    await a.push(entries(*range(4), slot="s"))
    assert await waits(limiter, "s") == [0]
    assert list((await a.exchange(want=5)).leases) == []
    await harness.advance(101)
    assert bodies((await a.exchange(want=5)).leases) == ["0"]
    assert near((await waits(limiter, "s"))[0], 100)


async def test_a_long_wait_is_not_booked(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=100))
    assert await waits(limiter, "s", max_wait=0) == [0]
    for _ in range(3):
        (wait,) = await waits(limiter, "s", max_wait=50)
        assert near(-wait, 100)
    (wait,) = await waits(limiter, "s", max_wait=150)
    assert near(wait, 100)


async def test_a_booking_waits_for_all_its_names(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=10), names={"@account": SlotLimit(interval=100)})
    both = [Reservation(("s", "@account"))]
    assert [b.wait for b in await limiter.reserve(both)] == [0]
    (booking,) = await limiter.reserve([Reservation(("t", "@account"))])
    assert near(booking.wait, 100)
    assert (await waits(limiter, "u")) == [0]
    assert near((await waits(limiter, "t"))[0], 110)


async def test_bookings_keep_the_rate(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=10, burst=4))
    departures: list[float] = []
    now = 0.0
    for pause in (0, 0, 33, 5, 1000, 0, 11, 2, 70):
        await harness.advance(pause)
        now += pause
        departures += [now + wait for wait in await waits(limiter, "s", "s", "s", "s", "s", max_wait=60) if wait >= 0]
    assert len(departures) > 20
    departures.sort()
    for i, first in enumerate(departures):
        for count, last in enumerate(departures[i:], 1):
            assert count <= 4 + (last - first + SLACK) / 10


async def test_the_last_bookings_given_back_make_room(harness: Harness) -> None:
    for limit in (SlotLimit(interval=100), SlotLimit(interval=100, burst=2), SlotLimit(interval=100, jitter=0.5)):
        limiter = harness.limiter(**ONE, limit=limit)
        name = f"s{limit.burst}{limit.jitter}"
        booked = await limiter.reserve([Reservation((name,))] * 4)
        assert booked[3].wait > 50
        for booking in booked[::-1]:
            (again,) = await limiter.reserve([Reservation((name,), 0, booking.departure)])
            if again.booked:  # there was room at once: it is given back as well
                await limiter.reserve([Reservation((name,), -1, again.departure)])
        assert await waits(limiter, name) == [0], "as if nothing had been booked"


async def test_an_instant_between_others_is_booked_again(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=100))
    booked = await limiter.reserve([Reservation(("s",))] * 4)
    (lost,) = await limiter.reserve([Reservation(("s",), 50, booked[1].departure)])
    assert not lost.booked
    assert near(lost.wait, 100)
    assert [near(wait, at) for wait, at in zip(await waits(limiter, "s", "s"), (100, 400), strict=True)] == [True] * 2
    await limiter.reserve([Reservation(("s",), 0, booked[2].departure)])
    await harness.advance(201)
    assert near((await waits(limiter, "s"))[0], 299), "that instant has gone by"


async def test_a_hold_stops_everybody(harness: Harness) -> None:
    limit = SlotLimit(concurrency=4)
    a, limiter = await harness.worker("a", **ONE, limit=limit), harness.limiter(second=True, **ONE, limit=limit)
    await a.push([*entries(*range(10), slot="s"), *entries("free", slot="t")])
    held = list((await a.exchange(want=2, bounds=Bounds(full=["t"]))).leases)
    assert len(held) == 2
    await a.queue.wait("a", 0.2)  # listens from now on
    waiting = asyncio.ensure_future(a.queue.wait("a", 30))
    await asyncio.sleep(0)
    await limiter.hold("s", 200)
    assert await waiting
    answer = await a.exchange(want=10)
    assert near(answer.held["s"], 200)
    assert (await a.exchange(want=10)).held == {}
    assert bodies(answer.leases) == ["free"]
    assert answer.next_due is not None
    assert near(answer.next_due, 200)
    assert near(-(await waits(limiter, "s", max_wait=10))[0], 200)
    await harness.advance(201)
    assert len((await a.exchange(want=10, bounds=Bounds(loads={"s": 2}))).leases) == 6


async def test_a_hold_never_shortens(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit())
    await limiter.hold("s", 300)
    await limiter.hold("s", 20)
    assert near((await limiter.look("s")).wait, 300)
    await limiter.hold("s", 0)
    await harness.advance(250)
    assert near((await limiter.look("s")).wait, 50)


async def test_one_failure_halves_once(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=2, burst=5))
    rule = {**SLOW, "calm": 1000.0}
    assert [round(await limiter.slow_down("s", **rule), 1) for _ in range(3)] == [4.0, 4.0, 4.0]
    state = await limiter.look("s")
    assert (round(state.limit.interval, 1), state.limit.burst) == (4.0, 1)
    assert round(state.slowed, 1) == 4.0
    assert round(await limiter.slow_down("free", floor=1, recovery=0.1, most=60, calm=5), 1) == 2 * 2.0
    assert round(await limiter.slow_down("@scope", floor=3, recovery=0.1, most=60, calm=5), 1) == 3.0
    many = [await limiter.slow_down("t", floor=1, recovery=0.001, most=50, calm=0) for _ in range(9)]
    assert max(many) == 50


async def test_the_measured_rate_is_halved(harness: Harness) -> None:
    limit = SlotLimit(concurrency=8)
    a, limiter = await harness.worker("a", **ONE, limit=limit), harness.limiter(second=True, **ONE, limit=limit)
    b = await harness.worker("b", second=True, **ONE, limit=limit)
    rule = {**SLOW, "floor": 0.1, "calm": 0.0, "recovery": 0.001}
    assert round(await limiter.slow_down("slow", **rule, rate=0.5, worker="a"), 2) == 4.0
    assert round(await limiter.slow_down("fast", **rule, rate=100, worker="a"), 3) == 0.02
    assert round(await limiter.slow_down("unknown", **rule, worker="a"), 2) == 0.1
    await a.push(entries(*range(20), slot="s"))
    assert len((await a.exchange(want=2)).leases) == 2
    assert len((await b.exchange(want=6)).leases) == 6
    assert round(await limiter.slow_down("s", **rule, rate=1, worker="a"), 2) == 0.5, (
        "it has a quarter of four a second"
    )
    assert round(await limiter.slow_down("s", **rule, rate=1, worker="a"), 1) == 1.0, "the greater of both is doubled"
    assert round(await limiter.slow_down("s", **{**rule, "most": 3.0}, rate=0.01, worker="a"), 1) == 3.0


async def test_the_rate_recovers(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=2))
    await limiter.slow_down("s", **SLOW)
    await harness.advance(11)
    interval = await limiter.slow_down("s", **SLOW)
    assert 4 < interval <= 8
    await harness.advance(60)
    half = (await limiter.look("s")).limit.interval
    assert interval / 2 * 0.9 < half <= interval / 2 * 1.001
    await harness.advance(120)
    state = await limiter.look("s")
    assert (state.limit.interval, state.slowed) == (2, 0)


async def test_a_change_holds_at_once(harness: Harness) -> None:
    limit = SlotLimit(interval=1000, concurrency=2)
    a, limiter = await harness.worker("a", **ONE, limit=limit), harness.limiter(second=True, **ONE, limit=limit)
    await a.push(entries(*range(50), slot="s"))
    assert len((await a.exchange(want=10)).leases) == 1
    assert list((await a.exchange(want=10, bounds=Bounds(loads={"s": 1}))).leases) == []
    await limiter.change("s", LimitChange(interval=0, concurrency=5))
    assert len((await a.exchange(want=50, bounds=Bounds(loads={"s": 1}))).leases) == 9
    state = await limiter.look("s")
    assert (state.limit.interval, state.limit.concurrency, state.change) == (0, 5, LimitChange(0, None, 5))
    await limiter.change("s", LimitChange(interval=500))
    assert (await limiter.look("s")).limit == SlotLimit(500, 1, 2)
    await limiter.change("s", LimitChange())
    assert (await limiter.look("s")).limit == limit
    assert (await limiter.look("t")).limit == limit


@pytest.mark.parametrize("jitter", [0.0, 0.5])
async def test_a_shorter_interval_spares_what_is_booked(harness: Harness, jitter: float) -> None:
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=20, jitter=jitter))
    booked = [one.wait for one in await limiter.reserve([Reservation(("s",), 1000.0)] * 3)]
    await limiter.change("s", LimitChange(interval=5))
    (after,) = await limiter.reserve([Reservation(("s",), 1000.0)])
    assert after.wait >= booked[-1] + 5 * (1 - jitter) - 1, "two would depart together"
    assert after.wait <= booked[-1] + 5 * (1 + jitter) + 20 * 2 * jitter + 1, "and not as if nothing had changed"


async def test_a_paused_slot_waits_for_its_resumption(harness: Harness) -> None:
    limit = SlotLimit(concurrency=4)
    a, limiter = await harness.worker("a", **ONE, limit=limit), harness.limiter(second=True, **ONE, limit=limit)
    await a.push(entries(*range(10), slot="s"))
    assert len((await a.exchange(want=2)).leases) == 2
    await limiter.pause("s")
    answer = await a.exchange(want=10, bounds=Bounds(loads={"s": 2}))
    assert answer.held["s"] > 1000
    assert list(answer.leases) == []
    state = await limiter.look("s")
    assert (state.paused, state.pending) == (True, 8)
    await harness.advance(5000)
    await limiter.hold("s", 1)
    assert list((await a.exchange(want=10, bounds=Bounds(loads={"s": 2}))).leases) == []
    (booking,) = await limiter.reserve([Reservation(("s",))])
    assert not booking.booked
    await limiter.resume("s")
    answer = await a.exchange(want=10, bounds=Bounds(loads={"s": 2}))
    assert answer.held == {"s": 0}
    assert len(answer.leases) == 6
    assert not (await limiter.look("s")).paused


async def test_limits_end_with_the_run(harness: Harness) -> None:
    limit = SlotLimit(interval=1)
    a, limiter = await harness.worker("a", **ONE, limit=limit), harness.limiter(second=True, **ONE, limit=limit)
    await limiter.change("changed", LimitChange(interval=50))
    await limiter.pause("paused")
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    assert (await limiter.look("changed")).limit.interval == 50
    assert await a.queue.finish("a") is Finish.WON
    await a.queue.close_worker("a")
    b = await harness.worker("b", second=True, **ONE, limit=limit)
    assert (await b.queue.state()).run == 2
    for name in ("changed", "paused"):
        state = await limiter.look(name)
        assert (state.limit, state.change, state.paused) == (limit, LimitChange(), False), name


async def test_a_look_tells_what_is_in_force(harness: Harness) -> None:
    limit, own = SlotLimit(interval=3, burst=2, concurrency=7, jitter=0.5, floor=1), SlotLimit(0.5, 3, 1, 0.25)
    limiter = harness.limiter(**ONE, limit=limit, names={"own": own, "@own": own})
    state = await limiter.look("s")
    assert (state.limit, state.wait, state.paused, state.slowed, state.permits, state.pending) == (
        limit,
        0,
        False,
        0,
        0,
        0,
    )
    assert state.change == LimitChange()
    assert state.held == 0
    await limiter.hold("held", 100)
    assert near((await limiter.look("held")).held, 100)
    await limiter.pause("held")
    state = await limiter.look("held")
    assert (state.paused, state.held) == (True, 0)
    assert (await limiter.look("@scope")).limit == SlotLimit()
    assert (await limiter.look("own")).limit == own
    assert (await limiter.look("@own")).limit == own
    # Who has no rules sees those of the workers.
    await harness.worker("a", **ONE, limit=limit, names={"own": own})
    people = harness.limiter(second=True, **ONE)
    assert [(await people.look(name)).limit for name in ("s", "own", "@scope")] == [limit, own, SlotLimit()]


async def test_a_limiter_brings_its_rules(harness: Harness) -> None:
    slow = {"s": SlotLimit(interval=100)}
    limiter = harness.limiter(**ONE, limit=SlotLimit(interval=1), names=slow, patterns=[("t*", SlotLimit(interval=50))])
    for name, interval in (("s", 100), ("t1", 50), ("u", 1)):
        assert await waits(limiter, name) == [0]
        assert near((await waits(limiter, name))[0], interval)
    # They are nobody else's: who lives has others, which count beside them.
    a = await harness.worker("a", **ONE, limit=SlotLimit(interval=10))
    await a.push(entries(1, 2, slot="v"))
    assert len((await a.exchange(want=5)).leases) == 1
    assert near((await waits(harness.limiter(**ONE, limit=SlotLimit(interval=10)), "v"))[0], 10)
    assert (await limiter.look("v")).limit.interval == 10
    assert (await limiter.look("s")).limit.interval == 100
    assert (await harness.limiter(**ONE).look("s")).limit.interval == 10
