"""Properties of limits under any sequence of bookings, leases, holds, changes and failures, with a
clock that the test moves.

Backends on a server run on with the real clock between two moves: for these a little time may pass
anywhere (``SLACK``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import (
    Bounds,
    BreakerRules,
    Circuit,
    Departure,
    LimitChange,
    Outcome,
    Reservation,
    SlotLimit,
    Threshold,
)

from .harness import Harness, entries
from .memory_harness import MemoryHarness

SLACK = 3.0  # s that a whole example may take on a slow machine
WHAT: dict[str, Any] = {"shards": 1, "lease": 1e9}

LIMITS = st.builds(
    SlotLimit,
    interval=st.sampled_from([0.0, 20.0, 100.0]),
    burst=st.integers(1, 4),
    concurrency=st.integers(0, 5),
    jitter=st.sampled_from([0.0, 0.0, 0.3]),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from([0.0, 7.0, 30.0, 500.0])),
        st.tuples(st.just("book"), st.sampled_from([0.0, 50.0, 1e5])),
        st.tuples(st.just("lease"), st.integers(0, 1)),
        st.tuples(st.just("settle"), st.integers(0, 1)),
        st.tuples(st.just("hold"), st.sampled_from([0.0, 40.0, 300.0])),
        st.tuples(st.just("die"), st.integers(0, 1)),
        st.tuples(st.just("unused"), st.integers(0, 9)),
        st.tuples(st.just("again"), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=25,
)


def examples(harness: Harness, check: Callable[..., Coroutine[Any, Any, None]], **strategies: Any) -> None:
    """Run *check* on a fresh harness of the same kind for each example."""
    memory = type(harness) is MemoryHarness

    @settings(
        max_examples=200 if memory else 4 if harness.is_late else 15,
        deadline=None,
        database=None,
        phases=[Phase.generate, *([Phase.shrink] if memory else [])],
        suppress_health_check=list(HealthCheck),
    )
    @given(**strategies)
    def run(**drawn: Any) -> None:
        async def one() -> None:
            mine = harness.another()
            await mine.start()
            try:
                await check(mine, **drawn)
            finally:
                await mine.stop()

        asyncio.run(one())

    run()


class Crawl:
    """Two workers and an operator of one slot; what left, when, and what is out."""

    def __init__(self, harness: Harness, limit: SlotLimit) -> None:
        self.harness, self.limit = harness, limit
        self.now = 0.0
        self.held_until = 0.0
        self.departures: list[tuple[float, Departure | None]] = []
        self.out: list[list[Any]] = [[], []]
        self.permits = [0, 0]

    async def begin(self) -> None:
        self.workers: list[QueueSession] = [
            await self.harness.worker(name, second=name == "b", limit=self.limit, **WHAT) for name in "ab"
        ]
        self.limiter = self.harness.limiter(limit=self.limit, **WHAT)
        await self.workers[0].push(entries(*range(200), slot="s"))

    async def step(self, what: str, value: Any) -> None:
        if what == "pass":
            await self.harness.advance(value)
            self.now += value
        elif what == "book":
            (booking,) = await self.limiter.reserve([Reservation(("s",), value)])
            if booking.booked:
                assert booking.wait <= value + 0.001
                self.depart(booking.wait, booking.departure)
        elif what in ("unused", "again"):
            await self.give_back(what == "again", value)
        elif what == "hold":
            await self.limiter.hold("s", value)
            self.held_until = max(self.held_until, self.now + value)
        else:
            await self.turn(what, value)

    def depart(self, wait: float, departure: Departure | None) -> None:
        at = self.now + wait
        assert at >= self.held_until - SLACK, "nobody departs while it is held"
        self.departures.append((at, departure))

    async def give_back(self, again: bool, which: int) -> None:
        """One that was booked did not happen: it is given back, for others or for a later one. Which
        one it is and how late does not matter.
        """
        booked = [one for one in self.departures if one[1] is not None]
        if not booked:
            return
        unused = booked[-1 - which % len(booked)]
        self.departures.remove(unused)
        assert unused[1] is not None
        if again:
            (booking,) = await self.limiter.reserve([Reservation(("s",), 50.0, unused[1])])
            if booking.booked:
                self.depart(booking.wait, booking.departure)
        else:
            session = self.workers[which % 2]
            answer = await session.exchange(bounds=Bounds(unused=[unused[1]]))
            self.permits[which % 2] = answer.permits.get("s", self.permits[which % 2])

    async def turn(self, what: str, who: int) -> None:
        session, out = self.workers[who], self.out[who]
        if what == "die":
            await session.queue.close_worker(session.worker)
            await session.queue.join(session.worker)
            out.clear()
            self.permits[who] = 0
            return
        if what == "settle":
            done, out[:] = out[:2], out[2:]
            answer = await session.exchange(
                ack=done, bounds=Bounds(keep_permits={"s": min(self.permits[who], len(out))})
            )
            self.permits[who] = min(self.permits[who], len(out))
        else:
            answer = await session.exchange(want=6, bounds=Bounds(loads={"s": len(out)}))
            for lease in answer.leases:
                out.append(lease)
                self.depart(lease.wait, lease.departure)
        self.permits[who] = answer.permits.get("s", self.permits[who])

    def check(self) -> None:
        if self.limit.concurrency:
            assert sum(self.permits) <= self.limit.concurrency
        least = self.limit.interval * (1 - self.limit.jitter)
        if least:
            # Without jitter this is burst + time / interval. With it a burst, too, is measured by
            # intervals that vary.
            ahead = (self.limit.burst - 1) * self.limit.interval
            times = sorted(at for at, _ in self.departures)
            for i, first in enumerate(times):
                for count, last in enumerate(times[i:], 1):
                    assert count <= 1 + (ahead + last - first + SLACK) / least + 1e-6


def test_no_sequence_goes_over_a_limit(bare_harness: Harness) -> None:
    async def check(harness: Harness, limit: SlotLimit, steps: list[tuple[str, Any]]) -> None:
        crawl = Crawl(harness, limit)
        await crawl.begin()
        for what, value in steps:
            await crawl.step(what, value)
            crawl.check()

    examples(bare_harness, check, limit=LIMITS, steps=STEPS)


def test_a_slowed_slot_recovers_and_never_beyond_its_own(bare_harness: Harness) -> None:
    async def check(harness: Harness, own: float, floor: float, most: float, steps: list[float]) -> None:
        limiter = harness.limiter(limit=SlotLimit(interval=own), **WHAT)
        before, most = own, max(most, own, floor)
        for pause in steps:
            interval = await limiter.slow_down("s", floor=floor, recovery=0.2, most=most, calm=50.0)
            assert min(own, most) - 1e-3 <= interval <= most + 1e-3
            assert interval <= max(2 * before, floor) + 1e-3
            await harness.advance(pause)
            before = (await limiter.look("s")).limit.interval
            assert own - 1e-3 <= before <= interval + 1e-3, "it only recovers"
        await harness.advance(36_000)
        look = await limiter.look("s")
        assert (look.limit.interval, look.slowed) == (own, 0)

    pauses = st.lists(st.sampled_from([0.0, 60.0, 600.0]), min_size=1, max_size=8)
    examples(
        bare_harness,
        check,
        own=st.sampled_from([0.0, 1.0, 30.0]),
        floor=st.sampled_from([0.5, 10.0]),
        most=st.sampled_from([20.0, 120.0]),
        steps=pauses,
    )


def test_changes_in_any_order_end_with_the_last(bare_harness: Harness) -> None:
    number = st.none() | st.sampled_from([0, 1, 5])
    change = st.builds(
        LimitChange, interval=st.none() | st.sampled_from([0.0, 2.5]), burst=st.none() | st.just(2), concurrency=number
    )

    async def check(harness: Harness, changes: list[LimitChange | bool]) -> None:
        own = SlotLimit(interval=10.0, burst=3, concurrency=4)
        limiter, last, paused = harness.limiter(limit=own, **WHAT), LimitChange(), False
        for one in changes:
            if isinstance(one, LimitChange):
                await limiter.change("s", one)
                last = one
            elif one:
                await limiter.pause("s")
                paused = True
            else:
                await limiter.resume("s")
                paused = False
        state = await limiter.look("s")
        assert (state.change, state.paused) == (last, paused)
        told = [getattr(last, f) if getattr(last, f) is not None else getattr(own, f) for f in ("interval", "burst")]
        assert [state.limit.interval, state.limit.burst] == told
        (booking,) = await limiter.reserve([Reservation(("s",), 1e6)])
        assert booking.booked is not paused

    examples(bare_harness, check, changes=st.lists(change | st.booleans(), max_size=8))


def test_a_breaker_holds_whatever_comes_in(bare_harness: Harness) -> None:
    """An open slot is open for as long as its hold, and a closed one never has its threshold
    passed.
    """
    rules = BreakerRules(
        slot=Threshold(window=200, failures=4, kinds=frozenset({"timeout"})), hold=100, longest=400, probes=2
    )
    outcome = st.tuples(
        st.sampled_from(["", "timeout", "http_4xx"]), st.integers(1, 3), st.sampled_from([0.0, 30.0, 1e4])
    )
    step = st.sampled_from([20.0, 90.0, 150.0]) | st.lists(outcome, min_size=1, max_size=3)

    async def check(harness: Harness, steps: list[Any]) -> None:
        await harness.worker("a", limit=SlotLimit(concurrency=4), **WHAT)
        breaker = harness.breaker(rules, limit=SlotLimit(concurrency=4), **WHAT)
        now, until, times = 0.0, 0.0, 0
        for one in steps:
            if isinstance(one, float):
                await harness.advance(one)
                now += one
                continue
            verdict = await breaker.report([Outcome("s", kind, count, age) for kind, count, age in one])
            for change in verdict.changes:
                assert now >= until - SLACK, "nothing changes while it is held"
                times = times + 1 if change.after is Circuit.OPEN else 0
                if times:
                    until = now + change.hold
                    assert change.hold <= 400
            state = await breaker.look("s")
            if state.circuit is Circuit.CLOSED:
                assert state.failed < 4
            else:
                assert state.times >= 1
                assert state.successes < 2

    examples(bare_harness, check, steps=st.lists(step, min_size=1, max_size=20))
