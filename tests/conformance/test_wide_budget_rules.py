"""IBudgets: domains and seeds, whose slots may be on several shards. Their quota is drawn in blocks
there: exact, whoever pushes where, and whatever gets lost in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import (
    Bounds,
    Budgeting,
    BudgetLimits,
    BudgetState,
    Entry,
    Exchange,
    Finish,
    Lease,
    SlotLimit,
    Spent,
)

from .harness import Harness, bodies, fp

ONE: dict[str, Any] = {"lease": 1e6, "limit": SlotLimit(concurrency=1000)}
SLOTS = 8
DOMAIN, SEED = "domain:d", "seed:e"


async def two(harness: Harness) -> tuple[QueueSession, QueueSession]:
    """Workers of one crawl, over several shards where there are any."""
    harness.shards = max(3, harness.shards)
    return await harness.worker("a", **ONE), await harness.worker("b", second=True, **ONE)


def pages(*names: int, of: tuple[str, ...] = (DOMAIN,), **more: Any) -> list[Entry]:
    """One to each slot, in turn."""
    return [Entry(str(n).encode(), f"s{n % SLOTS}", fingerprint=fp(n), budgets=of, **more) for n in names]


def said(
    told: float = 1.0, spent: Mapping[str, Spent] | None = None, also: Mapping[str, Any] | None = None, **limits: Any
) -> Bounds:
    """Limits of the domain, and of others."""
    names = {DOMAIN: BudgetLimits(**limits), **{name: BudgetLimits(**one) for name, one in (also or {}).items()}}
    return Bounds(budgets=Budgeting(told, names, spent or {}))


def changed(told: float, **limits: Any) -> Bounds:
    """Somebody changed limits while the crawl runs."""
    return Bounds(budgets=Budgeting(told, {DOMAIN: BudgetLimits(**limits)}, {}, [DOMAIN]))


async def of(session: QueueSession, name: str = DOMAIN) -> BudgetState:
    found = [one for one in await session.queue.budgets(name) if one.name == name]
    assert len(found) <= 1
    return found[0] if found else BudgetState(name)


def stored(*answers: Exchange) -> int:
    return sum(sum(answer.stored) for answer in answers)


async def test_a_domain_has_one_budget_for_all_its_slots(harness: Harness) -> None:
    a, b = await two(harness)
    bounds = said(pages=100, also={SEED: {"pages": 30}})
    total = from_seed = 0
    parents: dict[str, Any] = {"a": [], "b": []}
    for turn in range(12):
        mine = pages(*range(20 * turn, 20 * turn + 12))
        others = pages(*range(20 * turn + 10, 20 * turn + 20), of=(DOMAIN, SEED))
        first, second = await asyncio.gather(
            a.exchange(push=mine, ack=parents["a"], want=5, bounds=bounds),
            b.exchange(push=others, ack=parents["b"], want=5, bounds=bounds),
        )
        parents = {"a": first.leases, "b": second.leases}
        total, from_seed = total + stored(first, second), from_seed + stored(second)
        assert {*first.refused.values(), *second.refused.values()} <= {"pages"}
    # Of two pushed by both it depends on who was first.
    state, seeds = await of(a), await of(a, SEED)
    assert (state.pages, total, seeds.pages) == (100, 100, from_seed)
    assert from_seed == 30
    assert state.used_up == seeds.used_up == "pages"
    assert state.limits == BudgetLimits(pages=100)
    assert sum(state.refused.values()) + sum(seeds.refused.values()) > 50
    known = await a.exchange(push=pages(0, 1000), bounds=bounds)
    assert dict(known.refused) == {1: "pages"}, "a duplicate is none"
    assert stored(await a.exchange(push=pages(1000, of=("domain:other",)), bounds=bounds)) == 1


@pytest.mark.parametrize(
    ("wide", "total"),
    [
        ({}, 50),
        ({SEED: 30}, 30),
        ({DOMAIN: 60, SEED: 100}, 50),
        ({DOMAIN: 60, SEED: 7}, 7),
        ({"its own": 30}, 50),
    ],
    ids=["slot", "slot and seed", "all, slot least", "all, seed least", "a seed each"],
)
async def test_a_page_is_within_all_its_budgets(harness: Harness, wide: dict[str, int], total: int) -> None:
    a, _ = await two(harness)
    slots = [f"s{n}" for n in range(2)]
    for turn in range(2):
        push = [
            Entry(
                f"{slot} {n}".encode(),
                slot,
                fingerprint=fp(1000 * at + n),
                budgets=(f"slot:{slot}", *(f"seed:{slot} {n}" if name == "its own" else name for name in wide)),
            )
            for at, slot in enumerate(slots)
            for n in range(40 * turn, 40 * turn + 40)
        ]
        names = {name for entry in push for name in entry.budgets}
        limits = {name: {"pages": 25 if name.startswith("slot:") else wide.get(name, 30)} for name in names}
        answer = await a.exchange(push=push, bounds=said(also=limits))
        assert len(answer.refused) == len(push) - stored(answer), "each is stored or refused"
    has = [(await of(a, f"slot:{slot}")).pages for slot in slots]
    assert (sum(has), max(has) <= 25) == (total, True)
    assert [(await of(a, name)).pages for name in wide if name != "its own"] == [
        sum(has) for name in wide if name != "its own"
    ]


async def test_room_that_one_slot_does_not_use_is_anothers(harness: Harness) -> None:
    a, b = await two(harness)
    few = await a.exchange(push=pages(*range(SLOTS)), bounds=said(pages=40))
    assert stored(few) == SLOTS, "each shard has a block of its own now"
    many = await b.exchange(push=pages(*range(SLOTS, 100 * SLOTS, SLOTS)), bounds=said(pages=40))
    assert stored(few, many) == 40, "to the last one, in one slot"
    assert (await of(b)).pages == 40

    queued = {"told": 2.0, "pages": None, "queued": 5}
    assert dict((await a.exchange(push=pages(1001), bounds=said(**queued))).refused) == {0: "queued"}
    leased = await harness.lease_all(a, bounds=said(**queued))
    assert len(leased) == 40
    assert stored(await a.exchange(push=pages(*range(2000, 2010)), bounds=said(**queued))) == 5
    one, two_ = leased[:2]
    back = await a.exchange(release=[one], ack=[two_], push=pages(3000), bounds=said(**queued))
    assert dict(back.refused) == {0: "queued"}
    assert (await of(a)).queued == 6, "what comes back is never refused"
    got = await harness.lease_all(b, bounds=said(**queued))
    assert len(got) == 6
    assert {lease.budgets for lease in got} == {(DOMAIN,)}
    assert stored(await b.exchange(push=pages(*range(4000, 4000 + 9 * SLOTS, SLOTS)), bounds=said(**queued))) == 5


async def test_a_lower_limit_holds_for_blocks_that_were_drawn(harness: Harness) -> None:
    a, b = await two(harness)
    assert stored(await a.exchange(push=pages(*range(SLOTS)), bounds=said(pages=1000))) == SLOTS
    await b.exchange(bounds=changed(2.0, pages=10))
    late = await a.exchange(push=pages(*range(100, 150)), bounds=said(1.0, pages=1000))
    assert (stored(late), (await of(a)).pages) == (2, 10), "whoever asks, wherever it is stored"
    await b.exchange(bounds=changed(3.0, pages=25))
    more = await b.exchange(push=pages(*range(200, 250)), bounds=said(3.0, pages=25))
    assert (stored(more), (await of(a)).pages) == (15, 25)
    assert (await of(a)).limits == BudgetLimits(pages=25)


async def test_a_lower_limit_holds_before_its_shard_has_asked(harness: Harness) -> None:
    """What leaves a shard that had more than the new limit makes no room there."""
    a, b = await two(harness)
    slot = range(0, 20 * SLOTS, SLOTS)
    assert stored(await a.exchange(push=pages(*slot), bounds=said(queued=100))) == 20
    await b.exchange(bounds=changed(2.0, queued=3))
    leased: list[Lease] = []
    while len(leased) < 2:
        leased += (await a.exchange(want=2 - len(leased), bounds=said(2.0, queued=3))).leases
    late = await a.exchange(push=pages(8000), bounds=said(2.0, queued=3))
    assert (dict(late.refused), (await of(a)).queued) == ({0: "queued"}, 18)


@contextlib.asynccontextmanager
async def between(session: QueueSession, do: Callable[[], Awaitable[Any]]) -> AsyncIterator[None]:
    """*do* happens after a shard has drawn blocks and before it uses them, in one call; where there are none, behind it."""
    shards: Any = getattr(session.queue, "_shards", None)
    drew, happened = False, False
    if shards is not None:
        kept = shards.run

        async def run(script: Any, *args: Any) -> Any:
            nonlocal drew, happened
            if script.name == "exchange" and drew and not happened:
                happened = True
                await do()
            drew = drew or script.name == "budgets_draw"
            return await kept(script, *args)

        shards.run = run
    try:
        yield
    finally:
        if shards is not None:
            shards.run = kept
    if not happened:
        await do()


async def test_a_block_that_is_taken_back_meanwhile_is_asked_for_again(harness: Harness) -> None:
    """Another shard needs one of the last three, so all give back what they don't use; the others are still there."""
    a, b = await two(harness)
    bounds = said(pages=10)
    shards: Any = getattr(a.queue, "_shards", None)
    other = 1 if shards is None else next(n for n in range(SLOTS) if shards.of(f"s{n}") != shards.of("s0"))
    assert stored(await a.exchange(push=pages(*range(0, 7 * SLOTS, SLOTS)), bounds=bounds)) == 7

    async def one_more() -> None:
        await b.exchange(push=pages(other), bounds=bounds)

    async with between(a, one_more):
        await a.exchange(push=pages(*range(800, 800 + 5 * SLOTS, SLOTS)), bounds=bounds)
    assert (await of(a)).pages == 10


