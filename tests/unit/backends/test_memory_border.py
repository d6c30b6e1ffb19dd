"""What memory says at the very instant at which something ends: verbs agree."""

from __future__ import annotations

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.models import Entry, QueueOptions, RuleSet, SlotLimit
from tests.unit.coordination.test_leadership import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def test_a_term_ends_for_all_at_once(clock: Clock) -> None:
    election = MemoryBackend(clock=clock).election("boss")
    term = await election.campaign("a", 10)
    assert term is not None
    clock.now += 10
    assert await election.leader() is None
    assert not await election.renew("a", term.number, 10)
    assert not await election.resign("a", term.number)
    other = await election.campaign("b", 10)
    assert other is not None
    assert other.number > term.number


async def test_a_permit_ends_for_all_at_once(clock: Clock) -> None:
    locks = MemoryBackend(clock=clock).locks()
    grant = await locks.acquire("door", "a", 10)
    assert grant is not None
    clock.now += 10
    assert list(await locks.holders("door")) == []
    assert not await locks.renew("door", "a", grant.number, 10)
    assert await locks.acquire("door", "b", 10)


async def test_no_list_stands_in_line_that_has_to_wait(clock: Clock) -> None:
    """Calls look at what may go, not at what was served just now."""
    backend = MemoryBackend(clock=clock)
    queue = backend.request_queue("crawl", QueueOptions(rules=RuleSet(SlotLimit(interval=10))))
    await queue.join("w")
    slots = ["a", "b", "c"]
    await queue.exchange("w", 1, push=[Entry(f"{slot}{n}".encode(), slot) for slot in slots for n in range(2)])
    turns = queue._crawl.slots.turns
    assert sorted(turns.line(10, ())) == slots
    answer = await queue.exchange("w", 2, want=9)
    assert sorted(lease.slot for lease in answer.leases) == slots
    assert turns.line(10, ()) == []
    clock.now += 10
    answer = await queue.exchange("w", 3, want=9)
    assert sorted(lease.slot for lease in answer.leases) == slots
    await backend.close()
