"""IThrottleRules: the limits that workers bring, alone and several at once. Intervals are so long that
a slow server changes nothing: only moved clocks count.
"""

from __future__ import annotations

import random
from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

import pytest

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import APART, Bounds, Finish, LimitChange, Reservation, RuleSet, SlotLimit, digest_of

from .harness import LEASE, Harness, bodies, entries

ONE: dict[str, Any] = {"shards": 1, "lease": 1e6}
FREE = SlotLimit()


def interval(seconds: float, **more: Any) -> SlotLimit:
    return SlotLimit(interval=seconds, **more)


async def limit_of(harness: Harness, name: str = "s", **options: Any) -> SlotLimit:
    """As people see it."""
    return (await harness.limiter(**{**ONE, **options}).look(name)).limit


async def test_a_slot_may_have_a_limit_of_its_own(harness: Harness) -> None:
    own = {"slow": interval(100), "few": SlotLimit(concurrency=1)}
    a, b = [await harness.worker(w, w == "b", **ONE, limit=FREE, names=own) for w in "ab"]
    await a.push([e for name in ("slow", "few", "fast") for e in entries(*range(5), slot=name)])
    got = Counter(lease.slot for lease in (await b.exchange(want=50, bounds=Bounds(loads={}))).leases)
    assert got == {"slow": 1, "few": 2, "fast": 5}, "one that goes and one that waits behind it"
    assert await limit_of(harness, "slow") == own["slow"]


PATTERNS = {
    "*.shop.test": ["a.shop.test", "a.b.shop.test"],
    "api-?.test": ["api-1.test", "api-é.test"],
    "[ab]*[!0-9x]": ["a-c", "bé"],
    "x*-y*-z": ["x-y-z", "x1-y2-y3-z"],
    "*": ["shop.test", "api-12.test", "b9", "ax", "x-y-zz", "ß", "%d", "[ab]"],
}


async def test_patterns_match_as_fnmatch_does(harness: Harness) -> None:
    rules = RuleSet(FREE, {"a.b.shop.test": interval(9)}, [(p, interval(n)) for n, p in enumerate(PATTERNS, 10)])
    await harness.worker("a", **ONE, limit=rules.default, names=rules.names, patterns=rules.patterns)
    for names in PATTERNS.values():
        for name in names:
            assert await limit_of(harness, name) == rules.of(name), name
    assert (await limit_of(harness, "@scope")) == FREE, "patterns are of slots"
    rng, seen = random.Random(7), Counter[bool]()
    for _ in range(60):
        parts = ["*", "*", "*", "?", "a", "é", "-", "%", "[ab]", "[!a]", "[a-c]", "[]b]", "["]
        pattern = "".join(rng.choices(parts, k=rng.randint(1, 4)))
        limiter = harness.limiter(**ONE, limit=FREE, patterns=[(pattern, interval(7))])
        for _ in range(4):
            name = "".join(rng.choices("abé-%][", k=rng.randint(1, 4)))
            matches = fnmatchcase(name, pattern)
            seen[matches] += 1
            assert (await limiter.look(name)).limit.interval == max(7 if matches else 0, rules.of(name).interval), (
                pattern
            )
    assert min(seen.values()) > 20


async def test_the_strictest_rules_hold(harness: Harness) -> None:
    one = {
        "limit": interval(10, burst=4, jitter=0.5),
        "names": {"s": interval(100), "@scope": SlotLimit(concurrency=3)},
    }
    two = {"limit": SlotLimit(interval=5, burst=2, concurrency=6), "patterns": [("s*", interval(30, concurrency=2))]}
    a = await harness.worker("a", **ONE, **one)
    b = await harness.worker("b", second=True, **ONE, **two)
    assert await limit_of(harness, "s") == interval(100, concurrency=2)
    assert await limit_of(harness, "so") == interval(30, concurrency=2)
    assert await limit_of(harness, "t") == SlotLimit(10, burst=2, concurrency=6, jitter=0.5)
    assert await limit_of(harness, "@scope") == SlotLimit(concurrency=3)
    await a.push(entries(*range(20), slot="s"))
    for session in (b, a, b):
        first = [*(await session.exchange(want=10)).leases]
        assert len(first) == 1, "whoever asks"
        await session.ack(first)
        await harness.advance(99)
        assert [*(await a.exchange(want=10)).leases, *(await b.exchange(want=10)).leases] == []
        await harness.advance(1)


