"""IBreaker: slow downloads, and slots that grow again. Only moved clocks count."""

from __future__ import annotations

from dataclasses import replace

from mocra_scrapy.models import Circuit, LimitChange, Outcome, SlotLimit, Threshold

from .harness import Harness
from .test_breaker_rules import BAD, ONE, RULES, begin, good, half_opened, opened, told


async def test_slow_downloads_open_a_slot(harness: Harness) -> None:
    rules = replace(RULES, slot=Threshold(window=100, least=10, kinds=BAD, slow=5.0, slow_share=0.5))
    _, breaker = await begin(harness, rules)
    slow = Outcome("s", count=4, slow=True)
    assert told(await breaker.report([slow, good(5)])) == [], "too few to say"
    assert told(await breaker.report([good(4)])) == []
    assert told(await breaker.report([slow])) == []
    (change,) = (await breaker.report([slow])).changes
    assert (change.after, change.failed, change.total, dict(change.kinds)) == (Circuit.OPEN, 0, 21, {"slow": 12})
    await harness.advance(1001)
    assert told(await breaker.report([good()])) == []
    (change,) = (await breaker.report([Outcome("s", slow=True)])).changes
    assert (change.before, change.after) == (Circuit.HALF_OPEN, Circuit.OPEN)
    other = harness.breaker(RULES, **ONE)
    assert told(await other.report([Outcome("t", count=100, slow=True)])) == [], "nobody asked for it"


async def test_a_closed_slot_grows_again(harness: Harness) -> None:
    _, breaker = await half_opened(harness, replace(RULES, ramp=100_000.0))
    limiter = harness.limiter(**ONE)
    await limiter.change("s", LimitChange(interval=1.0, burst=3))
    assert told(await breaker.report([good(2)])) == [("s", Circuit.CLOSED)]
    limits = [(await limiter.look("s")).limit]
    for _ in range(4):
        await harness.advance(20_000)
        limits.append((await limiter.look("s")).limit)
    assert [limit.concurrency for limit in limits] == [1, 1, 3, 4, 6]
    assert [round(limit.interval, 1) for limit in limits] == [10.0, 5.0, 2.5, 1.7, 1.2]
    assert {limit.burst for limit in limits} == {1}
    await harness.advance(21_000)
    assert (await limiter.look("s")).limit == SlotLimit(interval=1.0, burst=3, concurrency=8)
    b, breaker = await opened(harness, replace(RULES, ramp=100_000.0), name="b")
    assert await breaker.reset("s")
    assert (await limiter.look("s")).limit.concurrency == 1
    del b
