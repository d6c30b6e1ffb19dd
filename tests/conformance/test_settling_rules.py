"""IRequestQueue.exchange: ack, release, bury."""

from __future__ import annotations

import pytest

from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import Burial, Entry, Lease

from .harness import Harness, bodies, entries, fp


async def test_ack_removes_the_entry(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push(entries(1, 2, slot="s"))
    leases = await harness.lease_all(a)
    assert list(await a.ack(leases[:1])) == [True]
    assert (await a.queue.size()).unfinished == 1
    await harness.die()
    b = await harness.worker("b", second=True)
    assert bodies(await harness.lease_all(b)) == ["2"]


async def test_a_second_ack_is_refused(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push(entries(1, 2, slot="s"))
    one, two = await harness.lease_all(a)
    assert list(await a.ack([one, one])) == [True, False]
    answer = await a.exchange(ack=[one, two], release=[two, one], bury=[Burial(one, "unreadable")])
    assert (list(answer.acked), list(answer.released), list(answer.buried)) == ([False, True], [False, False], [False])
    assert answer.size.unfinished == answer.size.dead == 0


async def test_a_stale_owner_changes_nothing(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries(1, 2, 3, slot="s"))
    theirs = await harness.lease_all(a)
    # Not the owner:
    answer = await b.exchange(ack=theirs[:1], release=theirs[1:2], bury=[Burial(theirs[2], "unreadable")])
    assert not any([*answer.acked, *answer.released, *answer.buried])
    # Not the owner any more:
    await harness.die()
    mine = await harness.lease_all(b)
    assert bodies(mine) == ["1", "2", "3"]
    answer = await a.exchange(ack=theirs[:1], release=theirs[1:2], bury=[Burial(theirs[2], "unreadable")])
    assert not any([*answer.acked, *answer.released, *answer.buried])
    size = await a.queue.size()
    assert (size.pending, size.leased, size.dead) == (0, 3, 0)
    assert list(await b.ack(mine)) == [True, True, True]


async def test_release_gives_back_in_order(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries(*range(6), slot="s"))
    first = await a.lease(4 * harness.shards)
    rest = await harness.lease_all(b)
    assert bodies([*first, *rest]) == [str(i) for i in range(6)]
    assert list(await b.release(rest)) == [True] * len(rest)
    assert list(await a.release(first)) == [True] * len(first)
    again = await harness.lease_all(b)
    assert bodies(again) == [str(i) for i in range(6)]
    assert {(lease.deliveries, lease.first_lost_at) for lease in again} == {(1, None)}


async def test_bury_makes_a_dead_letter(harness: Harness) -> None:
    a = await harness.worker("a", max_dead=3)
    await a.push([Entry(b"bad", "s", 5, start=True)])
    (lease,) = await harness.lease_all(a)
    assert list(await a.bury([Burial(lease, "unreadable", "what a person reads ü")])) == [True]
    (letter,) = await a.queue.dead()
    assert (letter.reason, letter.detail, letter.body) == ("unreadable", "what a person reads ü", b"bad")
    assert (letter.slot, letter.priority, letter.start, letter.deliveries) == ("s", 5, True, 1)
    assert letter.worker == "a"
    assert letter.died_at > 1e9
    assert letter.first_lost_at is None
    size = await a.queue.size()
    assert (size.unfinished, size.dead) == (0, 1)
    # No more than max_dead are kept, the oldest go.
    await a.push(entries(1, 2, 3, slot="s"))
    for lease in await harness.lease_all(a):
        await a.bury([Burial(lease, "unreadable")])
    assert [x.body for x in await a.queue.dead()] == [b"1", b"2", b"3"]
    assert (await a.queue.size()).dead == 3


async def test_children_are_stored_before_the_parent_goes(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push(entries("parent", slot="s"))
    (parent,) = await harness.lease_all(a)
    children = [Entry(str(i).encode(), f"slot{i}", fingerprint=fp(i)) for i in range(12)]
    answer = await a.exchange(push=children, ack=[parent])
    assert list(answer.stored) == [True] * 12
    assert list(answer.acked) == [True]
    assert answer.size.pending + answer.size.delayed >= 1
    # Nor does it go while a part of the server refuses one of them, neither acked nor buried.
    leases = await harness.lease_all(a)
    assert sorted(bodies(leases)) == sorted(str(i) for i in range(12))
    if await harness.refuse("broken"):
        with pytest.raises(MocraError):
            await a.exchange(push=entries(1, slot="broken"), ack=leases)
        assert (await a.queue.workers())[0].held == 12
        records = [Burial(lease, "callback", "ValueError", done=True) for lease in leases]
        with pytest.raises(MocraError):
            await a.exchange(push=entries(1, slot="broken"), bury=records)
        assert (await a.queue.workers())[0].held == 12
        assert await a.queue.dead() == []
        answer = await a.exchange(push=entries(1, slot="whole"), bury=records)
        assert list(answer.buried) == [True] * 12
        assert len(await a.queue.dead()) == 12


async def test_children_of_a_stale_parent_are_not_stored(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries("parent", "other", slot="s"))
    leases = {lease.body: lease for lease in await harness.lease_all(a)}
    stale = leases[b"parent"]
    await harness.die()
    taken = {lease.body: lease for lease in await harness.lease_all(b)}

    def children(parent: Lease) -> list[Entry]:
        return [
            Entry(b"child", "s", fingerprint=fp("child"), parent=parent),
            Entry(b"delayed", "s", delay=5, parent=parent),
            Entry(b"counted", "s", priority=3, budgets=("slot:s",), parent=parent),
        ]

    push = [Entry(b"before", "s"), *children(stale), Entry(b"after", "s")]
    answer = await a.exchange(push=push, ack=[stale])
    assert (list(answer.stored), list(answer.acked)) == ([True, False, False, False, True], [False])
    assert answer.stale == {1, 2, 3}
    assert not answer.refused
    # Whoever holds it now stores them, with its ack: nothing of the first time is known.
    answer = await b.exchange(push=children(taken[b"parent"]), ack=[taken[b"parent"]])
    assert (list(answer.stored), list(answer.acked), answer.stale) == ([True] * 3, [True], frozenset())
    # An ack of before is no parent any more either.
    answer = await b.exchange(push=children(taken[b"parent"])[1:], ack=[taken[b"other"]])
    assert (list(answer.stored), list(answer.acked), answer.stale) == ([False] * 2, [True], {0, 1})
    await harness.advance(6)
    assert sorted(bodies(await harness.lease_all(b))) == ["after", "before", "child", "counted", "delayed"]


async def test_a_stale_ack_still_stores_its_children(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries("parent", slot="s"))
    (stale,) = await harness.lease_all(a)
    await harness.die()
    (taken,) = await harness.lease_all(b)
    answer = await a.exchange(push=[Entry(b"child", "t", fingerprint=fp("child"))], ack=[stale])
    assert (list(answer.stored), list(answer.acked)) == ([True], [False])
    assert bodies(await harness.lease_all(a)) == ["child"]
    # The one who holds it now finds the same child: known, not stored twice.
    answer = await b.exchange(push=[Entry(b"child", "t", fingerprint=fp("child"))], ack=[taken])
    assert (list(answer.stored), list(answer.acked)) == ([False], [True])
