"""IBreaker: circuits of slots and of the crawl, shared by all workers. Only moved clocks count."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.interfaces import IBreaker
from mocra_scrapy.models import Bounds, BreakerRules, Circuit, Finish, Outcome, SlotLimit, Threshold, Verdict

from .harness import Harness, bodies, entries

ONE: dict[str, Any] = {"lease": 1e6, "limit": SlotLimit(concurrency=8)}
BAD = frozenset({"timeout", "http_5xx", "parse"})
RULES = BreakerRules(
    slot=Threshold(window=100, failures=5, kinds=BAD), crawl=None, hold=1000.0, longest=3000.0, probes=2
)


def failed(count: int = 1, slot: str = "s", kind: str = "timeout", age: float = 0.0) -> Outcome:
    return Outcome(slot, kind, count, age)


def good(count: int = 1, slot: str = "s", age: float = 0.0) -> Outcome:
    return Outcome(slot, "", count, age)


async def begin(
    harness: Harness, rules: BreakerRules = RULES, pages: int = 20, name: str = "a"
) -> tuple[QueueSession, IBreaker]:
    """A worker with entries in slots s and t, and a breaker on another client."""
    a = await harness.worker(name, **ONE)
    await a.push([*entries(*range(pages), slot="s"), *entries("t0", "t1", slot="t")])
    return a, harness.breaker(rules, second=True, **ONE)


async def opened(harness: Harness, rules: BreakerRules = RULES, name: str = "a") -> tuple[QueueSession, IBreaker]:
    """The same, and s is open."""
    a, breaker = await begin(harness, rules, name=name)
    verdict = await breaker.report([failed(5)])
    assert [change.after for change in verdict.changes] == [Circuit.OPEN]
    return a, breaker


async def half_opened(harness: Harness, rules: BreakerRules = RULES) -> tuple[QueueSession, IBreaker]:
    a, breaker = await opened(harness, rules)
    await harness.advance(1001)
    assert (await breaker.look("s")).circuit is Circuit.HALF_OPEN
    return a, breaker


async def lease_of_s(harness: Harness, session: QueueSession) -> int:
    """How many entries of s a worker gets that tells what it has."""
    loads: dict[str, int] = {}
    for _ in range(4 * harness.shards):
        for lease in (await session.exchange(want=20, bounds=Bounds(full=["t"], loads=loads))).leases:
            loads[lease.slot] = loads.get(lease.slot, 0) + 1
    return loads.get("s", 0)


def told(verdict: Verdict) -> list[tuple[str, Circuit]]:
    return [(change.slot, change.after) for change in verdict.changes]


async def test_workers_count_together(harness: Harness) -> None:
    _, breaker = await begin(harness)
    other = harness.breaker(RULES, **ONE)
    for one in (breaker, other, breaker, other):
        assert told(await one.report([failed(), good()])) == []
    (change,) = (await other.report([failed()])).changes
    assert (change.slot, change.before, change.after, change.times) == ("s", Circuit.CLOSED, Circuit.OPEN, 1)
    assert (change.failed, change.total, dict(change.kinds)) == (5, 9, {"timeout": 5})
    assert change.hold == 1000


async def test_failures_leave_the_window(harness: Harness) -> None:
    _, breaker = await begin(harness)
    assert told(await breaker.report([failed(4)])) == []
    await harness.advance(51)
    await breaker.report([good()])
    await harness.advance(50)
    assert (await breaker.look("s")).failed == 0
    assert told(await breaker.report([failed(4)])) == []
    await harness.advance(50)
    assert (await breaker.look("s")).failed == 4
    assert told(await breaker.report([failed(1)])) == [("s", Circuit.OPEN)]


async def test_too_many_failures_open_a_slot(harness: Harness) -> None:
    _, breaker = await begin(harness)
    assert told(await breaker.report([failed(4), failed(4, "t"), good(1000)])) == []
    assert told(await breaker.report([failed(1)])) == [("s", Circuit.OPEN)]
    assert (await breaker.look("t")).circuit is Circuit.CLOSED


async def test_a_share_of_failures_opens_a_slot(harness: Harness) -> None:
    rules = BreakerRules(slot=Threshold(window=100, share=0.5, least=10, kinds=BAD))
    _, breaker = await begin(harness, rules)
    assert told(await breaker.report([failed(9)])) == [], "too few to say"
    assert told(await breaker.report([good(10)])) == []
    assert told(await breaker.report([failed(1)])) == [("s", Circuit.OPEN)]
    parse = Outcome("t", "parse", 5, download=False)
    assert told(await breaker.report([good(12, "t"), parse])) == []
    assert told(await breaker.report([parse])) == [("t", Circuit.OPEN)], "errors of callbacks are no downloads"


async def test_one_report_opens_a_slot(harness: Harness) -> None:
    _, breaker = await begin(harness)
    others = [harness.breaker(RULES, second=bool(i % 2), **ONE) for i in range(6)]
    verdicts = await asyncio.gather(*(other.report([failed(5)]) for other in others))
    assert [change for verdict in verdicts for change in told(verdict)] == [("s", Circuit.OPEN)]
    assert (await breaker.look("s")).times == 1


async def test_only_named_kinds_count(harness: Harness) -> None:
    _, breaker = await begin(harness)
    assert told(await breaker.report([failed(100, kind="http_4xx"), failed(4)])) == []
    assert told(await breaker.report([failed(1, kind="http_5xx")])) == [("s", Circuit.OPEN)]


async def test_an_open_slot_is_held(harness: Harness) -> None:
    a, breaker = await begin(harness)
    held: list[Any] = []
    while len(held) < 3:
        held += (await a.exchange(want=3 - len(held), bounds=Bounds(full=["t"]))).leases
    await a.queue.wait("a", 0.2)  # listens from now on
    waiting = asyncio.ensure_future(a.queue.wait("a", 30))
    await asyncio.sleep(0)
    await breaker.report([failed(5)])
    assert await waiting, "whoever has something of it is woken"
    loads = {"s": 3}
    answer = await a.exchange(want=10, bounds=Bounds(loads=loads))
    leases = [*answer.leases]
    while len(leases) < 2:
        answer_ = await a.exchange(want=10, bounds=Bounds(loads=loads))
        leases += answer_.leases
    assert 990 < answer.held["s"] <= 1000
    assert answer.permits["s"] == 1, "comes down to one place"
    assert sorted(bodies(leases)) == ["t0", "t1"]
    await harness.advance(900)
    assert await harness.lease_all(a, bounds=Bounds(loads=loads)) == []
    assert (await a.queue.size()).pending == 17
    state = await breaker.look("s")
    assert state.circuit is Circuit.OPEN
    assert 80 < state.wait <= 100


async def test_a_half_open_slot_gives_probes(harness: Harness) -> None:
    a, _ = await half_opened(harness)
    b = await harness.worker("b", second=True, **ONE)
    assert 1 <= await lease_of_s(harness, a) <= 2, "one may go, and one waits for it"
    limit = (await harness.limiter(**ONE).look("s")).limit
    assert (limit.concurrency, limit.burst) == (1, 1)
    assert await lease_of_s(harness, b) == 0, "the place is taken"


async def test_a_probe_is_judged_before_the_next(harness: Harness) -> None:
    a, breaker = await half_opened(harness, replace(RULES, hold=20.0))
    b = await harness.worker("b", second=True, **ONE)

    async def probes() -> list[Any]:
        found: list[Any] = []
        for session in (a, b):
            bounds = Bounds(full=["t"], keep_permits={"s": 0})
            for _ in range(3):
                found += (await session.exchange(want=20, bounds=bounds)).leases
        return [lease for lease in found if lease.slot == "s"]

    (probe,) = await probes()
    assert probe.probe
    assert await probes() == [], "it is not known how it went, though nobody has a permit"
    await breaker.report([good()])
    assert [lease.probe for lease in await probes()] == [True]
    assert await probes() == []
    await breaker.report([failed()])
    assert await probes() == []
    await harness.advance(41)
    assert len(await probes()) == 1
    await harness.advance(150)
    assert await probes() == []
    await harness.advance(60)
    assert len(await probes()) == 1, "nothing was heard of it"
    await breaker.report([good(2)])
    assert (await breaker.look("s")).circuit is Circuit.CLOSED
    more = await probes()
    assert len(more) > 2
    assert not any(lease.probe for lease in more)


async def test_a_longer_hold_keeps_the_circuit(harness: Harness) -> None:
    a, breaker = await opened(harness)
    limiter = harness.limiter(**ONE)
    await limiter.hold("s", 9000)
    await harness.advance(8990)
    assert (await breaker.look("s")).circuit is not Circuit.CLOSED
    assert await lease_of_s(harness, a) == 0
    await harness.advance(11)
    assert await lease_of_s(harness, a) == 1, "a probe"
    assert told(await breaker.report([failed(5, "t")])) == [("t", Circuit.OPEN)]
    await limiter.hold("u", 9000)
    assert told(await breaker.report([failed(5, "u")])) == [("u", Circuit.OPEN)]
    await harness.advance(8990)
    assert (await breaker.look("u")).circuit is Circuit.HALF_OPEN, "the site's hold was there first"
    assert (await breaker.look("t")).circuit is Circuit.CLOSED


async def test_probes_close_a_slot(harness: Harness) -> None:
    a, breaker = await half_opened(harness)
    assert told(await breaker.report([good()])) == []
    assert (await breaker.look("s")).successes == 1
    (change,) = (await breaker.report([good()])).changes
    assert (change.slot, change.before, change.after) == ("s", Circuit.HALF_OPEN, Circuit.CLOSED)
    assert await lease_of_s(harness, a) > 8
    assert (await harness.limiter(**ONE).look("s")).limit == SlotLimit(concurrency=8)
    assert told(await breaker.report([failed(4)])) == [], "it begins anew"


async def test_a_failed_probe_opens_again(harness: Harness) -> None:
    _, breaker = await half_opened(harness)
    for times, hold in ((2, 2000), (3, 3000), (4, 3000)):
        (change,) = (await breaker.report([failed()])).changes
        assert (change.before, change.after, change.times) == (Circuit.HALF_OPEN, Circuit.OPEN, times)
        assert change.hold == hold
        await harness.advance(hold - 10)
        assert (await breaker.look("s")).circuit is Circuit.OPEN
        await harness.advance(11)
        await breaker.report([good()])  # a success before a failure is not enough
    assert (await breaker.look("s")).circuit is Circuit.HALF_OPEN


async def test_stragglers_change_nothing(harness: Harness) -> None:
    a, breaker = await opened(harness)
    assert told(await breaker.report([failed(20), good(20)])) == []
    await harness.advance(1005)
    assert told(await breaker.report([failed(3, age=50), good(5, age=30)])) == []
    state = await breaker.look("s")
    assert (state.circuit, state.successes, state.times) == (Circuit.HALF_OPEN, 0, 1)
    assert told(await breaker.report([failed(1, age=0.5)])) == [("s", Circuit.OPEN)]
    assert await lease_of_s(harness, a) == 0


async def test_an_unheard_slot_is_forgotten(harness: Harness) -> None:
    a, breaker = await opened(harness)
    await harness.advance(1000 + 3000 + 5)
    assert (await breaker.look("s")).circuit is Circuit.CLOSED
    assert list(await breaker.tripped()) == []
    assert (await harness.limiter(**ONE).look("s")).limit == SlotLimit(concurrency=8)
    assert await lease_of_s(harness, a) > 8
    assert told(await breaker.report([failed(4)])) == []


async def test_too_many_failures_trip_the_crawl(harness: Harness) -> None:
    rules = BreakerRules(crawl=Threshold(window=100, failures=6, kinds=BAD))
    _, breaker = await begin(harness, rules)
    other = harness.breaker(rules, **ONE)
    assert (await breaker.report([failed(3), good(5, "t")])).trip is None
    assert (await other.report([failed(2, "t")])).trip is None
    trip = (await other.report([failed(1, "u", kind="parse")])).trip
    assert trip is not None
    assert (trip.failed, trip.total, dict(trip.kinds)) == (6, 11, {"timeout": 5, "parse": 1})
    assert (await breaker.report([])).trip == trip, "everybody is told"
    assert (await breaker.report([failed(5)])).trip == trip, "counting begins anew"
    await harness.advance(30)
    again = (await breaker.report([failed(1)])).trip
    assert again is not None
    assert again != trip
    assert again.at >= trip.at
    await harness.advance(3700)
    assert (await breaker.report([])).trip is None


async def test_nothing_is_judged_after_the_end(harness: Harness) -> None:
    both = BreakerRules(slot=RULES.slot, crawl=RULES.slot)
    a, breaker = await begin(harness, both)
    assert (await breaker.report([failed(4), good(3, "t")])).trip is None
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    leases = await harness.lease_all(a)
    await a.exchange(ack=leases, bounds=Bounds(keep_permits={"s": 0, "t": 0}))
    while leases := await harness.lease_all(a):
        await a.exchange(ack=leases, bounds=Bounds(keep_permits={"s": 0, "t": 0}))
    assert await a.queue.finish("a") is Finish.WON
    assert (await breaker.report([failed(50)])) == Verdict()
    await a.queue.close_worker("a")
    assert await harness.residue() == set()
    await a.queue.join("a")
    assert (await breaker.look("s")).failed == 0
    assert told(await breaker.report([failed(4)])) == [], "the next run begins without failures"


async def test_a_look_shows_the_circuit(harness: Harness) -> None:
    _, breaker = await begin(harness)
    assert (await breaker.look("s")).circuit is Circuit.CLOSED
    await breaker.report([failed(2), failed(1, kind="http_5xx"), good(4)])
    state = await breaker.look("s")
    assert (state.slot, state.failed, state.total, dict(state.kinds)) == ("s", 3, 7, {"timeout": 2, "http_5xx": 1})
    assert (await breaker.look("never heard of")).total == 0


async def test_open_slots_are_listed(harness: Harness) -> None:
    _, breaker = await begin(harness)
    await breaker.report([failed(5, "s"), failed(5, "ü"), failed(1, "t")])
    assert [state.slot for state in await breaker.tripped()] == ["s", "ü"]
    assert len(await breaker.tripped(1)) == 1
    await harness.advance(1001)
    assert {state.circuit for state in await breaker.tripped()} == {Circuit.HALF_OPEN}


async def test_a_person_opens_a_slot(harness: Harness) -> None:
    rules = replace(RULES, openings=2)
    a, breaker = await begin(harness, rules)
    assert await breaker.open("s", 500)
    state = await breaker.look("s")
    assert (state.circuit, state.times) == (Circuit.OPEN, 1)
    assert 495 < state.wait <= 500
    assert await lease_of_s(harness, a) == 0
    assert await breaker.open("s", 100), "a longer hold stays"
    assert (await breaker.look("s")).wait > 495
    await breaker.report([good(10)])
    await harness.advance(501)
    assert await lease_of_s(harness, a) == 1, "one probe"
    await breaker.report([good()])
    (change,) = (await breaker.report([good()])).changes
    assert change.after is Circuit.CLOSED
    assert await breaker.open("s")
    assert 995 < (await breaker.look("s")).wait <= 1000, "as long as the rules say"
    assert await breaker.reset("s")
    assert await lease_of_s(harness, a) > 0
    for session in (a,):
        await session.release(await harness.lease_all(session))
        await session.queue.clear()
    assert not await breaker.open("s"), "no run, no circuit"


async def test_a_reset_closes_at_once(harness: Harness) -> None:
    a, breaker = await opened(harness)
    assert await breaker.reset("s")
    assert not await breaker.reset("s")
    assert await lease_of_s(harness, a) > 8
    await breaker.report([failed(5, "t")])
    await harness.limiter(**ONE).hold("t", 5000)
    assert await breaker.reset("t")
    assert (await harness.limiter(**ONE).look("t")).wait > 4900, "what the site asked for stays"


async def test_what_departed_before_a_reset_says_nothing(harness: Harness) -> None:
    """They were on their way when the site was repaired: they must not open the slot again."""
    _, breaker = await opened(harness)
    assert await breaker.reset("s")
    assert not await breaker.reset("s"), "asking twice forgets nothing"
    await harness.advance(20)
    assert told(await breaker.report([failed(20, age=25)])) == []
    assert (await breaker.look("s")).failed == 0
    await harness.advance(100)
    assert told(await breaker.report([failed(20, age=150)])) == []
    assert told(await breaker.report([failed(5, age=90)])) == [("s", Circuit.OPEN)]


async def test_a_reset_is_remembered_for_longer_than_the_window(harness: Harness) -> None:
    """Also when something went well since."""
    _, breaker = await opened(harness)
    assert await breaker.reset("s")
    await breaker.report([good()])
    await harness.advance(300)
    assert told(await breaker.report([failed(20, age=310), failed(20, "t", age=310)])) == [("t", Circuit.OPEN)]
    assert (await breaker.look("s")).failed == 0
