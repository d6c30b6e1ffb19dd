"""IRateLimiter and IThrottleRules: quotas, as the site sees them. Windows are so long that a slow server
changes nothing: only moved clocks count.
"""

from __future__ import annotations

import random
from typing import Any

from mocra_scrapy.models import Bounds, Finish, LimitChange, Quota, Reservation, SlotLimit

from .harness import Harness, bodies, entries

HOUR, DAY = 3600.0, 86_400.0
SLACK = 5.0
ONE: dict[str, Any] = {"shards": 1, "lease": 1e9}


def per(count: int, window: float, **more: Any) -> SlotLimit:
    return SlotLimit(quotas=(Quota(count, window),), **more)


def near(value: float, expected: float) -> bool:
    return expected - SLACK <= value <= expected + 0.001


def most_in(window: float, departures: list[float]) -> int:
    """Departures in the window that has most of them."""
    times = sorted(departures)
    return max((sum(first <= at < first + window for at in times[i:]) for i, first in enumerate(times)), default=0)


async def test_a_quota_holds_in_any_window(harness: Harness) -> None:
    """Two workers and one that bypasses the queue, at random times; entries of two slots share a scope."""
    names = {"@account": per(40, HOUR), "s": per(25, HOUR, interval=20)}
    rules = {**ONE, "limit": SlotLimit(), "names": names}
    workers = [await harness.worker(w, w == "b", **rules) for w in "ab"]
    limiter = harness.limiter(second=True, **rules)
    await workers[0].push([e for slot in "st" for e in entries(*range(900), slot=slot, scopes=("@account",))])
    rng, now, departed = random.Random(3), 0.0, {"s": [], "@account": []}  # type: dict[str, list[float]]
    for _ in range(100):
        pause = rng.choice([0.0, 1.0, 30.0, 200.0, 1500.0])
        await harness.advance(pause)
        now += pause
        got = [(lease.slot, now + lease.wait) for w in workers for lease in await taken(w, rng.randint(0, 8))]
        wishes = [Reservation(("s", "@account"), 60.0)] * rng.randint(0, 3)
        got += [("s", now + one.wait) for one in await limiter.reserve(wishes) if one.booked]
        departed["s"] += [at for slot, at in got if slot == "s"]
        departed["@account"] += [at for _, at in got]
    assert most_in(HOUR - SLACK, departed["s"]) <= 25
    assert most_in(HOUR - SLACK, departed["@account"]) == 40
    used = len(departed["@account"]) / (40 * (now / HOUR))
    assert used > 0.8, "there was work nearly all the time"


async def taken(session: Any, want: int) -> list[Any]:
    leases = list((await session.exchange(want=want, bounds=Bounds(loads={}))).leases)
    await session.exchange(ack=leases, bounds=Bounds(keep_permits={lease.slot: 0 for lease in leases}))
    return leases


async def test_a_used_up_quota_waits_until_it_opens(harness: Harness) -> None:
    a = await harness.worker("a", **ONE, limit=per(5, DAY), lookahead=60.0)
    limiter = harness.limiter(second=True, **ONE, limit=per(5, DAY))
    await a.push(entries(*range(20), slot="s"))
    assert bodies(await taken(a, 50)) == [str(n) for n in range(5)]
    answer = await a.exchange(want=50)
    assert list(answer.leases) == []
    assert answer.next_due is not None
    assert 60 - SLACK <= answer.next_due <= 60, "a worker sleeps; rules may change, so it looks now and then"
    (booking,) = await limiter.reserve([Reservation(("s",), 60.0)])
    assert not booking.booked
    state = await limiter.look("s")
    assert [(one.quota, one.used) for one in state.quotas] == [(Quota(5, DAY), 5)]
    assert DAY - SLACK <= state.quotas[0].wait == state.wait <= DAY * 1.01
    assert (state.held, state.paused, state.pending) == (0, False, 15)
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    assert await a.queue.finish("a") is Finish.BUSY
    await harness.advance(DAY - 60 - SLACK)
    assert await taken(a, 50) == []
    await harness.advance((await limiter.look("s")).wait - 40)  # it opens within the lookahead
    assert len(await taken(a, 50)) == 5
    assert [one.used for one in (await limiter.look("s")).quotas] == [10], "the old ones are not over yet"
    await harness.advance(50)
    assert await taken(a, 50) == []
    assert [one.used for one in (await limiter.look("s")).quotas] == [5]
    assert [one.used for one in (await limiter.look("t")).quotas] == [0]


async def test_quotas_outlast_the_run(harness: Harness) -> None:
    """The site's day doesn't end with the run, nor with the change that somebody made."""
    a = await harness.worker("a", **ONE, limit=per(5, DAY))
    limiter = harness.limiter(second=True, **ONE, limit=per(5, DAY))
    await a.push(entries(*range(3), slot="s"))
    assert len(await taken(a, 9)) == 3
    await limiter.set_quotas("s", [Quota(9, DAY)])
    await a.queue.claim_seeding("a")
    await a.queue.complete_seeding("a")
    assert await a.queue.finish("a") is Finish.WON
    await a.queue.close_worker("a")
    b = await harness.worker("b", second=True, **ONE, limit=per(5, DAY))
    assert (await b.queue.state()).run == 2
    await b.push(entries(*range(10, 20), slot="s"))
    assert len(await taken(b, 9)) == 2
    assert [one.used for one in (await limiter.look("s")).quotas] == [5]
    await harness.advance(DAY * 1.02)
    assert len(await taken(b, 9)) == 5