async def test_what_was_stored_without_a_limit_counts(harness: Harness) -> None:
    a, b = await two(harness)
    assert stored(await a.exchange(push=pages(*range(30)), bounds=said(bytes=1000))) == 30
    late = await b.exchange(push=pages(*range(30, 30 + 20 * SLOTS, SLOTS)), bounds=said(2.0, bytes=1000, pages=40))
    assert stored(late) == 10, "it asks what the others have, though nobody told them"
    early = await a.exchange(push=pages(*range(900, 950)), bounds=said(1.0, bytes=1000))
    assert dict(early.refused) == dict.fromkeys(range(50), "pages"), "the limits told last hold everywhere"


async def test_what_is_used_up_is_so_everywhere(harness: Harness) -> None:
    a, b = await two(harness)
    assert stored(await a.exchange(push=pages(*range(50)), bounds=said(bytes=100))) == 50
    first = (await a.exchange(want=6, bounds=said(bytes=100))).leases
    await a.exchange(bounds=said(spent={DOMAIN: Spent(60, 1)}, bytes=100))
    assert stored(await b.exchange(push=pages(60), bounds=said(bytes=100))) == 1
    await b.exchange(bounds=said(spent={DOMAIN: Spent(45, 1)}, bytes=100))
    assert dict((await a.exchange(push=pages(*range(70, 80)), bounds=said(bytes=100))).refused) == dict.fromkeys(
        range(10), "bytes"
    )
    gone = 0
    for _ in range(4 * SLOTS):
        answer = await b.exchange(want=100, bounds=said(bytes=100))
        assert bodies(answer.leases) == []
        gone += sum(one.number for one in answer.withdrawn)
    state = await of(a)
    assert gone == 51 - len(first)
    assert (state.pages, state.queued, state.bytes, state.errors) == (len(first), 0, 105, 2)
    assert dict(state.refused) == {"bytes": 10 + gone}
    assert (await a.queue.size()).seen == len(first)
    assert stored(await a.exchange(push=pages(*range(70, 80)), bounds=said(2.0, bytes=200))) == 10