async def test_a_rolling_change_keeps_the_strictest(harness: Harness) -> None:
    """Four workers are started again one by one with other rules: the old ones have the stricter rate
    of one slot, the new ones that of the other.
    """
    old = {"limit": FREE, "names": {"s": interval(1000)}, "patterns": [("t*", interval(100))]}
    new = {"limit": FREE, "names": {"s": interval(100), "t": interval(1000)}}
    workers = {f"old{n}": await harness.worker(f"old{n}", bool(n % 2), **ONE, **old) for n in range(4)}
    await workers["old0"].push([e for slot in "st" for e in entries(*range(400), slot=slot)])
    departed: dict[str, list[float]] = {"s": [], "t": []}
    now = 0.0

    async def crawl(steps: int) -> None:
        nonlocal now
        for _ in range(steps):
            for session in workers.values():
                leases = (await session.exchange(want=4)).leases
                for lease in leases:
                    departed[lease.slot].append(now + lease.wait)
                await session.ack(leases)
            await harness.advance(100)
            now += 100

    await crawl(20)
    assert (len(departed["s"]), len(departed["t"])) == (2, 20)
    for n in range(4):
        began = now
        workers[f"new{n}"] = await harness.worker(f"new{n}", bool(n % 2), **ONE, **new)
        await crawl(20)
        if n < 2:
            await workers.pop(f"old{n}").queue.close_worker(f"old{n}")
        else:  # it dies: what it held comes back, and its rules go
            del workers[f"old{n}"]
            assert await workers["new0"].queue.declare_dead(f"old{n}") is not None
        if n < 3:
            await crawl(20)
            assert {len([at for at in times if at >= began]) for times in departed.values()} <= {4, 5}, departed
    began = now
    await crawl(30)
    assert len([at for at in departed["s"] if at >= began]) >= 20
    assert len([at for at in departed["t"] if at >= began]) <= 4


async def test_rules_go_with_their_last_worker(harness: Harness) -> None:
    slow, fast = {"limit": interval(100)}, {"limit": interval(1), "names": {"own": interval(7)}}
    await harness.worker("x", **ONE, **slow)
    b = await harness.worker("b", second=True, **ONE, **fast)
    a = await harness.worker("a", **ONE, **slow)
    await a.queue.close_worker("x")
    assert await limit_of(harness) == interval(100)
    await a.queue.close_worker("a")
    assert await limit_of(harness) == interval(1)
    # So do those of the dead, when somebody comes for what they held, or joins.
    await harness.worker("c", shards=1, **slow)
    await b.exchange()
    assert await limit_of(harness) == interval(100)
    await harness.die()
    await b.exchange()
    assert await limit_of(harness) == interval(1)
    await harness.worker("d", shards=1, **slow)
    await harness.die()
    await harness.worker("e", **ONE, limit=interval(2))
    assert await limit_of(harness) == interval(2)
    assert await limit_of(harness, "own") == interval(7)
    # One that joins again with other rules has these.
    await harness.worker("e", **ONE, limit=interval(3))
    assert await limit_of(harness) == interval(3)
    await harness.worker("b", **ONE, limit=FREE)
    assert await limit_of(harness, "own") == interval(3)


async def _lost(harness: Harness) -> None:
    for part in ("meta", "rules", "ruled", "rules:*"):
        await harness.lose_part(part)


async def _names_lost(harness: Harness) -> None:
    await harness.lose_part("rules:*")


async def _died(harness: Harness) -> None:
    other = await harness.worker("other", second=True, shards=1, limit=FREE)
    await harness.die()
    await other.exchange()
    await other.queue.close_worker("other")


async def _died_beside_its_like(harness: Harness) -> None:
    """Somebody else has the same rules, and leaves."""
    await harness.die()
    other = await harness.worker("other", second=True, shards=1, limit=FREE, names={"s": interval(100)})
    await other.exchange()


@pytest.mark.parametrize("mishap", [_lost, _names_lost, _died, _died_beside_its_like])
async def test_nothing_is_leased_before_its_rules_are_known(harness: Harness, mishap: Any) -> None:
    rules = {"shards": 1, "limit": FREE, "names": {"s": interval(100)}}
    a = await harness.worker("a", **rules)
    await a.push(entries(*range(20), slot="s"))
    assert bodies(await a.lease(5)) == ["0"]
    await mishap(harness)
    await harness.advance(101)
    got = await a.lease(5)
    assert len(got) == 1
    assert "a" in (await a.queue.rules_in_force()).workers
    await a.queue.close_worker("other")
    assert await limit_of(harness, shards=1, lease=LEASE) == interval(100)
    # So it is with one that never joined.
    await a.queue.close_worker("a")
    stranger = QueueSession(harness.queue(**{**rules, "names": {"s": interval(50)}}), "stranger")
    await harness.advance(101)
    assert len(await stranger.lease(5)) == 1
    assert await limit_of(harness, shards=1, lease=LEASE) == interval(50)


