"""ILoggedQueue: what comes from a log, and what of it is finished."""

from __future__ import annotations

import asyncio

from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import (
    Attempts,
    Bounds,
    Budgeting,
    BudgetLimits,
    Burial,
    Entry,
    Feed,
    Finish,
    Spent,
    StallRules,
)

from .harness import LEASE, Harness, entries, fp
from .log_turns import HOLD, P, begin, feed, lease, logged, names, notes, position, turn


def of(*bodies: object, slots: int = 5, **more: object) -> list[Entry]:
    return [Entry(str(body).encode(), f"s{i % slots}", **more) for i, body in enumerate(bodies)]  # type: ignore[arg-type]


async def test_an_offset_is_fed_once(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await begin(a)
    queue, other = logged(a.queue), logged(b.queue)
    fed = await queue.feed([feed(0, *of(*range(10)))])
    assert (fed.stored, fed.positions, fed.size.pending) == (10, {P: 10}, 10)
    # Repeated; by a second owner that is behind; by one that has read further, from before.
    for again in (feed(0, *of(*range(10))), feed(2, *of(*range(2, 7)))):
        fed = await other.feed([again])
        assert (fed.stored, fed.positions) == (0, {P: 10})
    fed = await other.feed([feed(5, *of(*range(5, 15)))])
    assert (fed.stored, fed.positions) == (5, {P: 15})
    answers = await asyncio.gather(*(one.feed([feed(15, *of(*range(15, 40)))]) for one in (queue, other) * 3))
    assert sum(one.stored for one in answers) == 25
    assert {one.positions[P] for one in answers} == {40}
    # Two feeds of one call; several partitions.
    await begin(a, low_7=100)
    both = [feed(40, *of(40)), feed(41, *of(41)), feed(100, *of("x", "y"), partition="low:7")]
    fed = await queue.feed(both)
    assert (fed.stored, fed.positions) == (4, {P: 42, "low:7": 102})
    assert sorted(await names(harness, b)) == sorted([*map(str, range(42)), "x", "y"])
    assert not (await a.queue.audit()).differs


async def test_a_log_position_is_never_ahead(harness: Harness) -> None:
    a = await harness.worker("a")
    await begin(a)
    queue = logged(a.queue)
    await queue.feed([feed(0, *of(*range(4)))])
    # One shard does not store: the position stays, and whoever goes on from there repeats nothing.
    stored = of(*range(4, 60), slots=23)
    if await harness.refuse("s11"):
        try:
            await queue.feed([feed(4, *stored)])
        except MocraError:
            pass
        else:
            raise AssertionError("one shard refused")
        assert await position(a) == 4
        assert (await queue.log_state()).positions == {P: 4}
        assert await harness.lose_part("q:1:s11")
    fed = await queue.feed([feed(4, *stored)])
    assert fed.positions == {P: 60}
    assert sorted(map(int, await names(harness, a))) == list(range(60))


async def test_a_feed_leaves_nothing_out(harness: Harness) -> None:
    a = await harness.worker("a")
    await begin(a)
    queue = logged(a.queue)
    fed = await queue.feed([feed(3, *of("too far"))])
    assert (fed.stored, fed.positions) == (0, {P: 0})
    assert await notes(a) == []
    assert (await queue.feed([feed(0, *of(*range(4)))])).positions == {P: 4}
    assert await names(harness, a) == ["0", "1", "2", "3"]


async def test_an_unknown_partition_is_not_fed(harness: Harness) -> None:
    a = await harness.worker("a")
    fed = await logged(a.queue).feed([feed(0, *of("x"))], collect=["low:1"])
    assert (fed.stored, fed.positions, fed.finished) == (0, {P: None, "low:1": None}, {"low:1": []})
    assert (await logged(a.queue).log_state()).positions == {}
    await begin(a, low_1=5)
    fed = await logged(a.queue).feed([feed(0, *of("x")), feed(5, *of("y"), partition="low:1")])
    assert (fed.stored, fed.positions) == (1, {P: None, "low:1": 6})


async def test_offsets_without_entries_are_finished(harness: Harness) -> None:
    a = await harness.worker("a")
    await begin(a, normal_0=10)
    queue = logged(a.queue)
    placed = [(offset, Entry(b"%d" % offset, f"s{offset}")) for offset in (12, 13, 17)]
    await queue.feed([Feed(P, 10, 20, placed)])
    assert await notes(a) == [(10, 12), (14, 17), (18, 20)]
    await queue.feed([Feed(P, 15, 25)])  # of one that read further, from before
    assert await notes(a) == [(10, 12), (14, 17), (18, 20), (20, 25)]
    await queue.feed([Feed(P, 25, 26)])
    assert (await notes(a))[-1] == (25, 26)
    assert await names(harness, a) == ["12", "13", "17"]


async def test_what_is_fed_is_not_filtered(harness: Harness) -> None:
    a = await harness.worker("a")
    await begin(a)
    told = Budgeting(1.0, {"seed:x": BudgetLimits(pages=1)})
    bounds = Bounds(budgets=told)
    await a.push([Entry(b"old", "s", fingerprint=fp("old"))])
    await turn(a, push=[Entry(b"counted", "s", budgets=("seed:x",))], bounds=bounds)
    placed = [
        Entry(b"old", "t", 3, fp("old"), start=True),
        Entry(b"counted", "t", -2, budgets=("seed:x",), again=True),
        Entry(b"scoped", "t", 3, scopes=("@one",)) if harness.shards == 1 else Entry(b"scoped", "t", 3),
        Entry(bytes(range(256)) * 9, "u", 3, budgets=("seed:x",), fingerprint=fp("bytes")),
        Entry(b"\xc1\x00", "u", 1),
        Entry(b"later", "u", 1, delay=10.0),
        Entry("f\udc80".encode("utf-8", "surrogateescape"), "ü\udc80", 2**51),
    ]
    fed = await logged(a.queue).feed([feed(0, *placed)])
    assert (fed.stored, fed.size.delayed) == (len(placed), 1)
    got = {one.body: one for one in await lease(harness, a, bounds=bounds) if one.slot != "s"}
    assert len(got) == len(placed) - 1
    for entry in placed:
        if not entry.delay:
            one = got[entry.body]
            assert (one.slot, one.priority, one.start, one.budgets) == (
                entry.slot,
                entry.priority,
                entry.start,
                entry.budgets,
            )
            assert one.scopes == entry.scopes
    await harness.advance(11.0)
    assert await names(harness, a) == ["later"]
    assert {one.pages for one in await a.queue.budgets()} == {1}


async def test_a_feed_wakes_a_waiting_worker(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await begin(a)
    assert await lease(harness, b) == []
    waiting = asyncio.ensure_future(b.queue.wait("b", 10.0))
    await asyncio.sleep(0)
    await logged(a.queue).feed([feed(0, *of(*range(20)))])
    assert await waiting
    assert len(await lease(harness, b)) == 20


async def test_what_is_finished_is_noted(harness: Harness) -> None:
    options = {"max_deliveries": 1, "isolate_after": 9}
    a, b = await harness.worker("a", **options), await harness.worker("b", second=True, **options)
    await begin(a)
    queue = logged(a.queue)
    await queue.feed([feed(0, *of("ack", "bury", "give up"), *of("other", slots=1))])
    await a.push(entries("of no log", slot="s0"))
    got = {one.body: one for one in await lease(harness, a)}
    assert await notes(a) == []
    burials = [Burial(got[b"bury"], "download"), Burial(got[b"bury"], "item", done=True)]
    answer, _ = await turn(a, ack=[got[b"ack"], got[b"of no log"]], bury=burials)
    assert list(answer.acked) == [True, True]
    assert await notes(b) == [(0, 1), (1, 2)]
    # What a worker died of once too often.
    answer, _ = await turn(a, ack=[got[b"other"]])
    await harness.advance(LEASE / 2 + 1)
    await turn(b)
    await harness.advance(LEASE / 2 + 1)
    await turn(b)
    await lease(harness, b)
    assert await notes(b) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    # A slot that is given up.
    stalls = harness.stalls(StallRules(1.0, 1), **options)
    await queue.feed([feed(4, *of("stalled", "too", slots=1), Entry(b"later", "s0", delay=9 * LEASE))])
    assert await stalls.report([Attempts("s0", age=5.0)])
    while (await b.queue.size()).unfinished:
        await turn(b, want=10)
    assert (await notes(b))[4:] == [(4, 5), (5, 6), (6, 7)]
    assert {letter.body for letter in await b.queue.dead()} >= {b"bury", b"give up", b"stalled", b"too", b"later"}
    # What a budget withdraws.
    bounds = Bounds(budgets=Budgeting(1.0, {"seed:x": BudgetLimits(errors=1)}))
    counted = Entry(b"counted", "s1", fingerprint=fp("counted"), budgets=("seed:x",))
    _, log = await turn(b, HOLD, push=[counted], bounds=bounds)
    assert log.transit[0] is not None
    await queue.feed([feed(7, counted)])
    spent = Bounds(budgets=Budgeting(1.0, {"seed:x": BudgetLimits(errors=1)}, {"seed:x": Spent(errors=1)}))
    answer, _ = await turn(b, bounds=spent)
    withdrawn = 0
    for _ in range(4):
        answer, _ = await turn(b, want=5, bounds=bounds)
        withdrawn += sum(one.number for one in answer.withdrawn)
    assert withdrawn == 1
    assert (await notes(b))[-1] == (7, 8)
    assert await b.queue.forget([fp("counted")]) == [False], "as if it had never been stored"


async def test_what_goes_on_is_not_noted(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await begin(a)
    await logged(a.queue).feed([feed(0, *of("released", "lost", "left"))])
    got = {one.body: one for one in await lease(harness, a)}
    await turn(a, release=[got[b"released"]])
    (again,) = await lease(harness, b)
    await b.queue.close_worker("b")
    assert again.body == b"released"
    await b.queue.join("b")
    await b.queue.declare_dead("a")
    got = {one.body: one for one in await lease(harness, b)}
    assert {body: one.deliveries for body, one in got.items()} == {b"released": 1, b"lost": 2, b"left": 2}
    assert await notes(b) == []
    await turn(b, ack=list(got.values()))
    assert await notes(b) == [(0, 1), (1, 2), (2, 3)]
    # A dead letter that is replayed comes from no log.
    await logged(a.queue).feed([feed(3, *of("dead"))])
    (dead,) = await lease(harness, b)
    await turn(b, bury=[Burial(dead, "download")])
    assert (await notes(b))[3:] == [(3, 4)]
    await logged(b.queue).feed(confirm={P: await notes(b)})
    (letter,) = await b.queue.dead()
    await b.queue.replay([letter.id])
    (dead,) = await lease(harness, b)
    await turn(b, ack=[dead])
    assert await notes(b) == []


async def test_a_stale_ack_notes_nothing(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await begin(a)
    await logged(a.queue).feed([feed(0, *of("x", "y"))])
    stale = await lease(harness, a)
    await harness.die()
    mine = await lease(harness, b)
    assert len(mine) == 2
    answer, _ = await turn(a, ack=stale[:1], bury=[Burial(stale[1], "download")])
    assert (list(answer.acked), list(answer.buried)) == ([False], [False])
    assert await notes(b) == []
    for repeat in (False, True):
        await turn(b, ack=mine, repeat=repeat)
        assert await notes(b) == [(0, 1), (1, 2)]


async def test_a_note_is_told_until_it_is_confirmed(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await begin(a, normal_0=0, low_1=0)
    queue, other = logged(a.queue), logged(b.queue)
    await queue.feed([feed(0, *of(*range(30))), Feed("low:1", 0, 9)])
    await turn(a, ack=await lease(harness, a))
    fed = await other.feed(collect=[P, "low:1"], most=10)
    assert [len(fed.finished[name]) for name in (P, "low:1")] == [10, 1]
    assert fed.finished["low:1"] == [(0, 9)]
    some = [(i, i + 1) for i in range(25)]
    for confirm in ({P: some}, {P: some, "low:1": [(0, 9)], "high:3": [(1, 2)]}):
        fed = await other.feed(confirm=confirm, collect=[P])
        assert list(fed.finished[P]) == [(i, i + 1) for i in range(25, 30)]
    fed = await queue.feed(confirm={P: fed.finished[P]}, collect=[P, "low:1"])
    assert fed.finished == {P: [], "low:1": []}


async def test_half_a_feed_is_none(harness: Harness) -> None:
    step, calls = 0, 0
    while True:
        step += 1
        crawl = f"crawl{step}"
        a = await harness.worker_of(crawl, "a", shards=1)
        b = await harness.worker_of(crawl, "b", second=True, shards=1)
        await begin(a)
        await logged(a.queue).feed([feed(0, *of(*range(5)))])
        await turn(a, ack=await lease(harness, a))
        assert await lease(harness, b) == []
        placed = [(5, Entry(b"a", "s1", 3)), (7, Entry(b"b", "s2", delay=9.0)), (8, Entry(b"c", "s3"))]
        told = {P: [(0, 1), (1, 2)]}
        with harness.refusing(a.queue, step) as refused:
            try:
                await logged(a.queue).feed([Feed(P, 5, 10, placed)], confirm=told, collect=[P])
            except MocraError:
                calls += 1
                size = await b.queue.size()
                assert (size.pending, size.delayed, await position(b)) in ((0, 0, 5), (2, 1, 10)), step
        fed = await logged(a.queue).feed([Feed(P, 5, 10, placed)], confirm=told, collect=[P])
        assert (fed.size.pending, fed.size.delayed, fed.positions) == (2, 1, {P: 10}), step
        assert list(fed.finished[P]) == [(2, 3), (3, 4), (4, 5), (6, 7), (9, 10)]
        assert not (await b.queue.audit()).differs
        if not refused:
            break
    assert calls or not harness.keys()


async def test_who_begins_a_log_first_decides(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    state = await logged(a.queue).begin_log(1, {P: 7, "low:0": 3})
    assert (state.run, state.log_run, state.moves) == (1, 1, 0)
    assert state.born == (await a.queue.state()).born
    assert (state.begins, state.positions) == ({P: 7, "low:0": 3}, {P: 7, "low:0": 3})
    await logged(a.queue).feed([feed(7, *of("x"))])
    state = await logged(b.queue).begin_log(1, {P: 9, "low:1": 4})
    assert state.begins == {P: 7, "low:0": 3, "low:1": 4}
    assert state.positions == {P: 8, "low:0": 3, "low:1": 4}
    assert state == await logged(a.queue).log_state()


async def test_a_later_run_begins_its_log_anew(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await begin(a, normal_0=0, low_1=2)
    await logged(a.queue).feed([feed(0, *of("x", "y")), Feed("low:1", 2, 5)])
    await turn(a, ack=await lease(harness, a))
    assert await a.queue.claim_seeding("a")
    assert await a.queue.complete_seeding("a")
    assert await logged(a.queue).finish_logged("a", 0) is Finish.WON
    assert (await logged(a.queue).log_state()).positions == {P: 2, "low:1": 5}
    assert (await b.queue.join("b")).run == 2
    state = await logged(b.queue).begin_log(2, {P: 4})
    assert (state.log_run, state.begins, state.positions) == (2, {P: 4}, {P: 4})
    assert await notes(b) == []
    state = await logged(a.queue).begin_log(1, {P: 1, "low:1": 1})
    assert (state.log_run, state.positions) == (2, {P: 4})
    fed = await logged(a.queue).feed([feed(2, *of("late"))])
    assert (fed.stored, fed.positions) == (0, {P: 4})


async def test_a_log_goes_with_the_record(harness: Harness) -> None:
    a = await harness.worker("a")
    await begin(a)
    await logged(a.queue).feed([feed(0, *of("x"), stop=9)])
    await harness.lose_record()
    await a.queue.join("a")
    assert (await logged(a.queue).log_state()).positions == {}
    await begin(a)
    assert await notes(a) == []
    await logged(a.queue).feed([feed(0, *of("x"), stop=9)])
    await a.queue.clear()
    await a.queue.join("a")
    assert (await logged(a.queue).log_state()).positions == {}
    await begin(a)
    assert await notes(a) == []