async def test_what_is_given_back_does_not_count(harness: Harness) -> None:
    limiter = harness.limiter(**ONE, limit=per(3, DAY), names={"@account": per(4, DAY)})
    both = ("s", "@account")
    booked = await limiter.reserve([Reservation(both, 0.0)] * 3)
    assert [one.booked for one in booked] == [True] * 3
    (again,) = await limiter.reserve([Reservation(both, 0.0, booked[1].departure)])
    assert again.booked
    more = await limiter.reserve([Reservation(both, 0.0), Reservation(("t", "@account"), 0.0)])
    assert [one.booked for one in more] == [False, True]
    for one in (booked[0], again, booked[2]):  # there is never room for it: no quota is of nothing
        await limiter.reserve([Reservation(both, -1.0, one.departure)])
    assert [state.used for name in both for state in (await limiter.look(name)).quotas] == [0, 1]
    # A departure beside the queue that a worker gives back, with its exchange.
    a = await harness.worker("a", **ONE, limit=per(3, DAY), names={"@account": per(4, DAY)})
    (one,) = await limiter.reserve([Reservation(("s",), 0.0)])
    assert one.departure is not None
    await a.exchange(bounds=Bounds(unused=[one.departure]))
    assert [state.used for state in (await limiter.look("s")).quotas] == [0]


async def test_all_quotas_hold(harness: Harness) -> None:
    quotas = (Quota(2, 60.0), Quota(4, HOUR), Quota(6, DAY))
    limit = SlotLimit(quotas=quotas)
    limiter, now = harness.limiter(**ONE, limit=limit), 0.0
    assert (await limiter.look("s")).limit == limit
    departed = []
    for _ in range(120):
        departed += [now for one in await limiter.reserve([Reservation(("s",), 0.0)] * 3) if one.booked]
        await harness.advance(62)
        now += 62
    assert departed == [0, 0, 62, 62, departed[4], departed[4]]
    assert HOUR < departed[4] <= HOUR * 1.05
    assert [one.used for one in (await limiter.look("s")).quotas] == [0, 0, 6]


async def test_the_quotas_of_all_rules_hold(harness: Harness) -> None:
    """Workers are started again with another window: neither is exceeded, at any moment."""
    old, new = per(10, HOUR, concurrency=4), SlotLimit(quotas=(Quota(50, HOUR), Quota(12, 2 * HOUR)))
    a = await harness.worker("a", **ONE, limit=old)
    await a.push(entries(*range(90), slot="s"))
    assert len(await taken(a, 4)) == 4
    b = await harness.worker("b", second=True, **ONE, limit=new)
    limiter = harness.limiter(**ONE)
    assert (await limiter.look("s")).limit == SlotLimit(concurrency=4, quotas=(Quota(10, HOUR), Quota(12, 2 * HOUR)))
    got = [len(await taken(session, 20)) for session in (b, a, b)]
    assert sum(got) == 6, "the other window begins with what is known"
    await a.queue.close_worker("a")
    await harness.advance(61)  # nobody looks at what waits for a day all the time
    assert len(await taken(b, 20)) == 2
    assert [one.used for one in (await limiter.look("s")).quotas] == [12, 12]
    await harness.advance(HOUR * 1.02)
    assert await taken(b, 20) == []
    await harness.advance(HOUR * 1.02)
    assert len(await taken(b, 20)) == 12


async def test_quotas_are_changed_while_the_crawl_runs(harness: Harness) -> None:
    limit = per(5, DAY)
    a, limiter = await harness.worker("a", **ONE, limit=limit), harness.limiter(second=True, **ONE, limit=limit)
    await a.push(entries(*range(99), slot="s"))
    assert len(await taken(a, 50)) == 5
    await limiter.set_quotas("s", [Quota(8, DAY)])
    assert len(await taken(a, 50)) == 3
    await limiter.change("s", LimitChange(interval=1.0))  # beside it
    assert (await limiter.look("s")).limit == per(8, DAY, interval=1.0)
    await limiter.change("s", LimitChange())
    await limiter.set_quotas("s", [Quota(10, HOUR)])
    assert len(await taken(a, 50)) == 2, "the shorter window begins with what is known of the longer one"
    await limiter.set_quotas("s", [])
    assert (await limiter.look("s")).limit == SlotLimit()
    assert len(await taken(a, 20)) == 20
    await limiter.set_quotas("s", None)
    assert (await limiter.look("s")).limit == limit
    assert await taken(a, 50) == []
    # Of a slot whose rules have none.
    await limiter.set_quotas("s", [Quota(1, HOUR)])
    await limiter.reset("s")
    assert (await limiter.look("s")).limit == limit
    await limiter.set_quotas("@new", [Quota(1, HOUR)])
    assert [one.booked for one in await limiter.reserve([Reservation(("@new",), 0.0)] * 2)] == [True, False]
    assert "@new" in await limiter.slots()