@contextlib.contextmanager
def calls_failing(session: QueueSession, nth: int, *, done: bool) -> Iterator[list[int]]:
    """The *nth* call of a script fails: it came to nothing, or (*done*) its answer is lost. Gives how
    many there were.
    """
    shards: Any = getattr(session.queue, "_shards", None)
    if shards is None:
        yield [0]
        return
    kept, calls = shards.run, [0]

    async def run(*args: Any) -> Any:
        calls[0] += 1
        fails = calls[0] == nth
        answer = await kept(*args) if done or not fails else None
        if fails:
            raise BackendUnavailable("it failed")
        return answer

    shards.run = run
    try:
        yield calls
    finally:
        shards.run = kept


@pytest.mark.parametrize("done", [False, True], ids=["lost", "unanswered"])
async def test_no_call_that_fails_costs_a_page(harness: Harness, done: bool) -> None:
    a, b = await two(harness)
    nth = total = 0
    bounds = said(pages=150, also={SEED: {"queued": 100}})
    while True:
        nth += 1
        push = pages(*range(100 * nth, 100 * nth + 9), of=(DOMAIN, SEED))
        with calls_failing(a, nth, done=done) as calls:
            try:
                answer = await a.exchange(push=push, want=4, bounds=bounds)
            except BackendUnavailable:
                answer = await a.exchange(push=push, want=4, bounds=bounds, repeat=True)
        total += stored(answer)
        assert len(answer.stored) == 9
        assert all(answer.stored[i] != (i in answer.refused) for i in range(9))
        assert total <= 150
        await a.ack(answer.leases)
        if calls[0] < nth and total == 150:
            break
        assert nth < 100
    assert (await of(b)).pages == 150
    assert dict((await b.exchange(push=pages(1), bounds=bounds)).refused) == {0: "pages"}


async def test_blocks_of_the_dead_are_not_lost(harness: Harness) -> None:
    _, b = await two(harness)
    for nth in range(1, 9):
        one = await harness.worker(f"one {nth}", **ONE)
        with calls_failing(one, nth, done=True), contextlib.suppress(BackendUnavailable):
            await one.exchange(push=pages(*range(100 * nth, 100 * nth + 9)), bounds=said(pages=400))
        await one.queue.declare_dead(one.worker)
    before = (await of(b)).pages
    assert before < 80
    rest = await b.exchange(push=pages(*range(1000, 2000)), bounds=said(pages=400))
    assert (stored(rest), (await of(b)).pages) == (400 - before, 400)


async def test_a_new_run_has_new_blocks(harness: Harness) -> None:
    a, _ = await two(harness)
    assert await a.queue.claim_seeding("a")
    await a.exchange(push=pages(*range(20)), bounds=said(pages=10))
    assert await a.queue.complete_seeding("a")
    await a.ack(await harness.lease_all(a, bounds=said(pages=10)))
    await harness.queues[-1].close_worker("b")
    assert await a.queue.finish("a") is Finish.WON
    await a.queue.close_worker("a")
    assert await harness.residue() == set()
    b = await harness.worker("b", **ONE)
    assert stored(await b.exchange(push=pages(*range(20)), bounds=said(pages=10))) == 10
