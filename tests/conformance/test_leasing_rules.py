"""IRequestQueue.exchange: who gets what, in which order."""

from __future__ import annotations

from collections import Counter

import pytest

from mocra_scrapy.models import LEASED_BYTES, MAX_PRIORITY, MIN_PRIORITY, Bounds, Entry, SlotLimit

from .harness import Harness, bodies, entries


async def test_a_leased_entry_is_hidden(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries(*range(5), slot="s"))
    assert bodies(await harness.lease_all(a)) == list("01234")
    assert await harness.lease_all(b) == []
    assert await harness.lease_all(a) == []
    assert await a.queue.peek() == []
    size = await b.queue.size()
    assert (size.pending, size.leased) == (0, 5)


async def test_priority_then_order(harness: Harness) -> None:
    a = await harness.worker("a")
    priorities = [0, 5, -3, 0, 100, 5, 1, -3, MAX_PRIORITY, MIN_PRIORITY, 7, 0]
    for i, priority in enumerate(priorities):
        await a.push(entries(i, slot="s", priority=priority))
    expected = [str(i) for i, _ in sorted(enumerate(priorities), key=lambda x: (-x[1], x[0]))]
    one_by_one = []
    for _ in range(len(priorities) * harness.shards * 2):
        one_by_one += await a.lease(1)
    assert bodies(one_by_one) == expected
    await a.release(one_by_one)
    assert bodies(await harness.lease_all(a, want=5)) == expected
    # Something better that comes later goes first.
    await a.push(entries("low", slot="s", priority=-1))
    await a.push(entries("high", slot="s", priority=1))
    assert bodies(await harness.lease_all(a)) == ["high", "low"]


async def test_lifo_order(harness: Harness) -> None:
    a = await harness.worker("a", lifo=True)
    await a.push(entries(1, 2, slot="s"))
    await a.push(entries(3, slot="s"))
    await a.push(entries(4, slot="s", priority=1))
    await a.push(entries("s1", "s2", slot="s", start=True))
    leases = await harness.lease_all(a)
    assert bodies(leases) == ["4", "3", "2", "1", "s1", "s2"]
    # What is given back is next again, before anything newer is.
    await a.release(leases[1:])
    assert bodies(await harness.lease_all(a)) == ["3", "2", "1", "s1", "s2"]


async def test_start_entries_come_last(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push(entries("s1", "s2", slot="s", start=True))
    await a.push(entries("high start", slot="s", start=True, priority=1))
    await a.push(entries("x1", "x2", slot="s"))
    assert bodies(await harness.lease_all(a)) == ["high start", "x1", "x2", "s1", "s2"]


async def test_slots_take_turns(harness: Harness) -> None:
    a = await harness.worker("a", shards=1)  # turns are taken within a shard
    names = [f"s{i}" for i in range(5)]
    # A large slot comes first, and does not hold the others up.
    await a.push([Entry(f"{name}{i}".encode(), name) for name in names for i in range(6)])
    order = []
    for _ in range(30):
        (lease,) = await a.lease(1)
        order.append(lease.slot)
    for at in range(26):
        assert len(set(order[at : at + 5])) == 5
    # Several at a time: an equal share each, and what small ones leave goes to the large.
    await a.push([Entry(b"", name) for name in ["big"] * 50 + ["x", "y", "z", "z"]])
    assert Counter(x.slot for x in await a.lease(8)) == {"big": 4, "x": 1, "y": 1, "z": 2}
    assert Counter(x.slot for x in await a.lease(100)) == {"big": 46}
    # A slot that becomes ready waits for those that wait longer, not for those that were served
    # since.
    await a.push(entries(*range(9), slot="p"))
    await a.push(entries(*range(9), slot="q"))
    order = [(await a.lease(1))[0].slot]
    await a.push(entries(*range(9), slot="r"))
    for _ in range(6):
        order.append((await a.lease(1))[0].slot)
    assert order == ["p", "q", "p", "r", "q", "p", "r"]


async def test_full_slots_are_passed_over(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push([Entry(b"", slot) for slot in ["f", "g", "h", "f", "g", "h"]])
    got = await harness.lease_all(a, bounds=Bounds(full=["f", "h", "unknown"]))
    assert [x.slot for x in got] == ["g", "g"]
    assert await harness.lease_all(a, bounds=Bounds(full=["f", "h"])) == []
    assert [x.slot for x in await harness.lease_all(a, bounds=Bounds(full=["f"]))] == ["h", "h"]
    assert [x.slot for x in await harness.lease_all(a)] == ["f", "f"]


async def test_per_slot_is_a_limit(harness: Harness) -> None:
    a = await harness.worker("a", shards=1)
    await a.push([Entry(b"", slot) for slot in ["a"] * 10 + ["b"] * 3 + ["c"]])
    assert Counter(x.slot for x in (await a.exchange(want=100, bounds=Bounds(per_slot=2))).leases) == {
        "a": 2,
        "b": 2,
        "c": 1,
    }
    assert Counter(x.slot for x in (await a.exchange(want=100, bounds=Bounds(per_slot=3, full=["b"]))).leases) == {
        "a": 3
    }
    got = (await a.exchange(want=100, bounds=Bounds(per_slot=0))).leases
    assert Counter(x.slot for x in got)["b"] == 1


async def test_want_is_a_limit(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push([Entry(b"", f"s{i % 7}") for i in range(40)])
    assert list((await a.exchange()).leases) == []
    assert (await a.queue.size()).leased == 0
    for want in (1, 2, 3, 5, 8):
        before = (await a.queue.size()).leased
        got = await a.lease(want)
        assert len(got) <= want
        assert (await a.queue.size()).leased == before + len(got)
    assert len(await harness.lease_all(a, want=7)) + before + len(got) == 40


@pytest.mark.parametrize("limit", [None, SlotLimit(concurrency=1000)], ids=["plain", "limits"])
async def test_an_answer_is_of_bounded_size(harness: Harness, limit: SlotLimit | None) -> None:
    a = await harness.worker("a", limit=limit)
    size, expected = 150_000, []
    for i in range(24):
        body = b"%d " % i + b"x" * size
        expected.append(body)
        await a.push([Entry(body, f"s{i % 5}" if i < 16 else "t", i % 3)])
    monster = b"monster" + b"x" * 3_000_000
    await a.push([Entry(monster, "m", 9)])
    got: list[bytes] = []
    while len(got) < 25:
        answer = await a.exchange(want=100)
        leases = [lease.body for lease in answer.leases]
        assert leases
        assert sum(map(len, leases)) - max(map(len, leases)) < LEASED_BYTES
        assert sum(map(len, leases)) <= LEASED_BYTES or monster in leases
        assert answer.size.leased == len(answer.leases)
        assert list(await a.ack(answer.leases)) == [True] * len(leases)
        got += leases
    assert sorted(got) == sorted([*expected, monster])
    # Large ones are not overtaken within their slot.
    many = [b"%d" % i + b"x" * (200_000 if i % 4 == 0 else 10) for i in range(40)]
    await a.push([Entry(body, "s") for body in many])
    got = []
    while len(got) < 40:
        some = await a.lease(40)
        got += [lease.body for lease in some]
        await a.ack(some)
    assert got == many
    assert not (await a.queue.size()).unfinished