async def test_a_change_goes_before_all_rules(harness: Harness) -> None:
    await harness.worker("a", **ONE, limit=interval(100, concurrency=2))
    limiter = harness.limiter(**ONE)
    await limiter.change("s", LimitChange(interval=1, burst=5))
    await harness.worker("b", second=True, **ONE, limit=interval(500, concurrency=1), names={"s": interval(700)})
    assert await limit_of(harness) == SlotLimit(1, burst=5, concurrency=2)
    await limiter.change("s", LimitChange())
    assert await limit_of(harness) == interval(700, concurrency=2)


async def test_answers_tell_of_other_rules(harness: Harness) -> None:
    one, two = {"limit": interval(1)}, {"limit": interval(1), "names": {"s": interval(2)}}
    a = await harness.worker("a", **ONE, **one)
    answers = [await a.exchange()]
    b = await harness.worker("b", second=True, **ONE, **one)
    answers.append(await a.exchange())
    assert [(answer.rules, answer.rule_sets) for answer in answers] == [(answers[0].rules, 1)] * 2
    assert answers[0].rules > 0
    c = await harness.worker("c", second=True, **ONE, **two)
    d = await harness.worker("d", **ONE)
    for session in (a, b, c, d):
        answers.append(await session.exchange())
        assert answers[-1].rule_sets == 3
    in_force = await a.queue.rules_in_force()
    assert in_force.version == answers[-1].rules > answers[0].rules
    digests = [digest_of(session.queue.options.rules) for session in (a, b, c, d)]
    assert in_force.workers == dict(zip("abcd", digests, strict=True))
    assert {digest: digest_of(rules) for digest, rules in in_force.sets.items()} == {d: d for d in digests}
    assert digests[3] == APART
    assert in_force.sets[digests[2]] == c.queue.options.rules
    for session in (c, d):
        await session.queue.close_worker(session.worker)
    last = await a.exchange()
    assert (last.rule_sets, last.rules > answers[-1].rules) == (1, True)
    assert (await a.queue.rules_in_force()).sets.keys() == {digests[0]}


async def test_rules_of_workers_outlast_the_run(harness: Harness) -> None:
    """A worker that stays after the end still has its rules in the next run."""
    a = await harness.worker("a", **ONE, limit=interval(100))
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    assert await a.queue.finish("a") is Finish.WON
    b = await harness.worker("b", second=True, **ONE, limit=interval(1))
    assert await limit_of(harness) == interval(100)
    (booking,) = await harness.limiter(**ONE, limit=interval(1)).reserve([Reservation(("s",))])
    assert booking.booked
    await b.push(entries(1, slot="s"))
    assert not await b.lease(5)


async def test_too_many_permits_are_taken_back(harness: Harness) -> None:
    many, few = SlotLimit(concurrency=8), SlotLimit(concurrency=3)
    a, b = [await harness.worker(name, name == "b", **ONE, limit=many) for name in "ab"]
    await a.push(entries(*range(100), slot="s"))
    loads = {"s": 4}
    for session in (a, b):
        assert (await session.exchange(want=4)).permits == {"s": 4}
    c = await harness.worker("c", **ONE, limit=few)
    told = [(await session.exchange(bounds=Bounds(loads=loads))).permits for session in (a, b)]
    assert told == [{"s": 2}, {"s": 1}]
    await a.exchange(bounds=Bounds(loads={"s": 2}, keep_permits={"s": 2}))
    assert not (await c.exchange(want=5)).leases, "there are more than three yet"
    assert (await b.exchange(bounds=Bounds(loads={"s": 1}, keep_permits={"s": 1}))).permits == {}
    assert (await harness.limiter(**ONE).look("s")).permits == 3
    # So it is with one that people change; there may be none left for somebody.
    await harness.limiter(**ONE).change("s", LimitChange(concurrency=1))
    assert [(await session.exchange()).permits for session in (a, b)] == [{"s": 1}, {"s": 0}]
