"""The breaker and the limiter on one state."""

from __future__ import annotations

from mocra_scrapy.models import Circuit, LimitChange, Reservation, SlotLimit

from .harness import Harness
from .test_breaker_rules import ONE, RULES, failed, good, half_opened, lease_of_s, opened, told


async def test_a_resumed_slot_is_tried_at_once(harness: Harness) -> None:
    a, breaker = await opened(harness)
    await harness.advance(10)
    await harness.limiter(**ONE).resume("s")
    assert (await breaker.look("s")).circuit is Circuit.HALF_OPEN
    assert 1 <= await lease_of_s(harness, a) <= 2
    assert told(await breaker.report([failed(1)])) == [("s", Circuit.OPEN)]


async def test_what_bypasses_the_queue_may_be_the_probe(harness: Harness) -> None:
    """A hundred files of a half-open slot are one probe, and no page goes beside it before it was judged."""
    a, breaker = await half_opened(harness)
    limiter = harness.limiter(**ONE)

    async def booked() -> list[bool]:
        return [one.booked for one in await limiter.reserve([Reservation(("s",), 5.0)] * 3)]

    assert await booked() == [True, False, False]
    assert await lease_of_s(harness, a) == 0
    await breaker.report([good()])
    assert await lease_of_s(harness, a) >= 1
    assert await booked() == [False] * 3


async def test_changes_and_probes_keep_out_of_each_others_way(harness: Harness) -> None:
    limiter = harness.limiter(**ONE)
    await limiter.change("s", LimitChange(concurrency=3, burst=4))
    _, breaker = await half_opened(harness)
    assert (await limiter.look("s")).limit == SlotLimit(concurrency=1)
    assert (await limiter.look("s")).change == LimitChange(concurrency=3, burst=4)
    await limiter.change("s", LimitChange())
    assert (await limiter.look("s")).limit == SlotLimit(concurrency=1), "taking back a change leaves the probes"
    await limiter.change("s", LimitChange(concurrency=2))
    await limiter.slow_down("s", floor=1, recovery=0.1, most=60, calm=5)
    assert told(await breaker.report([good(2)])) == [("s", Circuit.CLOSED)]
    look = await limiter.look("s")
    assert (look.limit.concurrency, look.slowed > 0.9) == (2, True)


async def test_a_pause_outlasts_the_breaker(harness: Harness) -> None:
    a, breaker = await opened(harness)
    await harness.limiter(**ONE).pause("s")
    await harness.advance(1001)
    assert await lease_of_s(harness, a) == 0
    assert told(await breaker.report([good(2)])) == [("s", Circuit.CLOSED)]
    assert await lease_of_s(harness, a) == 0
    await harness.limiter(**ONE).resume("s")
    assert await lease_of_s(harness, a) > 2


async def test_an_open_slot_survives_its_workers(harness: Harness) -> None:
    a, breaker = await opened(harness)
    await a.queue.close_worker("a")
    b = await harness.worker("b", **ONE)
    assert await lease_of_s(harness, b) == 0
    assert (await breaker.look("s")).circuit is Circuit.OPEN
    assert RULES.hold == 1000
