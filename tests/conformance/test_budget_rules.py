"""IBudgets: how much of a slot, a domain or a seed a crawl may have. Names that count together are of one
slot here, so that they are on one shard on every backend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import (
    Attempts,
    Bounds,
    Budgeting,
    BudgetLimits,
    BudgetState,
    Entry,
    Finish,
    Lease,
    SlotLimit,
    Spent,
    StallRules,
    Withdrawn,
)

from .harness import Harness, bodies, fp

ONE: dict[str, Any] = {"lease": 1e6, "limit": SlotLimit(concurrency=1000)}


def pages(*names: object, of: Sequence[str] = ("slot:s",), slot: str = "s", **more: Any) -> list[Entry]:
    return [Entry(str(name).encode(), slot, fingerprint=fp(name), budgets=tuple(of), **more) for name in names]


def said(told: float = 1.0, spent: dict[str, Spent] | None = None, **limits: Any) -> Bounds:
    """Limits of slot s, and of what *limits* names besides with a dict."""
    more = {name: limits.pop(name) for name in list(limits) if isinstance(limits[name], dict)}
    names = {"slot:s": BudgetLimits(**limits)} if limits else {}
    names |= {f"slot:{name}": BudgetLimits(**one) for name, one in more.items()}
    return Bounds(budgets=Budgeting(told, names, spent or {}))


async def of(session: QueueSession, name: str = "slot:s") -> BudgetState:
    found = [one for one in await session.queue.budgets(name) if one.name == name]
    return found[0] if found else BudgetState(name)


async def leased(harness: Harness, session: QueueSession, want: int = 100, **limits: Any) -> list[Lease]:
    return await harness.lease_all(session, want, bounds=said(**limits))


async def spend(session: QueueSession, *, told: float = 1.0, bytes: int = 0, errors: int = 0, **limits: Any) -> None:
    await session.exchange(bounds=said(told, {"slot:s": Spent(bytes, errors)}, **limits))


async def withdrawn(session: QueueSession, want: int = 100, **limits: Any) -> tuple[int, list[Withdrawn], list[str]]:
    """Exchanges until nothing comes any more: how many were withdrawn, as told, and what was leased."""
    told: list[Withdrawn] = []
    got: list[str] = []
    idle = 0
    while idle < 5:
        answer = await session.exchange(want=want, bounds=said(**limits))
        got += bodies(answer.leases)
        idle = 0 if answer.withdrawn or answer.leases else idle + 1
        told += answer.withdrawn
    return sum(one.number for one in told), told, got


async def test_pages_are_counted_where_they_are_stored(harness: Harness) -> None:
    a, b = await harness.worker("a", **ONE), await harness.worker("b", second=True, **ONE)
    first = await a.exchange(push=pages(1, 2, 1, 2, 3), bounds=said(pages=5))
    assert list(first.stored) == [True, True, False, False, True]
    second = await b.exchange(push=pages(3, 4, 5, 6, 7), bounds=said(pages=5))
    assert list(second.stored) == [False, True, True, False, False]
    assert dict(second.refused) == {3: "pages", 4: "pages"}
    assert (await of(a)).pages == 5
    assert dict((await of(a)).refused) == {"pages": 2}
    assert (await of(a)).used_up == "pages"
    got = await leased(harness, a, pages=5)
    assert sorted(bodies(got)) == ["1", "2", "3", "4", "5"]
    assert all(lease.budgets == ("slot:s",) for lease in got)
    await a.ack(got)
    late = await a.exchange(push=pages(8), bounds=said(pages=5))
    assert dict(late.refused) == {0: "pages"}, "what is done counts, too"
    unfiltered = [Entry(b"\xc1x", "s", budgets=("slot:s",)), Entry(b"\xc1y", "t")]
    open_one = await a.exchange(push=unfiltered, want=0, bounds=said(pages=6))
    assert list(open_one.stored) == [True, True]
    assert sorted(lease.body for lease in await leased(harness, a, pages=6)) == [b"\xc1x", b"\xc1y"]


async def test_a_repeated_call_counts_once(harness: Harness) -> None:
    a = await harness.worker("a", **ONE)
    try:
        with harness.answers_lost(a.queue):
            await a.exchange(push=pages(1, 2, 3), bounds=said(pages=2, spent={"slot:s": Spent(7, 1)}))
    except BackendUnavailable:
        pass
    repeated = await a.exchange(push=pages(1, 2, 3), bounds=said(pages=2, spent={"slot:s": Spent(7, 1)}), repeat=True)
    assert dict(repeated.refused) == {2: "pages"}
    assert list(repeated.stored) == [True, True, False]
    state = await of(a)
    assert (state.pages, state.queued, dict(state.refused)) == (2, 2, {"pages": 1})


async def test_what_waits_is_counted(harness: Harness) -> None:
    a = await harness.worker("a", **{**ONE, "lease": 60.0})
    two = await a.exchange(push=[*pages(1), *pages(2, delay=100.0), *pages(3)], bounds=said(queued=2))
    assert dict(two.refused) == {2: "queued"}
    (one,) = await leased(harness, a, queued=2)
    assert one.body == b"1"
    assert (await of(a)).queued == 1
    assert dict((await a.exchange(push=pages(3, 4), bounds=said(queued=2))).refused) == {1: "queued"}
    await a.exchange(release=[one], bounds=said(queued=2))
    assert (await of(a)).queued == 3, "what comes back is never refused"
    got = await leased(harness, a, queued=2)
    assert len(got) == 2
    assert (await of(a)).queued == 1
    b = await harness.worker("b", second=True, **ONE)
    await harness.die()
    again = await leased(harness, b, queued=2)
    assert sorted(bodies(again)) == ["1", "3"], "from the dead"
    assert {lease.budgets for lease in again} == {("slot:s",)}
    assert {lease.deliveries for lease in again} == {2}
    assert (await of(b)).queued == 1
    await harness.advance(60)
    assert bodies(await leased(harness, b, queued=2)) == ["2"]
    await b.queue.close_worker("b")
    assert (await of(b)).queued == 3
    assert (await of(b)).pages == 3
    c = await harness.worker("c", **ONE)
    assert await harness.stalls(StallRules(1.0, 1), **ONE).report([Attempts("s", age=5.0)])
    await harness.lease_all(c, bounds=said())
    assert (await of(c)).queued == 0, "what is given up waits no more"


async def test_a_refused_entry_is_not_seen(harness: Harness) -> None:
    a = await harness.worker("a", **ONE)
    refused = await a.exchange(push=pages(1, 2), bounds=said(queued=1))
    assert dict(refused.refused) == {1: "queued"}
    assert (await a.queue.size()).seen == 1
    await leased(harness, a, queued=1)
    assert list((await a.exchange(push=pages(2), bounds=said(queued=1))).stored) == [True]


async def test_a_duplicate_is_no_refusal(harness: Harness) -> None:
    a = await harness.worker("a", **ONE)
    answer = await a.exchange(push=pages(1, 1, 2), bounds=said(pages=1))
    assert list(answer.stored) == [True, False, False]
    assert dict(answer.refused) == {2: "pages"}
    b = await harness.worker("b", second=True, **ONE, seen_ttl=1000.0)
    for _ in range(3):  # it is known from an earlier generation
        await harness.advance(300)
        assert dict((await b.exchange(push=pages(1, 2), bounds=said(pages=1))).refused) == {1: "pages"}


async def test_what_comes_again_is_no_page(harness: Harness) -> None:
    a = await harness.worker("a", **ONE)
    await a.exchange(push=pages(1), bounds=said(pages=1))
    (lease,) = await leased(harness, a, pages=1)
    retry = Entry(b"again", "s", budgets=("slot:s",), again=True)
    answer = await a.exchange(push=[retry], ack=[lease], bounds=said(pages=1))
    assert list(answer.stored) == [True]
    assert dict(answer.refused) == {}
    state = await of(a)
    assert (state.pages, state.queued) == (1, 1)
    assert bodies(await leased(harness, a, pages=1)) == ["again"]
    moved = Entry(b"moved", "s", fingerprint=fp("moved"), budgets=("slot:s",), again=True)
    assert list((await a.exchange(push=[moved, moved], bounds=said(bytes=10))).stored) == [True, False]
    await spend(a, bytes=10)
    number, _, _ = await withdrawn(a)
    assert (number, (await of(a)).pages) == (1, 1)
    link = replace(moved, again=False)
    assert list((await a.exchange(push=[link], bounds=said(2.0, bytes=20))).stored) == [True], "it is not known"


async def test_each_name_has_its_own_budget(harness: Harness) -> None:
    a = await harness.worker("a", **ONE)
    limits, names = {"s": {"pages": 10}, "x": {"pages": 2}, "y": {"pages": 9}}, ["x", "y"]
    if harness.shards > 1:  # several names of an entry need one shard
        limits, names = {"s": {"pages": 2}}, []
    bounds = Bounds(budgets=Budgeting(1.0, {f"slot:{n}": BudgetLimits(**one) for n, one in limits.items()}))
    first = pages(1, 2, 3, of=["slot:s", *[f"slot:{name}" for name in names[:1]]])
    second = pages(4, 5, of=["slot:s", *[f"slot:{name}" for name in names[1:]]])
    assert dict((await a.exchange(push=first, bounds=bounds)).refused) == {2: "pages"}
    if names:
        assert dict((await a.exchange(push=second, bounds=bounds)).refused) == {}
        assert [(await of(a, f"slot:{name}")).pages for name in ("s", *names)] == [4, 2, 2]
        assert [dict((await of(a, f"slot:{name}")).refused) for name in ("s", *names)] == [{}, {"pages": 1}, {}]
        assert len(await a.queue.budgets("slot")) == 3
        assert [one.name for one in await a.queue.budgets("slot:x")] == ["slot:x"]
    assert list(await a.queue.budgets("domain")) == []


async def test_the_limits_told_last_hold(harness: Harness) -> None:
    a, b = await harness.worker("a", **ONE), await harness.worker("b", second=True, **ONE)
    await b.exchange(push=pages(1), bounds=said(2.0, pages=2))
    assert dict((await a.exchange(push=pages(2, 3), bounds=said(1.0, pages=9))).refused) == {1: "pages"}
    assert (await of(a)).limits == BudgetLimits(pages=2)
    assert dict((await a.exchange(push=pages(3), bounds=said(3.0, pages=9))).refused) == {}
    assert dict((await b.exchange(push=pages(4), bounds=said(2.0, pages=2))).refused) == {}
    assert (await of(a)).limits == BudgetLimits(pages=9)


async def test_what_is_spent_is_counted(harness: Harness) -> None:
    a, b = await harness.worker("a", **ONE), await harness.worker("b", second=True, **ONE)
    await spend(a, bytes=10, errors=1)
    assert await of(a) == BudgetState("slot:s"), "nothing of it was ever stored"
    await a.exchange(push=pages(1), bounds=said(bytes=1000))
    await spend(a, bytes=600, errors=1)
    await spend(b, bytes=399)
    assert list((await a.exchange(push=pages(2), bounds=said(bytes=1000))).stored) == [True]
    await spend(b, bytes=1, errors=2)
    state = await of(a)
    assert (state.bytes, state.errors, state.used_up) == (1000, 3, "bytes")
    assert dict((await b.exchange(push=pages(3), bounds=said(bytes=1000))).refused) == {0: "bytes"}
    assert dict((await b.exchange(push=pages(3), bounds=said(2.0, errors=3))).refused) == {0: "errors"}
    assert dict((await b.exchange(push=pages(3), bounds=said(3.0, errors=4))).refused) == {}


async def test_time_runs_between_answers(harness: Harness) -> None:
    a = await harness.worker("a", **ONE)
    await a.exchange(push=pages(1), bounds=said(time=1000.0))
    await harness.advance(5000)
    assert (await of(a)).time == 0, "it waited for its turn"
    await spend(a)
    await harness.advance(600)
    await spend(a)
    assert 600 <= (await of(a)).time < 700
    await harness.advance(50_000)
    assert 1500 <= (await of(a)).time < 1600, "of a gap a quarter of an hour counts"
    assert dict((await a.exchange(push=pages(2), bounds=said(time=1000.0))).refused) == {0: "time"}
    assert dict((await a.exchange(push=pages(2), bounds=said(2.0, time=1700.0))).refused) == {}
    await spend(a, told=2.0)
    await harness.advance(300)
    assert dict((await a.exchange(push=pages(3), bounds=said(2.0, time=1700.0))).refused) == {0: "time"}


async def test_what_waits_for_a_spent_budget_is_withdrawn(harness: Harness) -> None:
    a = await harness.worker("a", **ONE)
    many = [entry for i in range(1200) for entry in pages(i, of=["slot:s"])]
    await a.exchange(push=[*many, *pages("t", of=["slot:t"], slot="t")], bounds=said(bytes=100, t={"bytes": 100}))
    held: list[Lease] = []
    while len(held) < 5:
        got_some = (await a.exchange(want=5 - len(held), bounds=Bounds(full=["t"], budgets=Budgeting(1.0)))).leases
        held += [lease for lease in got_some if lease.slot == "s"]
    await spend(a, bytes=100)
    number, told, got = await withdrawn(a)
    assert number == 1200 - len(held)
    assert {(one.which, one.slot) for one in told} == {("bytes", "s")}
    assert max(one.number for one in told) <= 600, "a limited number a call"
    assert set(got) <= {"t"}
    assert any(one.bodies and all(body.isdigit() for body in one.bodies) for one in told)
    assert max(len(one.bodies) for one in told) == 3
    size = await a.queue.size()
    assert size.unfinished == len(held) + 1
    assert size.seen == len(held) + 1, "as if they had never been stored"
    state = await of(a)
    assert (state.pages, state.queued) == (len(held), 0)
    assert dict(state.refused) == {"bytes": number}
    assert all(await a.ack(held)), "what was handed out is finished"


async def test_withdrawing_takes_no_turn(harness: Harness) -> None:
    slow = {"limit": SlotLimit(interval=1000.0, concurrency=8), "lease": 1e6}
    a = await harness.worker("a", **slow)
    push = [*pages(*range(40)), *pages("late", delay=50.0), *pages("last", of=["slot:u"], priority=-1)]
    await a.exchange(push=push, bounds=said(errors=1, u={"errors": 9}))
    await spend(a, errors=1)
    number, _, got = await withdrawn(a)
    assert number == 40
    assert got == ["last"], "no departure was booked for what is gone"
    await harness.advance(51)
    await harness.advance(1000)
    number, told, got = await withdrawn(a)
    assert (number, got) == (1, [])
    assert told[0].which == "errors"
    assert (await of(a)).queued == 0


async def test_a_raised_limit_lets_in(harness: Harness) -> None:
    a = await harness.worker("a", **ONE)
    await a.exchange(push=pages(1, 2, 3), bounds=said(bytes=10))
    await spend(a, bytes=10)
    number, _, _ = await withdrawn(a)
    assert number == 3
    again = await a.exchange(push=pages(1, 2), bounds=said(2.0, bytes=20))
    assert list(again.stored) == [True, True]
    _, told, got = await withdrawn(a)
    assert (told, sorted(got)) == ([], ["1", "2"])
    assert (await of(a)).pages == 2


async def test_budgets_outlive_workers(harness: Harness) -> None:
    a = await harness.worker("a")
    await a.exchange(push=pages(1, 2), bounds=said(pages=3))
    await leased(harness, a, pages=3)
    await harness.die()
    b = await harness.worker("b", second=True, **ONE, isolate_after=1)
    assert dict((await b.exchange(push=pages(1, 2, 3, 4), bounds=said(pages=3))).refused) == {3: "pages"}
    assert (await of(b)).pages == 3
    await b.queue.close_worker("b")
    assert (await of(b)).pages == 3
    c = await harness.worker("c", **ONE)
    await c.exchange(bounds=Bounds(budgets=Budgeting(2.0, {"slot:s": BudgetLimits(errors=1)}, {"slot:s": Spent(0, 1)})))
    number, _, got = await withdrawn(c)
    assert (number, got) == (3, []), "also those with which a worker died"


async def test_a_new_run_has_new_budgets(harness: Harness) -> None:
    a = await harness.worker("a", **ONE)
    assert await a.queue.claim_seeding("a")
    await a.exchange(push=pages(1), bounds=said(pages=1))
    assert await a.queue.complete_seeding("a")
    await a.ack(await leased(harness, a, pages=1))
    assert await a.queue.finish("a") is Finish.WON
    await spend(a, bytes=5, pages=1)
    assert list(await a.queue.budgets()) == []
    await a.queue.close_worker("a")
    assert await harness.residue() == set()
    b = await harness.worker("b", **ONE)
    assert list((await b.exchange(push=pages(1), bounds=said(pages=1))).stored) == [True]
    if await harness.lose_part("crawl"):  # its record: whose are these counts?
        c = await harness.worker("c", **ONE)
        assert list(await c.queue.budgets()) == []
