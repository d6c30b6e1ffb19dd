"""IElection: one role, one leader, numbered terms."""

from __future__ import annotations

import asyncio

from .harness import Harness


async def test_one_candidate_leads(harness: Harness) -> None:
    role, other = harness.election(), harness.election(second=True)
    elsewhere = harness.election("clerk")
    terms = await asyncio.gather(*(one.campaign(f"c{i}", 10) for i in range(4) for one in (role, other)))
    won = [term for term in terms if term is not None]
    assert len({(term.leader, term.number) for term in won}) == 1
    assert won[0].role == "boss"
    assert 0 < won[0].expires_in <= 10
    assert await elsewhere.campaign("clerk", 10), "another role is free"
    await harness.advance(9)
    assert await other.campaign("late", 10) is None
    await harness.advance(1.1)
    term = await other.campaign("late", 10)
    assert term is not None
    assert term.leader == "late"


async def test_terms_grow(harness: Harness) -> None:
    role, other = harness.election(), harness.election(second=True)
    numbers = []
    for i in range(6):
        term = await (role, other)[i % 2].campaign(f"c{i % 3}", 5)
        assert term is not None
        numbers.append(term.number)
        match i % 3:
            case 0:
                assert await role.resign(term.leader, term.number)
            case 1:
                await harness.advance(5.1 if i < 3 else 500_000)
            case _:
                await harness.wipe()
    assert numbers == sorted(set(numbers))
    assert numbers[0] > 1_000_000_000_000, "numbers begin at the clock"


async def test_campaigning_again_keeps_the_term(harness: Harness) -> None:
    role = harness.election()
    first = await role.campaign("a", 10)
    assert first is not None
    await harness.advance(6)
    again = await role.campaign("a", 10)
    assert again is not None
    assert again.number == first.number
    assert again.expires_in > 9
    await harness.advance(6)
    assert await role.campaign("b", 10) is None, "it was a renewal"
    await harness.advance(5)
    late = await role.campaign("a", 10)
    assert late is not None
    assert late.number > first.number, "after the end of the lease it is a new term, of whomever"


async def test_a_stale_term_is_not_renewed(harness: Harness) -> None:
    role = harness.election()
    old = await role.campaign("a", 10)
    assert old is not None
    assert await role.renew("a", old.number, 10)
    assert not await role.renew("b", old.number, 10)
    assert not await role.renew("a", old.number - 1, 10)
    await harness.advance(8)
    assert await role.renew("a", old.number, 10)
    await harness.advance(10.1)
    assert not await role.renew("a", old.number, 10), "it ran out, though nobody took over"
    new = await role.campaign("b", 10)
    assert new is not None
    assert not await role.renew("a", old.number, 100)
    await harness.wipe()
    assert not await role.renew("b", new.number, 10)
    assert await role.leader() is None


async def test_a_resigned_role_is_free(harness: Harness) -> None:
    role = harness.election()
    old = await role.campaign("a", 1000)
    assert old is not None
    assert await role.resign("a", old.number)
    assert not await role.resign("a", old.number), "once"
    new = await harness.election(second=True).campaign("b", 10)
    assert new is not None
    assert new.number > old.number


async def test_a_stale_term_resigns_nothing(harness: Harness) -> None:
    role = harness.election()
    old = await role.campaign("a", 5)
    assert old is not None
    await harness.advance(6)
    assert not await role.resign("a", old.number)
    new = await role.campaign("a", 5)
    assert new is not None
    assert not await role.resign("a", old.number)
    assert not await role.resign("b", new.number)
    found = await role.leader()
    assert found is not None
    assert found.number == new.number


async def test_the_leader_is_known_to_all(harness: Harness) -> None:
    role, other = harness.election("who: {is} it?"), harness.election("who: {is} it?", second=True)
    assert await other.leader() is None
    term = await role.campaign("kä the:1\n", 10)
    assert term is not None
    found = await other.leader()
    assert found is not None
    assert (found.role, found.leader, found.number) == ("who: {is} it?", "kä the:1\n", term.number)
    assert 5 < found.expires_in <= 10
    await role.resign("kä the:1\n", term.number)
    assert await other.leader() is None
    assert await harness.election("it").leader() is None


async def test_a_clock_set_back_keeps_no_role_from_anybody(harness: Harness) -> None:
    role, other = harness.election(), harness.election(second=True)
    dead = await role.campaign("dead", 10)
    assert dead is not None
    for step in (3600, 1000):  # an hour, and again
        await harness.turn_clock(-step)
        assert await other.campaign("b", 10) is None, "it may live"
    await harness.advance(10.1)
    assert await other.leader() is None
    term = await other.campaign("b", 10)
    assert term is not None
    assert term.number > dead.number
    await harness.turn_clock(-3600)
    assert await other.renew("b", term.number, 10), "who lives keeps it"
    await harness.advance(9)
    assert await role.campaign("c", 10) is None
    await harness.advance(1.1)
    assert await role.campaign("c", 10)
