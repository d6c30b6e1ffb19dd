"""ILoggedQueue: what was in transit, and comes from the log as well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import Bounds, Budgeting, BudgetLimits, Burial, Entry, Feed, Finish, Lease, LogTurn, Spent

from .harness import Harness, bodies, fp
from .log_turns import HOLD, P, begin, hold, lease, logged, names, notes, position, turn


def pages(*names: object) -> list[Entry]:
    return [Entry(str(name).encode(), f"s{i}", fingerprint=fp(name)) for i, name in enumerate(names)]


def read(start: int, pusher: str, *written: tuple[Entry, Lease | None], partition: str = P) -> Feed:
    """What is read of the log where *pusher* wrote that, from *start* on; ``None``: it says not as what."""
    placed = list(enumerate((entry for entry, _ in written), start))
    transit = {at: (pusher, one.token) for at, (_, one) in enumerate(written, start) if one is not None}
    return Feed(partition, start, start + len(written), placed, transit)


async def test_what_is_fed_is_in_transit_no_more(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await begin(a)
    pushed = pages(*range(5))
    transit = await hold(a, pushed)
    fed = await logged(b.queue).feed([read(0, "a", *zip(pushed[:4], transit, strict=False))])
    assert (fed.stored, fed.size.pending, fed.size.leased, fed.moves) == (4, 4, 1, 4)
    assert not (await b.queue.audit()).differs
    # Its pusher hears of the log after the reader.
    _, log = await turn(a, LogTurn(moved=transit[:2], keep=transit[2:3], at=[(P, 4), None]))
    assert (list(log.moved), list(log.taken), list(log.kept)) == ([False] * 2, [False] * 2, [False])
    assert await position(a) == 4
    assert (await logged(b.queue).log_state()).moves == 4
    # And leaves only what the log does not have.
    assert await a.queue.close_worker("a") == 1
    got = await lease(harness, b)
    assert sorted(bodies(got)) == ["0", "1", "2", "3", "4"]
    await turn(b, ack=got)
    assert await notes(b) == [(at, at + 1) for at in range(4)], "those that came from it"
    # What was read before says nothing, nor does one who is not known.
    c = await harness.worker("c")
    (again,) = await hold(c, pages("x"))
    fed = await logged(b.queue).feed([read(0, "c", *[(pages("x")[0], again)] * 4, (pages("w")[0], None))])
    assert (fed.stored, fed.size.leased) == (1, 1)
    fed = await logged(b.queue).feed([read(5, "nobody", (pages("y")[0], again), (pages("z")[0], None))])
    assert (fed.stored, fed.size.leased) == (2, 1)
    assert not (await b.queue.audit()).differs


async def test_a_twin_comes_once(harness: Harness) -> None:
    options = {"max_deliveries": 1, "isolate_after": 9}
    a, b = await harness.worker("a", **options), await harness.worker("b", second=True, **options)
    await begin(a, normal_0=0, low_1=7)
    told = Bounds(budgets=Budgeting(1.0, {"seed:x": BudgetLimits(errors=1)}))
    counted = Entry(b"\xc1counted", "s6", 5, fp("counted"), budgets=("seed:x",))
    pushed = [*pages("early", "acked", "buried", "lost", "waits"), Entry(b"later", "t", delay=60.0), counted]
    _, log = await turn(a, HOLD, push=pushed, bounds=told)
    transit = [one for one in log.transit if one is not None]
    assert len(transit) == 7
    assert await b.queue.declare_dead("a") == 7
    await harness.advance(1.0)
    got = {one.body: one for one in await lease(harness, b, bounds=told, want=6) if one.body != counted.body}
    await turn(b, ack=[got[b"early"]])  # before it comes from the log
    fed = await logged(b.queue).feed([read(0, "a", *zip(pushed, transit, strict=True))])
    assert (fed.stored, fed.positions, fed.moves) == (0, {P: 7}, 0)
    assert await notes(b) == [(0, 1)], "what goes on is not noted"
    assert not (await b.queue.audit()).differs
    # The same message once more, of what is finished now, goes on, or is unknown by now.
    again = [(pushed[i], transit[i]) for i in (1, 4, 0)]
    await turn(b, ack=[got[b"acked"]], bury=[Burial(got[b"buried"], "download")], release=[got[b"waits"]])
    fed = await logged(b.queue).feed([read(7, "a", *again, partition="low:1")])
    assert fed.stored == 2, "those that are finished and came before"
    assert await notes(b) == [(0, 1), (1, 2), (2, 3)]
    assert await notes(b, "low:1") == [(8, 9)], "it goes on, and is in the log twice"
    # What is lost, and what a budget withdraws.
    spent = Bounds(budgets=Budgeting(1.0, {"seed:x": BudgetLimits(errors=1)}, {"seed:x": Spent(errors=1)}))
    await turn(b, bounds=spent)
    c = await harness.worker("c", **options)
    await b.queue.close_worker("b")
    left = {one.body: one for one in await lease(harness, c, bounds=told)}
    assert sorted(left) == [b"acked", b"early", b"lost", b"waits"]
    assert {one.deliveries for one in left.values()} == {1}
    await turn(c, ack=list(left.values()))
    await harness.advance(61.0)
    await c.queue.join("c")
    assert await names(harness, c) == ["later"]
    assert await notes(c) == [*((at, at + 1) for at in (0, 1, 2, 3, 4)), (6, 7)]


async def test_twins_are_known_for_a_while(harness: Harness) -> None:
    a, b = await harness.worker("a"), await harness.worker("b", second=True)
    await begin(a)
    assert await a.queue.claim_seeding("a")
    assert await a.queue.complete_seeding("a")
    pushed = [Entry(b"%d" % i, "s") for i in range(2_010)]
    transit = [one for start in range(0, len(pushed), 1000) for one in await hold(a, pushed[start : start + 1000])]
    await a.queue.close_worker("a")
    done = 0
    while done < len(pushed):
        got = (await turn(b, want=1000))[0].leases
        done += len(got)
        await turn(b, ack=got)
    fed = await logged(b.queue).feed([read(0, "a", (pushed[0], transit[0]), (pushed[-1], transit[-1]))])
    assert fed.stored == 1
    assert await notes(b) == [(1, 2)]
    await turn(b, ack=await lease(harness, b))
    assert await logged(b.queue).finish_logged("b", 0) is Finish.WON
    stored = harness.keys()
    assert not [key for key in stored if "twins" in key]
    # A later run, or another record, knows nothing of them.
    for number, lose in enumerate((harness.lose_record, None)):
        await b.queue.join("b")
        await begin(b)
        await b.queue.join("a")
        again = await hold(a, pages(f"x{number}", f"y{number}"))
        await b.queue.close_worker("a")
        await turn(b, ack=(await lease(harness, b))[:1])
        if lose is not None:
            await lose()
        else:
            state = await b.queue.state()
            await logged(b.queue).begin_log(state.run + 1, {P: 0})
        await b.queue.join("b")
        await begin(b)
        fed = await logged(b.queue).feed([read(0, "a", *zip(pages("x", "y"), again, strict=True))])
        assert fed.stored == 2, number


async def test_half_a_twin_is_none(harness: Harness) -> None:
    step, calls = 0, 0
    while True:
        step += harness.stride
        crawl = f"crawl{step}"
        a = await harness.worker_of(crawl, "a", shards=1)
        b = await harness.worker_of(crawl, "b", second=True, shards=1)
        await begin(a)
        pushed = pages("done", "bound", "open", "in transit")
        transit = await hold(a, pushed[:3])
        refusals = 0

        async def refused(session: QueueSession, work: Callable[[], Awaitable[object]]) -> None:
            nonlocal calls, refusals
            with harness.refusing(session.queue, step) as told:  # noqa: B023
                try:
                    await work()
                except MocraError:
                    calls += 1
            refusals += len(told)

        await refused(a, lambda: a.queue.close_worker("a"))  # noqa: B023
        await a.queue.close_worker("a")
        held = {one.body: one for one in await lease(harness, b)}
        await turn(b, ack=[held[b"done"]])
        await a.queue.join("a")
        transit += await hold(a, pushed[3:])
        fed = read(0, "a", *((pushed[i], transit[i]) for i in (0, 1, 3)))
        await refused(a, lambda: logged(a.queue).feed([fed]))  # noqa: B023
        answer = await logged(b.queue).feed([fed])
        assert (answer.size.pending, answer.size.leased, answer.positions, answer.moves) == (1, 2, {P: 3}, 1), step
        assert await notes(b) == [(0, 1)], step
        ack = [held[b"bound"], held[b"open"]]
        b.call += 1
        await refused(b, lambda: turn(b, ack=ack, repeat=True))  # noqa: B023
        await turn(b, ack=ack, repeat=True)
        assert await notes(b) == [(0, 1), (1, 2)], step
        answer = await logged(b.queue).feed([read(3, "a", (pushed[2], transit[2]))])
        assert (answer.stored, await notes(b)) == (0, [(0, 1), (1, 2), (3, 4)]), step
        assert list((await turn(a, LogTurn(moved=transit[3:])))[1].moved) == [False]
        assert not (await b.queue.audit()).differs
        if not refusals:
            break
    assert calls or not harness.keys()
