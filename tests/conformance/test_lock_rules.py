"""ILocks: locks and semaphores."""

from __future__ import annotations

import asyncio
import time

from .harness import Harness


async def test_a_lock_has_one_owner(harness: Harness) -> None:
    locks, others = harness.locks("door", "gate"), harness.locks(second=True)
    got = await asyncio.gather(*(one.acquire("door", f"o{i}", 10) for i in range(4) for one in (locks, others)))
    grants = [grant for grant in got if grant is not None]
    assert len({(grant.owner, grant.number) for grant in grants}) == 1
    assert grants[0].name == "door"
    assert 0 < grants[0].expires_in <= 10
    assert await locks.acquire("gate", "x", 10), "another name is free"


async def test_a_semaphore_has_limited_places(harness: Harness) -> None:
    locks, others = harness.locks(), harness.locks(second=True)
    got = [await (locks, others)[i % 2].acquire("door", f"o{i}", 10 + i, limit=3) for i in range(5)]
    assert [grant is not None for grant in got] == [True, True, True, False, False]
    assert got[1] is not None
    assert await others.release("door", "o1", got[1].number)
    assert await locks.acquire("door", "o4", 10, limit=3)
    assert await locks.acquire("door", "o5", 10, limit=3) is None
    await harness.advance(10.5)
    assert await locks.acquire("door", "o5", 10, limit=3), "o0 and o4 ran out"
    assert await locks.acquire("door", "o6", 10, limit=3)
    assert await locks.acquire("door", "o7", 10, limit=3) is None


async def test_acquiring_again_is_renewing(harness: Harness) -> None:
    locks = harness.locks()
    first = await locks.acquire("door", "a", 10)
    assert first is not None
    await harness.advance(6)
    again = await harness.locks(second=True).acquire("door", "a", 10)
    assert again is not None
    assert again.number == first.number
    await harness.advance(6)
    assert await locks.acquire("door", "b", 10) is None
    await harness.advance(5)
    late = await locks.acquire("door", "a", 10)
    assert late is not None
    assert late.number > first.number


async def test_grants_grow(harness: Harness) -> None:
    locks = harness.locks()
    numbers = []
    for i in range(6):
        grant = await locks.acquire("door", f"o{i}", 5)
        assert grant is not None
        numbers.append(grant.number)
        match i % 3:
            case 0:
                assert await locks.release("door", f"o{i}", grant.number)
            case 1:
                await harness.advance(6 if i < 3 else 500_000)
            case _:
                await harness.wipe()
    assert numbers == sorted(set(numbers))


async def test_an_expired_lock_is_free(harness: Harness) -> None:
    locks = harness.locks()
    assert await locks.acquire("door", "a", 5)
    await harness.advance(4.5)
    assert await locks.acquire("door", "b", 5) is None
    await harness.advance(0.6)
    assert await locks.acquire("door", "b", 5)


async def test_a_lost_lock_is_not_renewed(harness: Harness) -> None:
    locks = harness.locks()
    grant = await locks.acquire("door", "a", 5)
    assert grant is not None
    await harness.advance(4)
    assert await locks.renew("door", "a", grant.number, 5)
    assert not await locks.renew("door", "b", grant.number, 5)
    assert not await locks.renew("door", "a", grant.number + 1, 5)
    await harness.advance(4)
    assert await locks.acquire("door", "b", 5) is None
    await harness.advance(2)
    assert not await locks.renew("door", "a", grant.number, 5), "it ran out"
    second = await locks.acquire("door", "b", 5)
    assert second is not None
    assert not await locks.renew("door", "a", grant.number, 5)
    await harness.wipe()
    assert not await locks.renew("door", "b", second.number, 5)


async def test_only_the_owner_releases(harness: Harness) -> None:
    locks, others = harness.locks(), harness.locks(second=True)
    old = await locks.acquire("door", "a", 5)
    assert old is not None
    assert not await others.release("door", "b", old.number)
    assert not await others.release("door", "a", old.number - 1)
    await harness.advance(6)
    new = await others.acquire("door", "b", 5)
    assert new is not None
    assert not await locks.release("door", "a", old.number)
    assert await locks.acquire("door", "c", 5) is None
    assert await others.release("door", "b", new.number)
    assert not await others.release("door", "b", new.number), "once"
    assert await locks.acquire("door", "c", 5)


async def test_a_release_wakes_those_who_wait(harness: Harness) -> None:
    locks, others = harness.locks("a: {b}"), harness.locks(second=True)
    while await others.wait("a: {b}", 0.3):
        pass  # it listens from now on: the first wake-up may come for nothing
    grant = await locks.acquire("a: {b}", "a", 60)
    assert grant is not None
    for waited in (0.05, 30):
        assert await others.acquire("a: {b}", "b", 60) is None
        began = time.monotonic()
        waiting = asyncio.ensure_future(others.wait("a: {b}", waited))
        await asyncio.sleep(0)
        if waited == 30:
            assert await locks.release("a: {b}", "a", grant.number)
        assert await waiting == (waited == 30)
        assert time.monotonic() - began < 10
    assert await others.acquire("a: {b}", "b", 60)


