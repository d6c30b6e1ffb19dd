"""ILoggedQueue: what is on its way to a log."""

from __future__ import annotations

import pytest

from mocra_scrapy.exceptions import BackendUnavailable, MocraError
from mocra_scrapy.models import Bounds, Budgeting, BudgetLimits, Burial, Entry, Finish, LogTurn

from .harness import LEASE, Harness, bodies, fp
from .log_turns import HOLD, P, begin, feed, hold, lease, logged, names, notes, turn

#: s: more than all crawls of a test take together, for they have one clock.
LATE = 1e6


def pages(*names: object) -> list[Entry]:
    """Of several slots, so that they are on several shards where there are some."""
    return [Entry(str(name).encode(), f"s{i}", i % 3, fp(name)) for i, name in enumerate(names)]


async def test_what_is_held_is_stored_and_filtered(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    answer, log = await turn(a, HOLD, push=[*pages(*range(6)), Entry(b"again", "s3", fingerprint=fp(3))])
    assert list(answer.stored) == [*[True] * 6, False]
    assert [lease is not None for lease in log.transit] == list(answer.stored)
    assert bodies([lease for lease in log.transit if lease is not None]) == [str(i) for i in range(6)]
    assert [lease.slot for lease in log.transit if lease is not None] == [f"s{i}" for i in range(6)]
    size = await a.queue.size()
    assert (size.pending, size.leased, size.seen) == (0, 6, 6)
    assert list(await b.push([Entry(b"2", "s2", fingerprint=fp(2))])) == [False]
    assert [worker.held for worker in await a.queue.workers()] == [6, 0]
    assert not (await b.queue.audit()).differs
    # One that is not told to hold lines up, as in any queue.
    _, log = await turn(a, push=pages("x"))
    assert list(log.transit) == [None]
    assert await names(harness, b) == ["x"]


async def test_what_is_held_is_handed_to_nobody(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await hold(a, [*pages(*range(5)), Entry(b"later", "t", delay=1.0)])
    await harness.advance(2.0)
    assert await lease(harness, a) == []
    assert await lease(harness, b) == []
    assert await harness.lease_all(b) == []
    assert list(await b.queue.peek()) == []
    for _ in range(3):  # its pusher lives, however long
        await harness.advance(LEASE - 1)
        await turn(a)
        assert await lease(harness, b) == []
    assert (await a.queue.size()).leased == 6


async def test_what_is_in_transit_is_not_settled(harness: Harness) -> None:
    a = await harness.worker("a")
    transit = await hold(a, pages(*range(4)))
    answer, _ = await turn(a, ack=transit[:2], release=transit[2:3], bury=[Burial(transit[3], "download")])
    assert (list(answer.acked), list(answer.released), list(answer.buried)) == ([False] * 2, [False], [False])
    # Neither is what is leased moved. The first lease of a call and its first entry in transit are two.
    await a.push(pages("leased"))
    (mine,) = await lease(harness, a)
    _, log = await turn(a, LogTurn(moved=[mine], keep=[mine]))
    assert (list(log.moved), list(log.kept)) == ([False], [False])
    answer, log = await turn(a, HOLD, push=pages("new"), want=5)
    (new,) = log.transit
    assert new is not None
    answer, _ = await turn(a, ack=[new, mine])
    assert list(answer.acked) == [False, True]
    assert (await a.queue.size()).leased == 5


async def test_what_was_moved_is_gone_and_counted(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    told = Budgeting(1.0, {"seed:x": BudgetLimits(queued=3)})
    bounds = Bounds(budgets=told)
    counted = [Entry(str(i).encode(), f"s{i}", fingerprint=fp(i), budgets=("seed:x",)) for i in range(4)]
    answer, log = await turn(a, HOLD, push=counted, bounds=bounds)
    assert sorted(answer.stored) == [False, True, True, True]
    assert [answer.refused.get(i) == "queued" for i in range(4)] == [one is None for one in log.transit]
    transit = [lease for lease in log.transit if lease is not None]
    _, log = await turn(a, LogTurn(moved=transit))
    assert list(log.moved) == [True] * 3
    assert (await logged(b.queue).log_state()).moves == 3
    size = await a.queue.size()
    assert (size.unfinished, size.seen) == (0, 3)
    # They wait in the log: a budget of what waits has no room.
    answer, _ = await turn(a, HOLD, push=[Entry(b"5", "s5", budgets=("seed:x",))], bounds=bounds)
    assert list(answer.stored) == [False]
    _, log = await turn(a, LogTurn(moved=transit))
    assert list(log.moved) == [False] * 3
    assert (await logged(b.queue).log_state()).moves == 3
    # With what is pushed and settled in the same call.
    (first,) = await hold(a, pages("p"))
    await b.push(pages("q"))
    (mine,) = await lease(harness, a)
    answer, log = await turn(a, LogTurn(hold=True, moved=[first]), push=pages("r"), ack=[mine])
    assert (list(log.moved), list(answer.acked), len(log.transit)) == ([True], [True], 1)
    assert not (await b.queue.audit()).differs


async def test_what_was_moved_may_be_lined_up_at_once(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    told = Bounds(budgets=Budgeting(1.0, {"seed:x": BudgetLimits(queued=9)}))
    counted = Entry(b"\xc1counted", "s", 5, fp("counted"), budgets=("seed:x",))
    pushed = [Entry(b"a", "s"), counted, Entry(b"later", "s", delay=10.0), Entry(b"c", "s"), Entry(b"\xc1", "s", -1)]
    places = [(P, 0), (P, 1), (P, 2), (P, 4), ("low:0", 7)]
    _, log = await turn(a, HOLD, push=pushed, bounds=told)
    transit = [one for one in log.transit if one is not None]
    await begin(a, low_0=7)  # nobody said where P begins
    _, log = await turn(a, LogTurn(moved=transit[:1], at=places[:1]))
    assert (list(log.moved), list(log.taken)) == ([True], [False])
    await begin(a)
    await logged(a.queue).feed([feed(0, Entry(b"a", "s"))])
    await lease(harness, b, bounds=told)
    settled = LogTurn(moved=[*transit[1:], transit[0]], at=[*places[1:], None])
    for repeat in (False, True):
        answer, log = await turn(a, settled, repeat=repeat)
        assert list(log.moved) == [True] * 4 + [False]
        assert list(log.taken) == [True, True, False, True, False], "there is one between c and the position"
        assert (answer.size.pending, answer.size.delayed) == (2, 1)
        state = await logged(a.queue).log_state()
        assert (state.moves, state.positions[P], state.positions["low:0"]) == (5, 3, 8), "on all shards"
    # As if it had been fed.
    assert (await logged(a.queue).feed([feed(0, *pushed[:3])])).stored == 0
    got = await lease(harness, a, bounds=told)
    assert [(one.body, one.priority, one.budgets) for one in got] == [
        (b"\xc1counted", 5, ("seed:x",)),
        (b"\xc1", -1, ()),
    ]
    assert {one.queued for one in await a.queue.budgets()} == {0}
    await harness.advance(11.0)
    got += await lease(harness, a, bounds=told)
    await turn(a, ack=got)
    assert await notes(a) == [(1, 2), (2, 3)]
    assert await notes(a, "low:0") == [(7, 8)]
    assert not (await b.queue.audit()).differs


async def test_what_is_kept_is_lined_up(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    transit = await hold(a, [*pages(*range(4)), Entry(b"later", "t", delay=10.0)])
    await lease(harness, b)  # finds nothing, and waits
    answer, log = await turn(a, LogTurn(keep=transit))
    assert list(log.kept) == [True] * 5
    assert (answer.size.pending, answer.size.delayed, answer.size.leased) == (4, 1, 0)
    assert await b.queue.wait("b", 5.0)
    got = await lease(harness, b)
    assert sorted(bodies(got)) == ["0", "1", "2", "3"]
    assert {one.deliveries for one in got} == {1}
    _, log = await turn(a, LogTurn(keep=transit, moved=transit[:1]))
    assert (list(log.kept), list(log.moved)) == ([False] * 5, [False])
    await harness.advance(11.0)
    assert await names(harness, b) == ["later"]
    assert not (await b.queue.audit()).differs


async def test_transit_of_a_dead_pusher_is_lined_up(harness: Harness) -> None:
    a, b = await harness.worker("a", max_deliveries=1), await harness.worker("b", second=True, max_deliveries=1)
    c = await harness.worker("c", max_deliveries=1)
    await hold(a, [*pages(*range(150)), Entry(b"later", "t", delay=2 * LEASE)])
    await hold(c, pages("left"))
    assert await c.queue.close_worker("c") == 1
    assert await names(harness, b) == ["left"]
    assert await b.queue.declare_dead("a") == 151
    got = await lease(harness, b)
    assert sorted(map(int, bodies(got))) == list(range(150))
    assert {one.deliveries for one in got} == {1}, "nobody had it"
    assert (await b.queue.size()).delayed == 1
    await harness.advance(LEASE - 1)
    await turn(b)
    assert await lease(harness, b) == []
    await harness.advance(LEASE + 1)
    # b is dead by now, too: what it held was handed out once.
    d = await harness.worker("d", max_deliveries=1)
    assert await names(harness, d) == ["later"]
    assert not (await d.queue.audit()).differs


async def test_a_stale_pusher_moves_nothing(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    transit = await hold(a, pages(*range(4)))
    await harness.die()
    assert sorted(bodies(await lease(harness, b))) == ["0", "1", "2", "3"]
    answer, log = await turn(a, LogTurn(moved=transit[:2], keep=transit[2:]))
    assert answer.lost
    assert (list(log.moved), list(log.kept)) == ([False] * 2, [False] * 2)
    assert (await logged(b.queue).log_state()).moves == 0
    assert (await b.queue.size()).leased == 4
    assert not (await b.queue.audit()).differs


async def test_a_repeated_held_push_has_one_effect(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    pushed = [*pages(*range(6)), Entry(b"0", "s0", fingerprint=fp(0)), Entry(b"free", "s1")]
    first, call = None, a.call + 1
    if harness.keys():
        with harness.answers_lost(a.queue), pytest.raises(BackendUnavailable):
            await turn(a, HOLD, push=pushed)
    else:  # in one process no answer is lost
        first = await turn(a, HOLD, push=pushed)
    answer, log = await turn(a, HOLD, push=pushed, repeat=True)
    assert a.call == call
    assert first is None or (answer, list(log.transit)) == (first[0], list(first[1].transit))
    assert list(answer.stored) == [True] * 6 + [False, True]
    transit = [lease for lease in log.transit if lease is not None]
    assert (await b.queue.size()).leased == 7
    settled = LogTurn(moved=transit[:4], keep=transit[4:])
    told = [await turn(a, settled, repeat=repeat) for repeat in (False, True, True)]
    assert [(list(log.moved), list(log.kept)) for _, log in told] == [([True] * 4, [True] * 3)] * 3
    assert (await logged(b.queue).log_state()).moves == 4
    assert len(await lease(harness, b)) == 3


async def test_half_a_held_push_is_none(harness: Harness) -> None:
    step, calls = 0, 0
    while True:
        step += 1
        crawl = f"crawl{step}"
        a = await harness.worker_of(crawl, "a", shards=1)
        b = await harness.worker_of(crawl, "b", second=True, shards=1)
        dying = await harness.worker_of(crawl, "x", shards=1)
        await hold(dying, [*pages("of the dead"), Entry(b"later of it", "t", delay=LATE)])
        await harness.advance(LEASE / 2 + 1)
        await turn(a)
        await turn(b)
        await harness.advance(LEASE / 2 + 1)
        moved, kept = await hold(a, pages("moved", "kept")), await hold(a, [Entry(b"later", "u", 5, delay=LATE)])
        call = LogTurn(hold=True, moved=moved, keep=kept)
        with harness.refusing(a.queue, step) as refused:
            try:
                await turn(a, call, push=pages("new", "other"))
            except MocraError:
                calls += 1
        if refused:
            await turn(a, call, push=pages("new", "other"), repeat=True)
        size = await b.queue.size()
        # Of the dead one is pending or (the call reclaims) was given back; two are in transit.
        assert (size.pending, size.delayed, size.leased) == (1, 2, 2), step
        assert (await logged(b.queue).log_state()).moves == 2
        assert not (await b.queue.audit()).differs
        if not refused:
            break
    assert calls or not harness.keys()


async def test_transit_keeps_a_run_open(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    assert await a.queue.claim_seeding("a")
    assert await a.queue.complete_seeding("a")
    transit = await hold(a, pages("p"))
    assert await b.queue.finish("b") is Finish.BUSY
    assert await logged(b.queue).finish_logged("b", 0) is Finish.BUSY
    await turn(a, LogTurn(moved=transit))
    assert await logged(b.queue).finish_logged("b", 1) is Finish.WON


async def test_what_moved_meanwhile_keeps_a_run_open(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    assert await a.queue.claim_seeding("a")
    transit = await hold(a, pages(*range(5)))
    moves = (await logged(b.queue).log_state()).moves  # then b looks at the ends of the log
    await turn(a, LogTurn(moved=transit))
    assert await a.queue.complete_seeding("a")
    assert await logged(b.queue).finish_logged("b", moves) is Finish.BUSY
    moves = (await logged(b.queue).log_state()).moves
    assert moves == 5
    assert await logged(b.queue).finish_logged("b", moves) is Finish.WON
    assert await logged(a.queue).finish_logged("a", moves) is Finish.FINISHED
    assert await logged(a.queue).finish_logged("a", 0) is Finish.FINISHED
    # The count outlives the run.
    await a.queue.join("a")
    assert (await logged(a.queue).log_state()).moves == 5
