"""IRequestQueue.exchange: workers that die, and calls that are repeated."""

from __future__ import annotations

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Bounds, Burial, Entry, Exchange

from .harness import LEASE, Harness, bodies, entries, fp


async def test_a_calling_worker_keeps_its_leases(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push([Entry(b"", f"s{i}") for i in range(9)])
    held = await harness.lease_all(a)
    for _ in range(4):
        await harness.advance(LEASE * 0.7)
        answer = await a.exchange()
        assert not answer.lost
        assert await harness.lease_all(b) == []
    # One that was silent for too long keeps all as well, if nobody came for it meanwhile.
    await harness.die()
    answer = await a.exchange()
    assert not answer.lost
    assert await harness.lease_all(b) == []
    assert list(await a.ack(held)) == [True] * 9


async def test_a_dead_workers_entries_return(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push(entries(*range(5), slot="s"))
    held: list[str] = []
    while len(held) < 3:
        held += bodies(await a.lease(1))
    await harness.advance(LEASE / 2)
    assert bodies(await b.lease(0)) == []
    await harness.advance(LEASE / 2 + 1)
    answer = await b.exchange(want=100)
    first = [*answer.leases, *await harness.lease_all(b)]
    assert bodies(first) == list("01234")
    assert [x.deliveries for x in first] == [2, 2, 2, 1, 1]
    assert answer.reclaimed == 3
    assert answer.given_up == 0
    since = {x.first_lost_at for x in first[:3]}
    assert None not in since
    assert min(x for x in since if x) > 1e9
    assert {x.first_lost_at for x in first[3:]} == {None}
    # Again, with more than a call may take: nothing is lost, the order stays, the first instant as
    # well.
    await b.push(entries(*range(5, 330), slot="s"))
    await harness.lease_all(b)
    await harness.die()
    c = await harness.worker("c", isolate_after=9)
    while (await c.exchange(want=0)).reclaimed or (await c.queue.size()).pending < 330:
        await c.release(await c.lease(1))  # one call may ask other shards only
    again = await harness.lease_all(c)
    assert bodies(again) == [str(i) for i in range(330)]
    assert [x.deliveries for x in again] == [3] * 3 + [2] * 327
    assert {x.first_lost_at for x in again[:3]} == since


async def test_a_worker_that_was_declared_dead_goes_on(harness: Harness) -> None:
    a, b = await harness.worker("a", shards=1), await harness.worker("b", second=True, shards=1)
    await a.push(entries(*range(250), slot="s"))
    held = [*await harness.lease_all(a, want=250)]
    await harness.die()
    answer = await b.exchange()
    assert 0 < answer.reclaimed <= 200  # bounded: some are not taken yet, and still a's
    taken = answer.reclaimed
    answer = await a.exchange(ack=held, push=entries("new", slot="t"))
    assert answer.lost
    assert sum(answer.acked) == 250 - taken
    assert list(answer.stored) == [True]
    # What could be taken from it now is nothing: it lives.
    await a.lease(100)
    mine = (await a.queue.size()).leased
    assert mine
    answer = await b.exchange(want=100)
    assert (answer.reclaimed, answer.lost) == (0, False)
    answer = await a.exchange()
    assert not answer.lost
    assert {x.name: x.held for x in await a.queue.workers()}["a"] == mine
    # Taken completely, with nothing left of its name: it is told all the same, once.
    await harness.advance(LEASE * 0.7)
    await b.exchange()
    await harness.advance(LEASE * 0.7)
    while (await b.exchange()).reclaimed:
        pass
    assert "a" not in {x.name for x in await b.queue.workers()}
    assert [(await a.exchange()).lost, (await a.exchange()).lost] == [True, False]
    # One that held nothing lost nothing.
    idle = await harness.worker("idle", shards=1)
    await idle.exchange()
    await harness.die()
    await b.exchange()
    assert "idle" not in {x.name for x in await b.queue.workers()}
    assert not (await idle.exchange()).lost
    assert "idle" in {x.name for x in await b.queue.workers()}


async def test_a_silence_of_all_ends_no_lease(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push([Entry(str(i).encode(), f"s{i % 7}") for i in range(20)])
    held = await harness.lease_all(a, want=5)
    await b.queue.claim_seeding("b")
    # One shard may be called by nobody for a while: what matters is that all are called now.
    await harness.turn_clock(5 * LEASE)
    c = await harness.worker("c")  # whoever comes first
    assert not await c.queue.claim_seeding("c")
    answer = await b.exchange(want=100)
    assert (answer.reclaimed, answer.lost) == (0, False)
    assert await harness.lease_all(b) == []
    assert not (await a.exchange()).lost
    assert list(await a.ack(held)) == [True] * len(held)
    # The first one to call is told; who died before that is found out, a lease later.
    await harness.turn_clock(LEASE)
    answer = await b.exchange()
    assert answer.silence == pytest.approx(LEASE, abs=5)
    assert (await b.exchange()).silence == 0
    await c.push(entries("more", slot="t"))
    assert len(await harness.lease_all(c)) == 1
    for _ in range(4):
        await harness.turn_clock(LEASE * 0.4)
        await harness.lease_all(b)
    assert not (await b.exchange()).lost
    assert (await c.exchange()).lost


async def test_a_clock_set_back_stops_nothing(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await a.push([Entry(b"1", "s"), Entry(b"later", "s", delay=10.0)])
    for step in (LEASE / 2, 1000 * LEASE, 1.0):
        await harness.turn_clock(-step)
        (lease,) = await harness.lease_all(b)
        assert lease.body == b"1"
        assert list(await b.release([lease])) == [True]
    # Time goes on from there: delays end, and the dead are found.
    assert bodies(await harness.lease_all(a)) == ["1"]
    await harness.advance(11)
    assert bodies(await harness.lease_all(a)) == ["later"]
    await harness.turn_clock(-LEASE)
    await harness.die()
    assert sorted(bodies(await harness.lease_all(b))) == ["1", "later"]
    assert (await a.exchange()).lost


async def test_too_many_deliveries_make_a_dead_letter(harness: Harness) -> None:
    limits = {"max_deliveries": 3, "isolate_after": 2}
    sessions = [await harness.worker(f"w{i}", second=bool(i % 2), **limits) for i in range(4)]
    await sessions[0].push(entries("bad", slot="s", priority=-2))
    for i in range(3):
        (lease,) = await harness.lease_all(sessions[i])
        assert lease.deliveries == i + 1
        await harness.die()
    given_up = 0
    for _ in range(3 * harness.shards):
        answer = await sessions[3].exchange(want=10)
        given_up += answer.given_up
        assert list(answer.leases) == []
        assert answer.reclaimed == 0
    assert given_up == 1
    (letter,) = await sessions[3].queue.dead()
    assert (letter.reason, letter.body, letter.slot, letter.priority) == ("deliveries", b"bad", "s", -2)
    assert (letter.deliveries, letter.worker) == (3, "w2")
    assert "3" in letter.detail
    assert "w2" in letter.detail
    assert letter.first_lost_at is not None
    assert letter.first_lost_at <= letter.died_at
    size = await sessions[3].queue.size()
    assert (size.unfinished, size.dead) == (0, 1)


async def test_suspects_are_handed_out_alone(harness: Harness) -> None:
    limits = {"max_deliveries": 9, "isolate_after": 1}
    a, b, c = [await harness.worker(name, **limits) for name in "abc"]
    await a.push(entries(1, 2, slot="s"))
    assert len(await harness.lease_all(a)) == 2
    await harness.die()
    await b.push(entries("good", slot="s"))
    # Not from a full slot; then one, and no other while it is held.
    assert await harness.lease_all(b, bounds=Bounds(full=["s"])) == []
    got = await harness.lease_all(b)
    assert "good" in bodies(got)
    (mine,) = [x for x in got if x.deliveries == 2]
    assert (await b.queue.size()).pending == 1
    assert [x.deliveries for x in await harness.lease_all(c)] == [2]
    (other,) = [x for x in (b"1", b"2") if x != mine.body]
    assert (await c.queue.workers())[-1].held == 1
    # Given back it is a suspect still. It counts for per_slot like any other entry.
    assert list(await b.release([mine])) == [True]
    assert [x.body for x in await b.queue.peek()] == [mine.body]
    assert await harness.lease_all(c) == []
    await b.push(entries("more", "most", slot="s"))
    (mine,) = (await _until_some(harness, b, bounds=Bounds(per_slot=1))).leases
    assert mine.deliveries == 2
    assert bodies(await harness.lease_all(b)) == ["more", "most"]
    # Settled by ack, by burial, by death or by leaving: the next one may come.
    await c.queue.close_worker("c")
    assert await harness.lease_all(b) == []
    assert list(await b.ack([mine])) == [True]
    (last,) = await harness.lease_all(b)
    assert last.body == other
    await b.bury([Burial(last, "unreadable")])
    assert (await b.queue.size()).pending == 0


async def test_a_suspect_of_a_full_slot_keeps_none_waiting(harness: Harness) -> None:
    options = {"isolate_after": 1, "shards": 1}
    a, b = await harness.worker("a", **options), await harness.worker("b", second=True, **options)
    await a.push([Entry(b"first", "s"), Entry(b"second", "t")])
    assert len(await a.lease(2)) == 2
    await harness.die()
    assert (await b.exchange()).reclaimed == 2
    full = Bounds(full=["s"])
    got = [lease for _ in range(2) for lease in (await b.exchange(want=1, bounds=full)).leases]
    assert bodies(got) == ["second"]
    await b.ack(got)
    assert bodies(await b.lease(1)) == ["first"]


async def _until_some(harness: Harness, session: QueueSession, **more: int) -> Exchange:
    """The first answer with leases: one call may ask other shards only."""
    for _ in range(3 * harness.shards):
        answer = await session.exchange(want=10, **more)
        if answer.leases:
            return answer
    raise AssertionError("nothing was leased")


async def test_a_repeated_call_has_one_effect(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.push(entries(1, 2, 3, 4, slot="s"))
    held = await harness.lease_all(a)
    turn = {
        "push": [Entry(b"5", "s", fingerprint=fp(5)), Entry(b"5", "s", fingerprint=fp(5)), Entry(b"6", "t")],
        "ack": [held[0]],
        "release": [held[1]],
        "bury": [Burial(held[2], "unreadable")],
        "want": harness.shards,
    }
    # The answer gets lost, however the shards are asked: what was leased is told when the call is
    # repeated.
    with harness.answers_lost(a.queue), pytest.raises(BackendUnavailable):
        await a.exchange(**turn)
    first = await a.exchange(**turn, repeat=True)
    assert list(first.stored) == [True, False, True]
    assert (list(first.acked), list(first.released), list(first.buried)) == ([True], [True], [True])
    second = await a.exchange(**turn, repeat=True)
    assert second.leases == first.leases
    assert (second.stored, second.acked, second.released, second.buried) == (
        first.stored,
        first.acked,
        first.released,
        first.buried,
    )
    told = [held[3], *first.leases]
    for _ in range(6):
        with harness.answers_lost(a.queue), pytest.raises(BackendUnavailable):
            await a.exchange(want=1)
        told += (await a.exchange(want=1, repeat=True)).leases
    told += await harness.lease_all(a)
    size = await a.queue.size()
    assert sorted(bodies(told)) == ["2", "4", "5", "6"]
    assert (size.leased, size.dead, size.pending, size.seen) == (4, 1, 0, 1)
    await _repeat_after_death(harness)


async def _repeat_after_death(harness: Harness) -> None:
    """It died between the call and its repetition: nothing is stored twice, and it holds nothing."""
    a, b = [await harness.worker_of("other", name, second=name == "b", shards=1) for name in "ab"]
    with harness.answers_lost(a.queue), pytest.raises(BackendUnavailable):
        await a.exchange(push=entries(1, 2, slot="s"), want=1)
    await harness.die()
    assert (await b.exchange()).reclaimed == 1
    answer = await a.exchange(push=entries(1, 2, slot="s"), want=1, repeat=True)
    assert list(answer.stored) == [True, True]
    assert list(answer.leases) == []
    assert answer.lost
    assert answer.size.unfinished == 2