async def test_holders_are_listed(harness: Harness) -> None:
    locks, others = harness.locks(), harness.locks(second=True)
    assert list(await locks.holders("door")) == []
    grants = [await locks.acquire("door", f"ö {i}", 10 * i, limit=3) for i in (1, 2, 3)]
    await harness.advance(12)
    found = sorted(await others.holders("door"), key=lambda grant: grant.owner)
    assert [(grant.owner, grant.number) for grant in found] == [(g.owner, g.number) for g in grants[1:] if g]
    assert 6 < found[0].expires_in <= 8
    assert {grant.name for grant in found} == {"door"}


async def test_who_waits_is_served_in_order(harness: Harness) -> None:
    locks, others = harness.locks(), harness.locks(second=True)
    held = [await locks.acquire("door", f"held {i}", 60, limit=2) for i in range(2)]
    for name in ("first", "second", "third"):
        assert await others.acquire("door", name, 60, limit=2, patience=5) is None
    assert held[0] is not None
    assert held[1] is not None
    assert await locks.release("door", "held 0", held[0].number)
    assert await locks.acquire("door", "passer-by", 60, limit=2) is None, "the free place is spoken for"
    assert await locks.acquire("door", "second", 60, limit=2, patience=5) is None
    assert await locks.acquire("door", "first", 60, limit=2, patience=5)
    assert await locks.release("door", "held 1", held[1].number)
    assert await locks.acquire("door", "third", 60, limit=2, patience=5) is None
    assert await locks.acquire("door", "second", 60, limit=2, patience=5)
    assert await locks.acquire("door", "third", 60, limit=2, patience=5) is None, "all are taken"


async def test_who_stopped_waiting_holds_nobody_up(harness: Harness) -> None:
    locks = harness.locks()
    held = await locks.acquire("door", "held", 600)
    assert held is not None
    for name in ("dead", "gone", "patient"):
        assert await locks.acquire("door", name, 60, patience=5) is None
    await harness.advance(4)
    assert await locks.acquire("door", "gone", 60, patience=5) is None
    assert await locks.acquire("door", "patient", 60, patience=5) is None
    assert await locks.release("door", "held", held.number)
    assert await locks.acquire("door", "patient", 60, patience=5) is None
    await harness.advance(2)
    assert not await locks.release("door", "gone", 0), "it held nothing"
    assert await locks.acquire("door", "patient", 60, patience=5)


async def test_an_owner_gives_up_without_a_number(harness: Harness) -> None:
    locks, others = harness.locks(), harness.locks(second=True)
    assert await locks.acquire("door", "a", 60)
    assert not await others.release("door", "b", 0)
    assert await others.release("door", "a", 0)
    assert await locks.acquire("door", "b", 60)
    assert not await others.release("door", "a", 0), "it holds nothing any more"


async def test_who_leaves_the_line_wakes_those_behind(harness: Harness) -> None:
    locks, others = harness.locks(), harness.locks(second=True)
    while await others.wait("door", 0.3):
        pass  # it listens from now on
    held = await locks.acquire("door", "held", 60)
    assert held is not None
    for name in ("first", "second"):
        assert await others.acquire("door", name, 60, patience=50) is None
    assert await locks.release("door", "held", held.number)
    while await others.wait("door", 0.3):
        pass
    assert await others.acquire("door", "second", 60, patience=50) is None
    waiting = asyncio.ensure_future(others.wait("door", 30))
    await asyncio.sleep(0)
    assert not await locks.release("door", "first", 0), "it held nothing"
    assert await waiting
    assert await others.acquire("door", "second", 60, patience=50)


async def test_a_clock_set_back_keeps_no_lock_taken(harness: Harness) -> None:
    locks, others = harness.locks(), harness.locks(second=True)
    dead = await locks.acquire("door", "dead", 5)
    assert dead is not None
    await harness.advance(1)
    assert await locks.acquire("door", "waiting, and dead", 5, patience=3) is None
    waiting = [f"w{i}" for i in range(6)]
    for one, step in zip(waiting, (3600, 1, 7200, 5, 600, 3600), strict=True):
        await harness.turn_clock(-step)
        assert await others.acquire("door", one, 5, patience=30) is None
    await harness.advance(4.1)
    assert list(await others.holders("door")) == []
    for i, one in enumerate(waiting):
        for later in waiting[i + 1 :]:
            assert await locks.acquire("door", later, 5, patience=30) is None, f"{one} began to wait before it"
        grant = await others.acquire("door", one, 5)
        assert grant is not None
        assert grant.number > dead.number
        assert await others.release("door", one, grant.number)
    # Who holds it without anybody waiting is heard of as well, and who lives keeps it.
    await harness.advance(60)
    assert await locks.acquire("door", "b", 5)
    await harness.turn_clock(-3600)
    assert await locks.acquire("door", "d", 5) is None
    await harness.advance(5.1)
    grant = await locks.acquire("door", "d", 5)
    assert grant is not None
    await harness.turn_clock(-3600)
    assert await others.renew("door", "d", grant.number, 5)
    await harness.advance(4.5)
    assert await locks.acquire("door", "e", 5) is None
