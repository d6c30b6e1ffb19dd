"""IRequestQueue.exchange where slots have limits. Intervals are so long that a slow server changes
nothing: only moved clocks count.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Bounds, Lease, SlotLimit

from .harness import Harness, bodies, entries

SLACK = 5.0  # s that a slow server may take for a few calls
LONG = 1e6  # s
ONE: dict[str, Any] = {
    "shards": 1,
    "lease": LONG,
}  # a slot and its limits live on one shard; crowds over several are in test_throttling.py


async def some(session: QueueSession, want: int = 100, **more: Any) -> list[Lease]:
    return list((await session.exchange(want=want, **more)).leases)


def departures(leases: Sequence[Lease]) -> list[float]:
    return [lease.wait for lease in leases]


async def test_departures_keep_the_interval(harness: Harness) -> None:
    limit = SlotLimit(interval=100)
    a, b = await harness.worker("a", **ONE, limit=limit), await harness.worker("b", second=True, **ONE, limit=limit)
    await a.push(entries(*range(4), slot="s"))
    first = await some(a)
    assert bodies(first) == ["0"]
    assert first[0].wait <= SLACK
    assert await some(b) == []
    await harness.advance(90)
    assert await some(b) == []
    await a.ack(first)  # a finished request doesn't bring the next one forward
    assert await some(a) == []
    await harness.advance(10)
    second = await some(b)
    assert bodies(second) == ["1"]
    # A slot that rested for long doesn't make up for it.
    await harness.advance(1000)
    await b.ack(second)
    assert bodies(await some(b)) == ["2"]
    assert await some(a) == []


async def test_departures_are_booked_a_little_ahead(harness: Harness) -> None:
    limit = SlotLimit(interval=10, concurrency=50)
    a = await harness.worker("a", **ONE, limit=limit, lookahead=95.0)
    b = await harness.worker("b", second=True, **ONE, limit=limit, lookahead=95.0)
    await a.push(entries(*range(30), slot="s"))
    first = await some(a, want=4)
    second = await some(b)
    waits = departures([*first, *second])
    assert 9 <= len(waits) <= 11
    assert waits == sorted(waits)
    gaps = [
        later - sooner for sooner, later in pairwise(waits[: len(first)])
    ]  # of one call: between two the clock runs on
    assert all(10 - 0.01 <= gap <= 10 + 0.01 for gap in gaps)
    assert waits[-1] <= 95
    await harness.advance(50)
    assert 4 <= len(await some(a)) <= 6


async def test_a_burst_is_allowed_after_a_rest(harness: Harness) -> None:
    limit = SlotLimit(interval=100, burst=3, concurrency=50)
    a = await harness.worker("a", **ONE, limit=limit)
    await a.push(entries(*range(20), slot="s"))
    assert bodies(await some(a)) == ["0", "1", "2"]
    await harness.advance(101)
    assert bodies(await some(a)) == ["3"]
    await harness.advance(201)
    assert bodies(await some(a)) == ["4", "5"]
    await harness.advance(5000)
    assert bodies(await some(a)) == ["6", "7", "8"]


async def test_jitter_varies_the_interval(harness: Harness) -> None:
    limit = SlotLimit(interval=100, jitter=0.5, concurrency=200)
    a = await harness.worker("a", **ONE, limit=limit, lookahead=6000.0)
    await a.push(entries(*range(60), slot="s"))
    waits = departures(await some(a))
    gaps = [later - sooner for sooner, later in pairwise(waits)]
    assert len(gaps) >= 50
    assert all(49 <= gap <= 151 for gap in gaps)
    assert min(gaps) < 80
    assert max(gaps) > 120
    assert 85 < sum(gaps) / len(gaps) < 115


async def test_permits_are_never_overbooked(harness: Harness) -> None:
    limit = SlotLimit(concurrency=4)
    sessions = [await harness.worker(f"w{i}", second=bool(i % 2), **ONE, limit=limit) for i in range(6)]
    await sessions[0].push(entries(*range(100), slot="s"))
    permits: dict[str, int] = {}
    loads: dict[str, int] = {}
    for _ in range(4):
        for session in sessions:
            load = loads.get(session.worker, 0)
            answer = await session.exchange(want=10, bounds=Bounds(loads={"s": load} if load else {}))
            loads[session.worker] = load + len(answer.leases)
            if answer.leases:
                permits[session.worker] = answer.permits["s"]
            assert sum(permits.values()) <= 4
    assert sum(permits.values()) == 4
    state = await harness.limiter(**ONE, limit=limit).look("s")
    assert state.permits == 4
    assert state.pending == 100 - sum(loads.values())


async def test_a_load_bounds_what_is_leased(harness: Harness) -> None:
    own = {"paced": SlotLimit(interval=1, burst=100, concurrency=4)}
    a = await harness.worker("a", **ONE, limit=SlotLimit(concurrency=4), names=own)
    await a.push(entries(*range(50), slot="s"))
    assert len(await some(a)) == 8
    assert len(await some(a, bounds=Bounds(loads={"s": 5}))) == 3
    assert await some(a, bounds=Bounds(loads={"s": 8})) == []
    await a.push(entries(*range(50), slot="paced"))
    assert len(await some(a, bounds=Bounds(full=["s"]))) == 4
    assert len(await some(a, bounds=Bounds(full=["s"], loads={"paced": 1}))) == 3


async def test_what_is_given_back_is_free(harness: Harness) -> None:
    limit = SlotLimit(concurrency=2)
    a, b = await harness.worker("a", **ONE, limit=limit), await harness.worker("b", second=True, **ONE, limit=limit)
    await a.push(entries(*range(20), slot="s"))
    held = await some(a, want=2, bounds=Bounds(loads={}))
    assert bodies(held) == ["0", "1"]
    assert await some(b) == []
    await a.exchange(ack=held, bounds=Bounds(keep_permits={"s": 0}))
    answer = await some(b, want=1)
    assert answer != []
    # More than it has can't be kept.
    await a.exchange(bounds=Bounds(keep_permits={"s": 5}))
    assert (await harness.limiter(**ONE, limit=limit).look("s")).permits <= 2


async def test_permits_are_shared_between_workers(harness: Harness) -> None:
    limit = SlotLimit(concurrency=8)
    a, b = await harness.worker("a", **ONE, limit=limit), await harness.worker("b", second=True, **ONE, limit=limit)
    await a.push(entries(*range(100), slot="s"))
    load = 0
    for _ in range(2):
        load += len((await a.exchange(want=16, bounds=Bounds(loads={"s": load} if load else {}))).leases)
    assert load == 16
    crowded = [name for _ in range(2) for name in (await b.exchange(want=4)).crowded]
    assert "s" in crowded
    asked = await a.exchange(bounds=Bounds(loads={"s": load}, keep_permits={"s": 8}))
    assert asked.permits == {"s": 4}
    assert (await a.exchange(bounds=Bounds(loads={"s": load}))).permits == {"s": 4}, "asked for until it answers"
    done = await a.exchange(bounds=Bounds(loads={"s": load}, keep_permits={"s": 4}))
    assert done.permits == {}
    got: list[Lease] = []
    for _ in range(2):
        answer = await b.exchange(want=16, bounds=Bounds(loads={"s": len(got)} if got else {}))
        got += answer.leases
        assert answer.permits.get("s", 0) <= 4
    assert len(got) == 8


async def test_a_granted_worker_asks_no_more(harness: Harness) -> None:
    limit = SlotLimit(concurrency=2)
    a, b = await harness.worker("a", **ONE, limit=limit), await harness.worker("b", second=True, **ONE, limit=limit)
    await a.push(entries(*range(20), slot="s"))
    held = await some(a, want=2, bounds=Bounds(loads={}))
    assert await some(b, want=1) == []
    await a.exchange(ack=held[:1], bounds=Bounds(loads={"s": 1}, keep_permits={"s": 1}))
    answer = await b.exchange(want=1)
    assert answer.permits == {"s": 1}
    await b.exchange(ack=answer.leases, bounds=Bounds(keep_permits={"s": 0}))
    assert (await a.exchange(want=1, bounds=Bounds(loads={"s": 1}))).permits == {"s": 2}


async def test_a_leaving_worker_frees_its_permits(harness: Harness) -> None:
    limit = SlotLimit(concurrency=2)
    a, b = await harness.worker("a", **ONE, limit=limit), await harness.worker("b", second=True, **ONE, limit=limit)
    await a.push(entries(*range(20), slot="s"))
    await some(a, want=2)
    await a.queue.close_worker("a")
    assert (await harness.limiter(**ONE, limit=limit).look("s")).permits == 0
    assert len((await some(b, want=2))[:2]) == 2


async def test_a_dead_worker_frees_its_permits(harness: Harness) -> None:
    limit = SlotLimit(concurrency=2)
    a = await harness.worker("a", shards=1, limit=limit)
    await a.push(entries(*range(20), slot="s"))
    await some(a, want=2)
    await harness.die()
    b = await harness.worker("b", second=True, shards=1, limit=limit)
    got = await some(b, want=2)
    assert bodies(got)[:2] == ["0", "1"]
    assert (await harness.limiter(shards=1, limit=limit).look("s")).permits == 2


@pytest.mark.parametrize("burst", [1, 3])
async def test_an_unused_departure_is_leased_again(harness: Harness, burst: int) -> None:
    a = await harness.worker("a", **ONE, limit=SlotLimit(interval=100, burst=burst), lookahead=50.0)
    await a.push([*entries(*range(20), slot="s"), *entries(*range(20, 30), slot="s", scopes=("@more",))])
    leases = await some(a)
    assert len(leases) == burst
    assert await some(a) == []
    unused = [lease.departure for lease in leases if lease.departure is not None]
    again = await some(a, bounds=Bounds(unused=unused))
    assert departures(again) == [0] * burst
    assert {lease.body for lease in again}.isdisjoint(lease.body for lease in leases)


async def test_who_gets_less_than_its_share_asks_for_the_rest_at_once(harness: Harness) -> None:
    """Also where it got something, and nothing else waits."""
    limit = SlotLimit(concurrency=8)
    a, b = await harness.worker("a", **ONE, limit=limit), await harness.worker("b", second=True, **ONE, limit=limit)
    await a.push(entries(*range(100), slot="s"))
    load = len(await some(a, want=7, bounds=Bounds(loads={})))
    assert load == 7
    answer = await b.exchange(want=16, bounds=Bounds(loads={}))
    assert (len(answer.leases), list(answer.crowded)) == (2, ["s"]), (
        "one permit is left: for one under way, one to come"
    )
    assert (await a.exchange(bounds=Bounds(loads={"s": load}, keep_permits={"s": 7}))).permits == {"s": 4}


async def test_permits_beside_the_queue_are_counted(harness: Harness) -> None:
    limit = SlotLimit(concurrency=3)
    a, b = await harness.worker("a", **ONE, limit=limit), await harness.worker("b", second=True, **ONE, limit=limit)
    for loads, granted in ((1, 1), (2, 2), (5, 3)):
        answer = await a.exchange(bounds=Bounds(wanted=["s"], loads={"s": loads}))
        assert answer.permits == {"s": granted}
    await a.push(entries(*range(4), slot="s"))
    assert await some(b) == [], "they are all taken"
    answer = await b.exchange(bounds=Bounds(wanted=["s"], loads={"s": 1}))
    assert (answer.permits, list(answer.crowded)) == ({"s": 0}, ["s"])
    asked = (await a.exchange()).permits["s"]
    assert asked < 3, "one that has more than its share is asked"
    await a.exchange(bounds=Bounds(keep_permits={"s": asked}))
    assert (await b.exchange(bounds=Bounds(wanted=["s"], loads={"s": 1}))).permits == {"s": 1}


async def test_scopes_hold_over_slots(harness: Harness) -> None:
    names = {"@account": SlotLimit(interval=100, concurrency=8), "@few": SlotLimit(concurrency=1)}
    rules = {**ONE, "limit": SlotLimit(concurrency=8), "names": names}
    a = await harness.worker("a", **rules)
    b = await harness.worker("b", second=True, **rules)
    mine = [e for slot in "stu" for e in entries(f"{slot}1", f"{slot}2", slot=slot, scopes=("@account",))]
    await a.push([*mine, *entries("free", slot="s")])
    first = (await a.exchange(want=10)).leases
    assert sorted(bodies(first)) == ["free", "s1"]
    assert {lease.slot for lease in first} == {"s"}
    assert {lease.scopes for lease in first} == {("@account",), ()}
    assert await some(b) == []
    await harness.advance(101)
    second = (await b.exchange(want=10)).leases
    assert [lease.scopes for lease in second] == [("@account",)]
    # Places of a scope, and its letters.
    await a.push([e for s in "xyz" for e in entries(s, slot=s, scopes=("@few",))])
    got = [
        lease
        for lease in (await a.exchange(want=10, bounds=Bounds(loads={"@few": 0}))).leases
        if "@few" in lease.scopes
    ]
    assert len(got) == 2, "one that goes and one that waits behind it"
    assert [x for x in (await b.exchange(want=10)).leases if "@few" in x.scopes] == []


async def test_held_slots_keep_nobody_waiting(harness: Harness) -> None:
    slow = {f"slow{n}": SlotLimit(interval=1000) for n in range(300)}
    a = await harness.worker("a", **ONE, limit=SlotLimit(), names=slow)
    for first in range(0, 300, 100):
        await a.push([e for n in range(first, first + 100) for e in entries(1, 2, slot=f"slow{n}")])
    leases = await harness.lease_all(a, want=50)
    assert sorted(lease.slot for lease in leases) == sorted(f"slow{n}" for n in range(300))
    await a.ack(leases)
    await a.push(entries("free", slot="free"))
    assert bodies(await some(a, want=10)) == ["free"]
    due = (await a.exchange(want=10)).next_due
    assert due is not None
    assert 1000 - 2 * SLACK <= due <= 1000
    await harness.advance(due + SLACK)
    assert len(await harness.lease_all(a, want=50)) == 300
    assert (await a.exchange(want=10)).size.pending == 0
