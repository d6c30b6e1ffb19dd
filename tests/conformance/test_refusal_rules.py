"""IRequestQueue: the server refuses one command in the middle of a call: a key that is somebody
else's, a right that is missing, a size.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.interfaces import IRequestQueue
from mocra_scrapy.models import (
    Attempts,
    Bounds,
    Budgeting,
    BudgetLimits,
    Burial,
    Entry,
    Exchange,
    Finish,
    SlotLimit,
    Spent,
    StallRules,
)

from .harness import LEASE, Harness, entries, fp

#: More commands than any call has.
MANY = 1000


async def snapshot(queue: IRequestQueue) -> Any:
    """All that can be seen of a crawl."""
    return (
        await queue.size(),
        sorted(entry.body for entry in await queue.peek(10_000)),
        sorted((worker.name, worker.held) for worker in await queue.workers()),
        sorted((letter.body, letter.reason) for letter in await queue.dead(1000)),
        await queue.state(),
        sorted(
            (one.name, one.pages, one.queued, one.bytes, sorted(one.refused.items())) for one in await queue.budgets()
        ),
    )


def counts(seen: Any) -> Any:
    """All but which entries wait or were buried: slots may have changed places in their line."""
    size, _, workers, letters, state, budgets = seen
    return size, workers, sorted(reason for _, reason in letters), state, budgets


@dataclass
class Stage:
    """A crawl, and the call that is refused."""

    worker: QueueSession
    call: Callable[[bool], Awaitable[Any]]


def told(harness: Harness, answer: Any) -> Any:
    """What of an answer must be the same however often the call was refused before."""
    if isinstance(answer, Exchange):
        flags = (answer.stored, answer.acked, answer.released, answer.buried)
        # How much others have read of a log a worker hears a moment later.
        size = replace(answer.size, pending=0) if harness.is_late else answer.size
        return *map(list, flags), len(answer.leases), size, answer.lost, answer.reclaimed, answer.given_up
    return answer


async def _a_whole_turn(harness: Harness, crawl: str, **options: Any) -> Stage:
    """Pushes, some of them known or delayed; acks, releases, burials; what has become due; a worker
    that died with an entry, a suspect and one that was handed out too often; leases.
    """
    options = {"shards": 1, "isolate_after": 2, "max_deliveries": 3, "max_dead": 2, **options}
    a = await harness.worker_of(crawl, "a", **options)
    b = await harness.worker_of(crawl, "b", second=True, **options)
    await a.push(entries("twice", slot="t", priority=3))
    for name in "xy":
        dying = await harness.worker_of(crawl, name, second=True, **options)
        assert await dying.lease(1)
        await harness.advance(LEASE / 2 + 1)
        await a.exchange()
        await b.exchange()
        await harness.advance(LEASE / 2 + 1)
        await b.exchange()
        await a.exchange()
    # Due in the refused call, and not before however slow the machine is: real seconds pass here, too.
    await a.push([Entry(b"due", "d", delay=LEASE - 10), Entry(b"late", "d", delay=LEASE * 15)])
    await a.push([Entry(b"%d" % i, f"s{i % 3}", i % 2, fp(i)) for i in range(12)])
    theirs = await b.lease(2)
    mine = [lease for lease in await a.lease(7) if lease.body != b"twice"]
    assert len(mine) >= 5
    assert theirs
    if "limit" not in options:
        waiting = await harness.worker_of(crawl, "w", **options)
        await waiting.lease(100)
        await waiting.lease(1)
        await a.push([Entry(b"more %d" % i, f"s{i}") for i in range(5)])
    await harness.advance(LEASE / 2 + 1)
    await a.exchange()
    await harness.advance(LEASE / 2 + 1)
    pushed = [Entry(b"new", "s0", 0, fp("new")), Entry(b"old", "s0", 0, fp(3)), Entry(b"far", "f", delay=LEASE * 15)]
    pushed += [Entry(b"first", "s9", 7, fp("first")), Entry(b"never filtered", "s1")]
    kept = mine[4]
    burials = [
        Burial(mine[2], "errback", kind="k", response=b"page"),
        Burial(mine[2], "errback", done=True),
        Burial(mine[3], "retries", kind="k", response=b"another"),
    ]

    def call(repeat: bool) -> Awaitable[Any]:
        ack = [mine[0], mine[0]]
        return a.exchange(push=pushed, ack=ack, release=[mine[1], kept], bury=burials, want=3, repeat=repeat)

    return Stage(a, call)


async def _a_whole_turn_with_limits(harness: Harness, crawl: str) -> Stage:
    return await _a_whole_turn(harness, crawl, limit=SlotLimit(0.05, burst=20, concurrency=30))


async def _a_lease_of_a_suspect(harness: Harness, crawl: str) -> Stage:
    options = {"shards": 1, "isolate_after": 1}
    a = await harness.worker_of(crawl, "a", **options)
    await a.push(entries("suspect", "other", slot="s"))
    dying = await harness.worker_of(crawl, "x", second=True, **options)
    assert await dying.lease(1)
    for _ in range(2):
        await harness.advance(LEASE / 2 + 1)
        await a.exchange()
    return Stage(a, lambda repeat: a.exchange(want=3, repeat=repeat))


async def _a_suspect_that_is_given_back(harness: Harness, crawl: str) -> Stage:
    stage = await _a_lease_of_a_suspect(harness, crawl)
    suspects = [lease for lease in await stage.worker.lease(3) if lease.body == b"suspect"]
    assert suspects
    return Stage(
        stage.worker,
        lambda repeat: stage.worker.exchange(release=suspects, push=entries("more", slot="s"), repeat=repeat),
    )


async def _a_slot_that_is_given_up(harness: Harness, crawl: str, **options: Any) -> Stage:
    """Some of it pending, some delayed, a suspect, some pushed now; another slot goes on."""
    options = {"shards": 1, "isolate_after": 1, **options}
    a = await harness.worker_of(crawl, "a", **options)
    await a.push(entries("suspect", slot="s"))
    dying = await harness.worker_of(crawl, "x", second=True, **options)
    assert await dying.lease(1)
    for _ in range(2):
        await harness.advance(LEASE / 2 + 1)
        await a.exchange()
    await a.push([*entries(*range(7), slot="s"), *entries("t", slot="t")])
    await a.push([Entry(b"later %d" % i, "s", i % 3, delay=LEASE * 15) for i in range(5)])
    stalls = harness.stalls(StallRules(1.0, 1), crawl=crawl, **options)
    assert await stalls.report([Attempts("s", age=5.0)])
    pushed = [Entry(b"new", "s", 5), Entry(b"delayed", "s", delay=LEASE * 15)]
    return Stage(a, lambda repeat: a.exchange(push=pushed, want=3, repeat=repeat))


async def _a_slot_with_limits_that_is_given_up(harness: Harness, crawl: str) -> Stage:
    return await _a_slot_that_is_given_up(harness, crawl, limit=SlotLimit(concurrency=30))


async def _a_filter_that_grows(harness: Harness, crawl: str) -> Stage:
    a = await harness.worker_of(crawl, "a", shards=1, seen_ttl=1000.0)
    await a.push([Entry(b"%d" % i, "s", 0, fp(i)) for i in range(222)])
    more = [Entry(b"%d" % i, "s", 0, fp(i)) for i in range(200, 232)]
    return Stage(a, lambda repeat: a.exchange(push=more, repeat=repeat))


async def _finished(harness: Harness, crawl: str, **options: Any) -> QueueSession:
    a = await harness.worker_of(crawl, "a", shards=1, **options)
    await a.push([Entry(b"seen", "s", 0, fp("seen"))])
    await a.ack(await harness.lease_all(a))
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    return a


async def _a_turn_with_budgets(harness: Harness, crawl: str) -> Stage:
    """Pushes of which some are refused, what was spent of one that waits and one that does not, leases."""
    a = await harness.worker_of(crawl, "a", shards=1)
    limits = {"slot:s": BudgetLimits(pages=4), "slot:t": BudgetLimits(bytes=50)}
    some = [Entry(b"%d" % i, slot, 0, fp(i), budgets=(f"slot:{slot}",)) for i, slot in enumerate("sttss")]
    await a.exchange(push=some[:3], bounds=Bounds(budgets=Budgeting(1.0, limits)))
    spent = {"slot:s": Spent(3), "slot:t": Spent(6)}
    more = [Entry(b"%d" % i, "s", 0, fp(i), budgets=("slot:s",)) for i in range(10, 15)]
    bounds = Bounds(budgets=Budgeting(2.0, limits, spent))
    return Stage(a, lambda repeat: a.exchange(push=[*some[3:], *more], want=2, bounds=bounds, repeat=repeat))


async def _a_push_after_the_end(harness: Harness, crawl: str) -> Stage:
    a = await _finished(harness, crawl)
    assert await a.queue.finish("a") is Finish.WON
    return Stage(a, lambda repeat: a.exchange(push=entries("late", slot="s"), repeat=repeat))


async def _an_end(harness: Harness, crawl: str) -> Stage:
    a = await _finished(harness, crawl)
    return Stage(a, lambda _: a.queue.finish("a"))


async def _a_leave(harness: Harness, crawl: str) -> Stage:
    a = await harness.worker_of(crawl, "a", shards=1)
    await a.push(entries(*range(4), slot="s"))
    await a.lease(3)
    await a.queue.claim_seeding("a")
    return Stage(a, lambda _: a.queue.close_worker("a"))


async def _a_join_of_a_new_run(harness: Harness, crawl: str) -> Stage:
    a = await _finished(harness, crawl)
    with harness.late_clean_up(a.queue):
        await a.queue.finish("a")

    async def join(_: bool) -> Any:
        state = await a.queue.join("a")
        return state.run, state.seeding

    return Stage(a, join)


async def _letters(harness: Harness, crawl: str) -> tuple[QueueSession, list[str]]:
    a = await harness.worker_of(crawl, "a", shards=1)
    await a.push([Entry(b"%d" % i, "s", i, fp(i)) for i in range(3)])
    more = {"kind": "k", "response": b"page"}
    await a.bury([Burial(lease, "errback", fingerprint=fp(lease.priority), **more) for lease in await a.lease(3)])  # type: ignore[arg-type]
    return a, [letter.id for letter in await a.queue.dead()]


async def _a_replay(harness: Harness, crawl: str) -> Stage:
    a, ids = await _letters(harness, crawl)
    return Stage(a, lambda _: a.queue.replay(ids[:2], forget=True))


async def _a_purge(harness: Harness, crawl: str) -> Stage:
    a, ids = await _letters(harness, crawl)
    return Stage(a, lambda _: a.queue.purge(ids[:2]))


async def _a_forget(harness: Harness, crawl: str) -> Stage:
    a, _ = await _letters(harness, crawl)
    return Stage(a, lambda _: a.queue.forget([fp(0), fp(1), fp("unknown")]))


async def _a_claim(harness: Harness, crawl: str) -> Stage:
    a = await harness.worker_of(crawl, "a", shards=1)
    return Stage(a, lambda _: a.queue.claim_seeding("a"))


async def _a_completion(harness: Harness, crawl: str) -> Stage:
    a = await harness.worker_of(crawl, "a", shards=1)
    await a.queue.claim_seeding("a")
    return Stage(a, lambda _: a.queue.complete_seeding("a"))


STAGES = [
    _a_whole_turn,
    _a_whole_turn_with_limits,
    _a_slot_that_is_given_up,
    _a_slot_with_limits_that_is_given_up,
    _a_lease_of_a_suspect,
    _a_suspect_that_is_given_back,
    _a_filter_that_grows,
    _a_turn_with_budgets,
    _a_push_after_the_end,
    _an_end,
    _a_leave,
    _a_join_of_a_new_run,
    _a_replay,
    _a_purge,
    _a_forget,
    _a_claim,
    _a_completion,
]
#: Their later steps delete what a finished run left, one thing after the other.
IN_STEPS = {_an_end, _a_join_of_a_new_run}


async def _everything(harness: Harness, crawl: str) -> list[bytes]:
    """All that is stored of a crawl, by everybody's death and one survivor that takes it."""
    await harness.advance(LEASE * 16)
    heir = await harness.worker_of(crawl, "heir", second=True, shards=1, max_deliveries=200, isolate_after=200)
    got: list[bytes] = []
    turns = 0
    while turns < 40:
        answer = await heir.exchange(want=100)
        got += [lease.body for lease in answer.leases]
        await heir.ack(answer.leases)
        if not answer.size.unfinished:
            break
        turns += not await harness.is_coming(heir, answer)
    size = await heir.queue.size()
    assert not size.unfinished, size
    letters = await heir.queue.dead(1000)
    responses = [await heir.queue.find_response(letter.id) or b"none" for letter in letters]
    await heir.queue.close()
    return sorted([*got, *(letter.body for letter in letters), *responses])


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__.removeprefix("_"))
async def test_half_a_call_is_none(harness: Harness, stage: Any) -> None:
    smooth = await stage(harness, "smooth")
    expected = told(harness, await smooth.call(False))
    after = await snapshot(smooth.worker.queue)
    stored = await _everything(harness, "smooth")
    crawl = "rough"
    rough = await stage(harness, crawl)
    queue, number = rough.worker.queue, rough.worker.call
    before = await snapshot(queue)
    bring_back = harness.keep(crawl)
    for step in range(1, MANY, harness.stride):
        if step > 1:
            bring_back()
            rough.worker.call = number
        with harness.refusing(queue, step) as refused:
            try:
                answer = await rough.call(False)
            except MocraError:
                answer = None
        if not refused:
            assert told(harness, answer) == expected
            return
        if answer is None:
            if stage not in IN_STEPS and not harness.is_late:  # else a part of it is done
                seen = await snapshot(queue)
                assert seen == before or counts(seen) == counts(after), f"half a call after step {step}"
            answer = await rough.call(True)
        assert told(harness, answer) == expected, f"after step {step}"
        assert counts(await snapshot(queue)) == counts(after), f"after step {step}"
        assert await _everything(harness, crawl) == stored, f"after step {step}"
    raise AssertionError("it never ends")


@pytest.mark.parametrize("options", [{}, {"limit": SlotLimit(concurrency=8)}], ids=["plain", "limits"])
async def test_a_call_may_be_large(harness: Harness, options: dict[str, Any]) -> None:
    a = await harness.worker("a", **options)
    number = 20_000 if harness.shards == 1 else 9_500  # Lua unpacks 8,000 at once
    many = [Entry(b"%d" % i, "one slot", i % 2, fp(i)) for i in range(number - 1000)]
    many += [Entry(b"%d" % i, f"slot {i}", 0, fp(i)) for i in range(number - 1000, number)]
    assert all(await a.push(many))
    assert not any(await a.push(many))
    got = list((await a.exchange(want=number)).leases)
    if options:
        assert len(got) == 1000 + 2 * 8
        return
    got += await harness.lease_all(a, want=number)
    assert len({lease.body for lease in got}) == len(got) == number
    half = number // 2
    assert all(await a.release(got[:half]))
    assert all(await a.bury([Burial(lease, "errback") for lease in got[half:]]))
    size = await a.queue.size()
    assert (size.pending, size.leased, size.dead) == (half, 0, number - half)
