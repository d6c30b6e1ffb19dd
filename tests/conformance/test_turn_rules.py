"""IRequestQueue.exchange: who is next where slots wait for something, and how they come back."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Bounds, Entry, Lease, LimitChange, SlotLimit

from .harness import LEASE, Harness, bodies, entries

LONG = 1e6  # s
ONE: dict[str, Any] = {"shards": 1, "lease": LONG}


async def at_once(session: QueueSession, want: int, **more: Any) -> list[Lease]:
    """What can be had without waiting: calls are made as long as the queue asks for the next one."""
    got: list[Lease] = []
    for _ in range(100):
        answer = await session.exchange(want=want - len(got), **more)
        got += answer.leases
        if len(got) >= want or answer.next_due != 0:
            return got
    raise AssertionError("it never says that there is nothing more")


async def test_who_waits_for_one_name_takes_turns(harness: Harness) -> None:
    rules = {**ONE, "limit": SlotLimit(), "names": {"@gate": SlotLimit(interval=100, concurrency=50)}}
    a, b = await harness.worker("a", **rules), await harness.worker("b", second=True, **rules)
    slots = [f"s{n:02}" for n in range(12)]
    push = [Entry(f"{slot}/{n}".encode(), slot, scopes=("@gate",)) for slot in slots for n in range(3)]
    await a.push(push)
    await a.push(entries("free 1", "free 2", slot="free"))
    served: list[str] = []
    for turn in range(2 * len(slots)):
        got = list((await (a, b)[turn % 2].exchange(want=5)).leases)
        served += [lease.slot for lease in got if lease.scopes]
        assert turn or "free 1" in bodies(got), "the scope keeps nobody else waiting"
        await harness.advance(101)
    assert len(served) == 2 * len(slots)
    assert set(served[: len(slots)]) == set(served[len(slots) :]) == set(slots)
    # A slot that comes later waits for those that wait longer, one that was served for all others.
    await a.push([Entry(b"late", "late", scopes=("@gate",))])
    order = []
    for _ in range(len(slots) + 1):
        order += [lease.slot for lease in (await a.exchange(want=1)).leases]
        await harness.advance(101)
    assert sorted(order) == sorted([*slots, "late"])
    assert (await a.exchange(want=5)).size.pending == 0


@pytest.mark.parametrize("scope", [(), ("@gate",)], ids=["slots", "scope"])
async def test_crowded_slots_keep_nobody_waiting(harness: Harness, scope: Any) -> None:
    """300 slots with one permit each, which another worker has."""
    one = SlotLimit(concurrency=1)
    a = await harness.worker("a", **ONE, limit=one)
    b = await harness.worker("b", second=True, **ONE, limit=one)
    slots = [f"slow{n}" for n in range(300)]
    await a.push([Entry(f"{slot}/{n}".encode(), slot, scopes=scope) for slot in slots for n in range(3)])
    held = await at_once(a, 300)
    assert len({lease.slot for lease in held}) == 300
    loads = dict(Counter(name for lease in held for name in (lease.slot, *lease.scopes)))
    assert await at_once(b, 40) == []
    answer = await b.exchange(want=40)
    assert (list(answer.leases), answer.next_due != 0) == ([], True), "nothing is looked at again"
    await a.push([Entry(b"fast", f"fast{n}") for n in range(40)])
    assert {lease.slot for lease in (await b.exchange(want=40)).leases} == {f"fast{n}" for n in range(40)}
    # Whoever has permits goes on with what it has.
    held += await at_once(a, 300, bounds=Bounds(loads=loads))
    assert len(held) == 600
    # Nor does what it has its share of, when nobody else has looked at it.
    mine = [f"mine{n}" for n in range(300)]
    await a.push([Entry(f"{slot}/{n}".encode(), slot, scopes=scope) for slot in mine for n in range(3)])
    for _ in range(2):
        loads = dict(Counter(name for lease in held for name in (lease.slot, *lease.scopes)))
        held += await at_once(a, 300, bounds=Bounds(loads=loads))
    assert len(held) == 1200
    loads = dict(Counter(name for lease in held for name in (lease.slot, *lease.scopes)))
    await a.push([Entry(b"late", f"late{n}") for n in range(40)])
    late = await at_once(a, 40, bounds=Bounds(loads=loads))
    assert {lease.slot for lease in late} == {f"late{n}" for n in range(40)}


async def test_a_crowded_slot_takes_turns_with_others(harness: Harness) -> None:
    one = SlotLimit(concurrency=1)
    a = await harness.worker("a", **ONE, limit=one)
    b = await harness.worker("b", second=True, **ONE, limit=one)
    await a.push(entries(*range(5), slot="crowded"))
    (first,) = (await a.exchange(want=1)).leases
    assert list((await b.exchange(want=1)).leases) == []
    await a.push(entries("other 1", "other 2", slot="other"))
    loads = Bounds(loads={"crowded": 1})
    assert bodies((await a.exchange(want=1, bounds=loads)).leases) == ["1"], "it has waited for longer"
    got = (await a.exchange(want=1, ack=[first], bounds=loads)).leases
    assert bodies(got) == ["other 1"], "now the other one has"


async def _gives_back(harness: Harness, a: QueueSession, held: list[Lease], options: Any) -> None:
    await a.exchange(ack=held, bounds=Bounds(keep_permits={"s": 0, "@gate": 0}))


async def _leaves(harness: Harness, a: QueueSession, held: list[Lease], options: Any) -> None:
    await a.ack(held)
    await a.queue.close_worker("a")


async def _dies(harness: Harness, a: QueueSession, held: list[Lease], options: Any) -> None:
    await a.ack(held)
    for _ in range(2):  # b calls meanwhile
        await harness.advance(LEASE / 2 + 1)
        await harness.heir.exchange()  # type: ignore[attr-defined]


async def _is_declared_dead(harness: Harness, a: QueueSession, held: list[Lease], options: Any) -> None:
    await a.ack(held)
    await a.queue.declare_dead("a")


async def _changes_the_limit(harness: Harness, a: QueueSession, held: list[Lease], options: Any) -> None:
    limiter = harness.limiter(**options)
    for name in ("s", "@gate"):
        await limiter.change(name, LimitChange(interval=0.0, burst=50, concurrency=50))


async def _resumes(harness: Harness, a: QueueSession, held: list[Lease], options: Any) -> None:
    limiter = harness.limiter(**options)
    for name in ("s", "@gate"):
        await limiter.resume(name)


async def _waits(harness: Harness, a: QueueSession, held: list[Lease], options: Any) -> None:
    await a.exchange()
    await harness.advance(30)
    await a.exchange()
    await harness.heir.exchange()  # type: ignore[attr-defined]


CROWDED, PACED, PAUSED = SlotLimit(concurrency=1), SlotLimit(interval=30), SlotLimit(concurrency=50)
ENDS = [
    (_gives_back, CROWDED),
    (_leaves, CROWDED),
    (_dies, CROWDED),
    (_is_declared_dead, CROWDED),
    (_changes_the_limit, CROWDED),
    (_changes_the_limit, PACED),
    (_waits, PACED),
    (_resumes, PAUSED),
]


@pytest.mark.parametrize("scope", [(), ("@gate",)], ids=["slot", "scope"])
@pytest.mark.parametrize(("end", "limit"), ENDS, ids=lambda value: getattr(value, "__name__", None))
async def test_what_ends_a_wait_is_noticed(harness: Harness, end: Any, limit: SlotLimit, scope: Any) -> None:
    """Of one slot, or of two under one scope."""
    options: dict[str, Any] = {"shards": 1, "limit": SlotLimit(concurrency=50) if scope else limit}
    options["names"] = {"@gate": limit}
    a = await harness.worker("a", **options)
    b = await harness.worker("b", second=True, **options)
    harness.heir = b  # type: ignore[attr-defined]
    push = [Entry(b"%d" % n, "t" if scope and n % 2 else "s", scopes=scope) for n in range(8)]
    await a.push(push)
    held: list[Lease] = []
    if limit is PAUSED:
        limiter = harness.limiter(**options)
        for name in ("s", "@gate"):
            await limiter.pause(name)
    else:
        held = list((await a.exchange(want=2)).leases)
        assert held
    for _ in range(3):
        assert await at_once(b, 4) == [], "it waits"
        assert await at_once(a, 4, bounds=Bounds(loads={"s": 2, "t": 2, "@gate": 2})) == []
    await end(harness, a, held, options)
    assert len(await at_once(b, 1)) == 1
    audit = await b.queue.audit()
    assert not audit.differs, audit


async def test_without_limits_nothing_waits_for_one(harness: Harness) -> None:
    """A run goes on with other settings."""
    one = SlotLimit(concurrency=1)
    rules = {**ONE, "limit": one, "names": {"@gate": one}}
    a, b = await harness.worker("a", **rules), await harness.worker("b", second=True, **rules)
    await a.push([Entry(b"%d" % n, f"s{n % 4}", scopes=("@gate",) if n % 2 else ()) for n in range(24)])
    got = await at_once(a, 24)
    got += await at_once(b, 24)
    c = await harness.worker("c", **ONE)
    got += await harness.lease_all(c)
    assert sorted(bodies(got), key=int) == [str(n) for n in range(24)]
