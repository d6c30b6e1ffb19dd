"""IRateLimiter: what people and adaptations say of a limit while the crawl runs, for a time or until
it is taken back, and the list of all slots. Only moved clocks count.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from mocra_scrapy.models import (
    Attempts,
    Bounds,
    BreakerRules,
    Entry,
    LimitChange,
    Outcome,
    Reservation,
    SlotLimit,
    StallRules,
    Threshold,
)

from .harness import Harness, bodies, entries
from .test_limiter_rules import ONE, SLOW, near, waits


async def test_an_adaptation_keeps_the_floor(harness: Harness) -> None:
    limit = SlotLimit(interval=5, floor=0.5)
    ruled = {"s": SlotLimit(interval=20, floor=20)}
    await harness.worker("a", **ONE, limit=limit, names=ruled)
    limiter = harness.limiter(**ONE, limit=limit, names=ruled)
    for name, adapted, told in (("s", 1, 20), ("s", 30, 30), ("t", 1, 1), ("t", 0.1, 0.5)):
        await limiter.change(name, LimitChange(interval=adapted, adapted=True))
        state = await limiter.look(name)
        assert (state.limit.interval, state.change) == (told, LimitChange(interval=adapted, adapted=True)), name
    await limiter.change("s", LimitChange(interval=1))
    assert (await limiter.look("s")).limit.interval == 1, "people may"


async def test_a_change_may_end_by_itself(harness: Harness) -> None:
    limit = SlotLimit(interval=10)
    a, limiter = await harness.worker("a", **ONE, limit=limit), harness.limiter(second=True, **ONE)
    await limiter.change("slow", LimitChange(interval=10_000, lasts=500))
    await limiter.change("fast", LimitChange(interval=0, lasts=500))
    state = await limiter.look("slow")
    assert near(state.change.lasts or 0, 500)
    assert near(state.limit.interval, 500), "an interval ends with its change"
    await a.push([*entries(1, 2, 3, slot="slow"), *entries(*range(5), slot="fast")])
    assert sorted(lease.slot for lease in (await a.exchange(want=20)).leases) == ["fast"] * 5 + ["slow"]
    await harness.advance(400)
    assert not (await a.exchange(want=20)).leases
    await harness.advance(110)
    assert bodies((await a.exchange(want=20)).leases) == ["2"]
    for name in ("slow", "fast"):
        state = await limiter.look(name)
        assert (state.limit, state.change) == (limit, LimitChange()), name
    await a.push(entries(*range(5), slot="fast"))
    assert [lease.slot for lease in (await a.exchange(want=20)).leases] == ["fast"], "the settings are back"
    await limiter.change("slow", LimitChange(interval=1, lasts=500))
    await limiter.change("slow", LimitChange(interval=2))
    await harness.advance(1000)
    assert (await limiter.look("slow")).limit.interval == 2, "the newer change counts, and for good"


async def test_an_adaptation_waits_for_people(harness: Harness) -> None:
    limit = SlotLimit(interval=1)
    await harness.worker("a", **ONE, limit=limit)
    limiter = harness.limiter(second=True, **ONE)

    async def stands(name: str, interval: float, **change: Any) -> None:
        state = await limiter.look(name)
        assert (state.limit.interval, state.change.interval) == (interval, change.get("told")), name
        assert state.change.adapted is bool(change.get("adapted")), name

    found, said = LimitChange(interval=5, adapted=True), LimitChange(interval=0.5, lasts=500)
    for name, changes in (("before", (found, said)), ("meanwhile", (said, found)), ("kept", (found, said, said))):
        for change in changes:
            await limiter.change(name, change)
        await stands(name, 0.5, told=0.5)
    await limiter.change("last", found)
    await limiter.change("last", LimitChange(interval=0.5))
    await limiter.change("last", LimitChange(interval=7, adapted=True))
    await limiter.change("longer", found)
    await limiter.change("longer", LimitChange(interval=10_000, lasts=3))
    await stands("longer", 5, told=10_000)  # it ends with its change, but not below what was found
    await limiter.change("longer", LimitChange())
    await stands("longer", 1)
    await harness.advance(501)
    for name in ("before", "meanwhile", "kept"):
        await stands(name, 5, told=5, adapted=True)
        await limiter.reset(name)
        await stands(name, 5, told=5, adapted=True)
    await stands("last", 0.5, told=0.5)
    await limiter.reset("last")
    await stands("last", 7, told=7, adapted=True)


async def test_a_reset_leaves_the_rules_only(harness: Harness) -> None:
    limit = SlotLimit(interval=10, concurrency=4)
    a, limiter = await harness.worker("a", **ONE, limit=limit), harness.limiter(second=True, **ONE)
    await a.push([Entry(b"", name) for name in ("changed", "slowed", "held", "paused", "open")])
    await limiter.change("changed", LimitChange(interval=10_000, concurrency=1))
    assert await waits(limiter, "changed") == [0]
    await limiter.slow_down("slowed", **SLOW)
    await limiter.hold("held", 10_000)
    await limiter.pause("paused")
    breaker = harness.breaker(BreakerRules(Threshold(100, failures=1), hold=5000), **ONE)
    assert await breaker.open("open")
    assert not (await a.exchange(want=20, bounds=Bounds(full=["slowed"]))).leases
    for name in ("changed", "slowed", "held", "paused", "open"):
        await limiter.reset(name)
        state = await limiter.look(name)
        assert (state.change, state.slowed, state.paused) == (LimitChange(), 0, False), name
        if name != "open":
            assert state.limit == limit, name
            assert state.wait <= 10, name
    assert near((await limiter.look("open")).wait, 5000), "a circuit is closed by its own verb"
    await harness.advance(11)
    leases = (await a.exchange(want=20)).leases
    assert sorted(lease.slot for lease in leases) == ["changed", "held", "paused", "slowed"]


async def test_all_slots_are_listed(harness: Harness) -> None:
    limit = SlotLimit(concurrency=1)
    scoped = {"@account": SlotLimit(concurrency=1)}
    a, limiter = await harness.worker("a", **ONE, limit=limit, names=scoped), harness.limiter(second=True, **ONE)
    assert dict(await limiter.slots()) == {}
    await a.push([Entry(b"%d" % i, f"s{n}", n % 3) for n in range(300) for i in range(n % 4 + 1)])
    await a.push([Entry(b"", f"v{n}", scopes=("@account",)) for n in range(3)])
    await a.push([Entry(b"", "v0"), Entry(b"", "later", delay=100)])
    await limiter.change("changed", LimitChange(interval=1))
    await limiter.pause("paused")
    await limiter.hold("held", 100)
    await harness.stalls(StallRules(), **ONE).report([Attempts("failing")])
    await harness.breaker(BreakerRules(Threshold(100, failures=5, kinds=frozenset({"timeout"}))), **ONE).report(
        [Outcome("broken", "timeout")]
    )
    expected = {f"s{n}": n % 4 + 1 for n in range(300)}
    expected |= {"v0": 2, "v1": 1, "v2": 1, "@account": 0}
    expected |= dict.fromkeys(("changed", "paused", "held", "failing", "broken"), 0)
    assert dict(await limiter.slots()) == expected
    leases = await harness.lease_all(a, want=1000)  # one of each has a permit, the others are parked, or behind a gate
    assert leases
    found = dict(await limiter.slots())
    assert sum(found.values()) == sum(expected.values()) - len(leases)
    assert set(found) == set(expected)


async def gaps(limiter: Any, name: str, count: int = 25) -> list[float]:
    """Between *count* departures of *name*, booked at once."""
    booked = [one.wait for one in await limiter.reserve([Reservation((name,), 1e6)] * count)]
    return [later - sooner for sooner, later in pairwise(booked)]


async def test_jitter_stays_above_what_was_asked_for(harness: Harness) -> None:
    """Crawl-delay is a floor: under the settings, under adaptations, and under jitter."""
    names = {"slower": SlotLimit(interval=120, jitter=0.5), "rest": SlotLimit(burst=1, jitter=0.5)}
    limit = SlotLimit(interval=20, jitter=0.5)
    await harness.worker("a", **ONE, limit=limit, names=names)
    limiter, asked = harness.limiter(**ONE, limit=limit, names=names), LimitChange(least=100, adapted=True)
    for name in ("s", "slower", "rest", "found", "slowed", "said"):
        await limiter.change(name, asked)
    assert [round(gap, 3) for gap in await gaps(limiter, "s")] == [100] * 24
    assert [round(gap, 3) for gap in await gaps(limiter, "rest")] == [100] * 24, "a slot without an interval gets one"
    slower = await gaps(limiter, "slower")
    assert min(slower) > 99.9
    assert max(slower) > 121, "jitter as far as there is room"
    await limiter.change("found", LimitChange(interval=40, adapted=True))
    state = await limiter.look("found")
    assert (state.limit.interval, state.change) == (100, LimitChange(interval=40, adapted=True, least=100))
    assert min(await gaps(limiter, "found")) > 99.9
    await limiter.slow_down("slowed", **SLOW)
    assert min(await gaps(limiter, "slowed", 4)) > 100
    await limiter.change("said", LimitChange(interval=50, lasts=4000))
    assert [round(gap, 3) for gap in await gaps(limiter, "said")] == [50] * 24, "people may, and mean what they say"
    await harness.advance(4001)
    assert min(await gaps(limiter, "said")) > 99.9, "and then the site is heard again"
    await limiter.change("found", LimitChange(least=0, adapted=True))
    state = await limiter.look("found")
    assert (state.limit.interval, state.change) == (40, LimitChange(interval=40, adapted=True)), "it asks no more"
    await limiter.reset("s")
    assert (await limiter.look("s")).change == LimitChange(least=100), "no person said it"
    await limiter.change("s", LimitChange())
    assert (await limiter.look("s")).limit == limit
