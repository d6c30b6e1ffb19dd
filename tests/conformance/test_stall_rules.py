"""IStalls: slots of which nothing succeeds any more. Only moved clocks count: bounds are so wide that a busy
machine changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.interfaces import IStalls
from mocra_scrapy.models import (
    Attempts,
    Bounds,
    BreakerRules,
    Circuit,
    Entry,
    Finish,
    LetterFilter,
    Outcome,
    Quota,
    SlotLimit,
    StallRules,
    Threshold,
)

from .harness import Harness, bodies, entries, fp

ONE: dict[str, Any] = {"lease": 1e6, "limit": SlotLimit(concurrency=8)}
RULES = StallRules(longest=900.0, attempts=10)
STALLED = LetterFilter(reason="stalled")


async def begin(harness: Harness, pages: int = 20, **more: Any) -> tuple[QueueSession, IStalls]:
    """A worker with entries in slots s and t, and the stalls on another client."""
    a = await harness.worker("a", **ONE)
    await a.push([*entries(*range(pages), slot="s", **more), *entries("t0", "t1", slot="t")])
    return a, harness.stalls(RULES, second=True, **ONE)


async def fail(harness: Harness, stalls: IStalls, times: int, every: float = 1.0, **more: Any) -> int:
    """So many failed attempts, one after the other; how many it took to give the slot up, 0: it was not."""
    for number in range(1, times + 1):
        await harness.advance(every)
        if await stalls.report([Attempts("s", why="503", **more)]):
            return number
    return 0


async def given_up(harness: Harness, **more: Any) -> tuple[QueueSession, IStalls]:
    a, stalls = await begin(harness, **more)
    assert await fail(harness, stalls, 20, 100) == 10
    return a, stalls


async def bury_all(session: QueueSession, want: int = 10) -> list[str]:
    """Exchanges until nothing is left to be made a letter; what was leased meanwhile."""
    leased: list[str] = []
    idle = 0
    while idle < 5:
        answer = await session.exchange(want=want, bounds=Bounds(full=["t"]))
        leased += bodies(answer.leases)
        idle = 0 if answer.stalled else idle + 1
    return leased


async def leased_of_s(harness: Harness, session: QueueSession) -> list[str]:
    """Of all slots: whoever finds something on one shard asks no other."""
    return [lease.body.decode() for lease in await harness.lease_all(session) if lease.slot == "s"]


async def letters(session: QueueSession) -> Sequence[Any]:
    return await session.queue.dead(10_000, where=STALLED)


async def test_a_slot_that_stalls_is_given_up(harness: Harness) -> None:
    a, stalls = await begin(harness)
    assert await fail(harness, stalls, 9, 200) == 0, "long enough, but few attempts"
    (state,) = await stalls.report([Attempts("s", why="a 503 at last")])
    assert state.slot == "s"
    assert state.attempts == 10
    assert 1590 < state.seconds < 1790
    assert "10 attempts" in state.given_up
    assert "a 503 at last" in state.given_up
    assert list(await stalls.report([Attempts("s")])) == [], "once"
    assert await fail(harness, harness.stalls(StallRules(0, 10), **ONE), 0) == 0
    del a


async def test_attempts_under_way_together_are_one(harness: Harness) -> None:
    _, stalls = await begin(harness)
    other = harness.stalls(RULES, **ONE)
    await stalls.report([Attempts("s")])
    await harness.advance(1000)
    for one in (stalls, other) * 10:
        assert list(await one.report([Attempts("s", age=1900)])) == []
    assert (await other.look("s")).attempts == 1, "they departed before the first one was known to have failed"
    for one in (stalls, other) * 4:
        assert list(await one.report([Attempts("s", age=0)])) == []
        await harness.advance(1)
    assert (await stalls.look("s")).attempts == 9
    assert len(await other.report([Attempts("s")])) == 1


async def test_a_success_ends_a_stall(harness: Harness) -> None:
    _, stalls = await begin(harness)
    other = harness.stalls(RULES, **ONE)
    assert await fail(harness, stalls, 9, 200) == 0
    assert list(await other.report([Attempts("s", failed=False)])) == []
    assert (await stalls.look("s")).attempts == 0
    assert await fail(harness, stalls, 9, 200) == 0
    assert (await stalls.look("s")).attempts == 9
    assert await fail(harness, stalls, 5, 200) == 1


async def test_a_wait_that_the_site_asked_for_is_believed_so_often(harness: Harness) -> None:
    _, stalls = await begin(harness)
    assert await fail(harness, stalls, 10, 605, hold=600) == 0
    state = await stalls.look("s")
    assert state.attempts == 10
    assert 40 < state.seconds < 300, "5 s behind each wait"
    await stalls.report([Attempts("s", hold=600)])
    assert (await stalls.look("s")).attempts == 10, "it left before the wait was over"
    assert await fail(harness, stalls, 1, 605, hold=600) == 0
    assert await fail(harness, stalls, 10, 605, hold=600) == 2, "ten times in vain: from now on the waits count"


async def test_a_worker_that_could_not_try_says_so(harness: Harness) -> None:
    _, stalls = await begin(harness)
    assert await fail(harness, stalls, 10, 1) == 0
    await harness.advance(50_000)
    assert list(await stalls.report([Attempts("s", working=5.0, age=3.0)])) == []
    assert (await stalls.look("s")).seconds < 400
    assert list(await stalls.report([Attempts("s", working=6.0)])) == []


async def test_a_used_up_quota_is_no_stall(harness: Harness) -> None:
    limit = SlotLimit(quotas=(Quota(10, 86_400.0),))
    a = await harness.worker("a", **{**ONE, "limit": limit})
    stalls = harness.stalls(RULES, second=True, **{**ONE, "limit": limit})
    await a.push(entries(*range(20), slot="s"))
    assert len((await a.exchange(want=20)).leases) == 10
    assert await fail(harness, stalls, 5) == 0
    assert await fail(harness, stalls, 1, 90_000) == 0, "a day in which nothing could be tried"
    assert (await stalls.look("s")).seconds < 4000
    assert await fail(harness, stalls, 20, 100) > 0


async def test_a_pause_stops_the_stall_clock(harness: Harness) -> None:
    _, stalls = await begin(harness)
    limiter = harness.limiter(**ONE)
    assert await fail(harness, stalls, 10, 1) == 0
    await limiter.pause("s")
    await harness.advance(50_000)
    await limiter.resume("s")
    assert list(await stalls.report([Attempts("s")])) == []
    assert (await stalls.look("s")).seconds < 400


async def test_a_slot_without_requests_does_not_stall(harness: Harness) -> None:
    a, stalls = await begin(harness, pages=1)
    leases = await harness.lease_all(a)
    mine = [lease for lease in leases if lease.slot == "s"]
    assert await fail(harness, stalls, 10, 10) == 0
    assert (await stalls.look("s")).seconds > 80, "it is in flight"
    await a.exchange(ack=mine, bounds=Bounds(keep_permits={"s": 0}))
    assert await fail(harness, stalls, 1, 10) == 0
    await harness.advance(50_000)
    assert list(await stalls.report([Attempts("s", age=20.0)])) == []
    assert (await stalls.look("s")).seconds < 800


async def test_a_given_up_slot_becomes_letters(harness: Harness) -> None:
    a, _ = await given_up(harness, fingerprint=None)
    await a.push(entries("late", slot="s", delay=5000.0))
    assert await bury_all(a) == []
    found = await letters(a)
    assert sorted(letter.body.decode() for letter in found) == sorted([*map(str, range(20)), "late"])
    letter = found[0]
    assert (letter.slot, letter.reason, letter.done) == ("s", "stalled", False)
    assert "10 attempts in a row failed" in letter.detail
    size = await a.queue.size()
    assert (size.pending, size.delayed) == (2, 0)


async def test_what_is_given_up_moves_in_bounded_steps(harness: Harness) -> None:
    a, stalls = await begin(harness, pages=450)
    await a.push(entries(*(f"d{i}" for i in range(450)), slot="s", delay=80_000.0))
    leases = [lease for lease in (await a.exchange(want=4, bounds=Bounds(full=["t"]))).leases if lease.slot == "s"]
    assert await fail(harness, stalls, 20, 100) == 10
    answer = await a.exchange()
    assert answer.stalled == 0, "who wants nothing is left alone"
    steps: list[int] = []
    while sum(steps) < 900 - len(leases):
        assert len(steps) < 100, "each call moves some, or asks another shard"
        answer = await a.exchange(want=1, bounds=Bounds(full=["t"]))
        steps.append(answer.stalled)
        if answer.stalled and sum(steps) < 900 - len(leases):
            assert answer.next_due == 0
    assert sum(steps) == 900 - len(leases)
    assert max(steps) <= 400
    assert len(steps) > 4
    size = await a.queue.size()
    assert (size.pending, size.delayed, size.leased) == (2, 0, len(leases))
    await a.exchange(release=leases)
    assert await bury_all(a) == [], "what comes back goes as well"
    assert len(await letters(a)) == 900


async def test_new_entries_of_a_given_up_slot_become_letters(harness: Harness) -> None:
    a, _ = await given_up(harness)
    await bury_all(a)
    stored = await a.exchange(push=entries("new", slot="s", fingerprint=fp("new")))
    assert list(stored.stored) == [True]
    await a.push(entries("delayed", slot="s", delay=9000.0))
    assert await bury_all(a) == []
    assert {"new", "delayed"} <= {letter.body.decode() for letter in await letters(a)}


async def test_other_slots_go_on(harness: Harness) -> None:
    a, _ = await given_up(harness, pages=300)
    leased: list[str] = []
    for _ in range(10):
        leased += bodies((await a.exchange(want=5)).leases)
    assert sorted(leased) == ["t0", "t1"]


async def test_a_replay_opens_a_given_up_slot(harness: Harness) -> None:
    a, stalls = await given_up(harness)
    await bury_all(a)
    found = await letters(a)
    assert list(await a.queue.replay([letter.id for letter in found])) == [True] * 20
    assert not (await stalls.look("s")).given_up
    assert len(await leased_of_s(harness, a)) >= 8
    assert await fail(harness, stalls, 9, 200) == 0, "its clock begins anew"


async def test_giving_up_ends_with_the_run(harness: Harness) -> None:
    a, stalls = await given_up(harness)
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    while leases := await harness.lease_all(a):
        await a.exchange(ack=leases, bounds=Bounds(keep_permits={"s": 0, "t": 0}))
    await bury_all(a)
    assert await a.queue.finish("a") is Finish.WON
    assert list(await stalls.report([Attempts("s")])) == [], "nothing is counted after the end"
    await a.queue.close_worker("a")
    assert await harness.residue() == set()
    await a.queue.join("a")
    await a.push(entries("again", slot="s"))
    assert bodies(await harness.lease_all(a)) == ["again"]
    assert len(await letters(a)) == 20


async def test_a_slot_that_opens_too_often_is_given_up(harness: Harness) -> None:
    threshold = Threshold(window=100, failures=5, kinds=frozenset({"timeout"}))
    rules = BreakerRules(slot=threshold, hold=100.0, longest=300.0, probes=2, openings=3)
    a, stalls = await begin(harness)
    breaker = harness.breaker(rules, **ONE)
    (change,) = (await breaker.report([Outcome("s", "timeout", 5)])).changes
    assert (change.times, change.given_up) == (1, "")
    await harness.advance(101)
    (change,) = (await breaker.report([Outcome("s", "timeout")])).changes
    assert (change.times, change.given_up) == (2, "")
    await harness.advance(201)
    (change,) = (await breaker.report([Outcome("s", "timeout")])).changes
    assert (change.after, change.times) == (Circuit.OPEN, 3)
    assert change.given_up == "its circuit opened 3 times in a row, the last probe failed"
    assert (await stalls.look("s")).given_up == change.given_up
    for _ in range(4):
        (opened,) = (await breaker.report([Outcome("proxy:10.0.0.1:80", "timeout", 5)])).changes
        assert not opened.given_up, "of a proxy nothing is stored"
        await harness.advance(301)
    assert await bury_all(a) == []
    found = await letters(a)
    assert len(found) == 20
    assert await a.queue.replay([found[0].id])
    assert await leased_of_s(harness, a) == [found[0].body.decode()], "at once"
    assert (await breaker.look("s")).circuit is Circuit.CLOSED


async def test_a_look_shows_the_stall(harness: Harness) -> None:
    _, stalls = await begin(harness)
    state = await stalls.look("s")
    assert (state.slot, state.attempts, state.seconds, state.given_up) == ("s", 0, 0.0, "")
    await fail(harness, stalls, 3, 100)
    state = await stalls.look("s")
    assert state.attempts == 3
    assert 195 < state.seconds < 400


async def test_a_reset_opens_a_given_up_slot(harness: Harness) -> None:
    a, stalls = await given_up(harness)
    assert await stalls.reset("s")
    assert not await stalls.reset("s")
    assert len(await leased_of_s(harness, a)) >= 8
    assert (await stalls.look("s")).attempts == 0


async def test_what_is_delayed_keeps_its_order_when_a_slot_is_given_up(harness: Harness) -> None:
    a, stalls = await begin(harness, 2)
    delays = [float(5_000 + 7 * ((13 * n) % 40)) for n in range(40)]
    await a.push([Entry(str(delay).encode(), "st"[n % 3 > 0], delay=delay) for n, delay in enumerate(delays)])
    assert await fail(harness, stalls, 20, 100) == 10
    kept = sorted(delay for n, delay in enumerate(delays) if n % 3)
    order: list[str] = []
    for _ in range(50):
        await harness.advance(100)
        order += [body for body in bodies(await harness.lease_all(a)) if "." in body]
    assert [float(body) for body in order] == kept
