"""The steps of a pool, in any order, by workers that die."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from mocra_scrapy.models.sessions import BAD, EXPIRED, GOOD
from mocra_scrapy.sessions.pool_state import KEPT, LEASE, OVER, READY, REFRESH, USABLE, Make, PoolState, Used
from mocra_scrapy.settings.sessions import PoolOptions


class Cluster:
    """Workers on one pool, one step at a time, and a clock that is moved."""

    def __init__(self, seed: int, workers: int, **options: Any) -> None:
        self.rng, self.now, self.state, self.options = random.Random(seed), 0.0, PoolState(), PoolOptions(**options)
        self.ids = iter(range(10**9))
        self.workers = {f"w{n}": {} for n in range(workers)}  # type: dict[str, dict[str, Make]]
        self.held: dict[str, list[Used]] = {name: [] for name in self.workers}
        self.uses: Counter[str] = Counter()
        self.logins = 0
        self.dropped: set[str] = set()

    def take(self, me: str, **more: Any) -> Any:
        decision = self.state.take(self.now, self.options, me, f"s{next(self.ids)}", making=self.workers[me], **more)
        if decision.make is not None:
            self.workers[me][decision.make.id] = decision.make
        if decision.grant is not None:
            id, generation, uses = decision.grant
            self.held[me] += [Used(id, generation)] * (uses or 1)
        self.dropped |= set(decision.drop)
        self.state = PoolState.unpack(self.state.pack())  # as it is stored
        return decision

    def finish(self, me: str, *, good: bool = True) -> None:
        if self.workers[me]:
            make = self.workers[me].pop(self.rng.choice(sorted(self.workers[me])))
            self.logins += self.state.made_it(self.now, make, me, good=good) and good

    def kill(self, me: str) -> int:
        """How many sessions it was making."""
        made = len(self.workers.pop(me))
        del self.held[me]
        self.workers[f"{me}'"], self.held[f"{me}'"] = {}, []
        return made


def test_a_pool_is_filled_once_however_many_ask() -> None:
    cluster = Cluster(0, 4, size=50)
    for n in range(400):
        cluster.take(f"w{n % 4}")
    assert sum(map(len, cluster.workers.values())) == cluster.state.living == 50
    for n in range(200):
        cluster.finish(f"w{n % 4}")
    assert (cluster.logins, cluster.state.made) == (50, 50)
    for n in range(400):
        assert cluster.take(f"w{n % 4}").make is None


@pytest.mark.parametrize("seed", range(30))
def test_one_more_log_in_for_each_that_died_with_its_worker(seed: int) -> None:
    cluster = Cluster(seed, 4, size=20)
    lost = 0
    while cluster.logins < 20:
        me = cluster.rng.choice(sorted(cluster.workers))
        deed = cluster.rng.random()
        if deed < 0.6:
            cluster.take(me)
        elif deed < 0.9:
            cluster.finish(me)
        else:
            lost += cluster.kill(me)
        cluster.now += cluster.rng.choice([0.1, 1.0, LEASE])
        for name, making in cluster.workers.items():  # they live
            for make in list(making.values()):
                if not cluster.state.go_on(cluster.now, make, name):
                    lost += 1  # it slept for longer than its lease
                    del making[make.id]
    assert cluster.state.living == 20
    assert len(cluster.state.sessions) + len(cluster.dropped) == 20 + lost


@pytest.mark.parametrize("seed", range(30))
def test_after_any_interleaving(seed: int) -> None:
    """Nothing belongs to nobody, no bound is passed, no verdict about an earlier log-in counts."""
    cluster = Cluster(seed, 3, size=4, max_uses=10, max_errors=2, max_age=300.0, max_bad_inits=10**6)
    rng = cluster.rng
    for _ in range(600):
        me = rng.choice(sorted(cluster.workers))
        deed = rng.random()
        if deed < 0.35:
            cluster.take(me, may_make=rng.random() < 0.9)
        elif deed < 0.55:
            cluster.finish(me, good=rng.random() < 0.8)
        elif deed < 0.9 and cluster.held[me]:
            used = cluster.held[me].pop()
            entry = cluster.state.sessions.get(used.id)
            before = None if entry is None else (entry.generation, entry.status)
            if entry is not None and entry.generation == used.generation and entry.status in USABLE:
                cluster.uses[f"{used.id}/{used.generation}"] += 1
            verdict = rng.choice([GOOD, GOOD, GOOD, BAD, EXPIRED])
            make = cluster.state.judge(
                cluster.now, used, verdict, cluster.options, me=me, can_refresh=rng.random() < 0.7
            )
            if make is not None:
                assert before == (used.generation, READY)
                cluster.workers[me][make.id] = make
            elif entry is not None and before not in [(used.generation, status) for status in USABLE]:
                assert (entry.generation, entry.status) == before
        elif deed < 0.95 and cluster.held[me]:
            used = cluster.held[me].pop()
            cluster.state.give_back(used.id, used.generation, 1)
        elif deed < 0.97:
            cluster.kill(me)
        cluster.now += rng.choice([0.0, 0.5, 5.0])
        state = cluster.state
        assert state.living <= 4
        for id, entry in state.sessions.items():
            assert bool(entry.owner) == (entry.status in ("new", REFRESH)), id
            assert 0 <= entry.uses <= 10
            assert 0 <= entry.errors < 3
            assert entry.until <= cluster.now + KEPT
    assert max(cluster.uses.values()) <= 10
    cluster.now += KEPT + LEASE
    cluster.state.tidy(cluster.now, cluster.options)
    cluster.now += KEPT
    cluster.state.tidy(cluster.now, cluster.options)
    assert all(entry.status == READY for entry in cluster.state.sessions.values())


def test_too_many_that_could_not_be_made() -> None:
    cluster = Cluster(0, 2, size=2, max_bad_inits=3)
    for _ in range(2):
        cluster.take("w0")
        cluster.finish("w0", good=False)
    cluster.take("w1")
    cluster.finish("w1")
    assert cluster.state.bad == 0, "in a row"
    for n in range(3):
        assert not cluster.take(f"w{n % 2}").over
        cluster.finish(f"w{n % 2}", good=False)
    assert cluster.take("w0").over
    cluster.state.begin(2)
    assert not cluster.take("w1").over, "another run of the crawl"


def test_a_verdict_counts_once() -> None:
    cluster = Cluster(0, 2, size=1, max_errors=3)
    cluster.take("w0")
    cluster.finish("w0")
    used = Used(*cluster.take("w0").grant[:2])
    state = cluster.state

    def judge(verdict: str, used: Used = used) -> Make | None:
        return state.judge(cluster.now, used, verdict, cluster.options, me="w1", can_refresh=True)

    for verdict, errors in ((BAD, 1), (BAD, 2), (GOOD, 1.5), (GOOD, 1), (GOOD, 0.5), (GOOD, 0), (GOOD, 0)):
        judge(verdict)
        assert state.sessions[used.id].errors == errors
    assert judge(EXPIRED) == Make(used.id, 2, True)
    assert judge(EXPIRED) is None, "one refreshes it"
    assert cluster.take("w0").grant is None, "the others wait"
    assert state.sessions[used.id].status == REFRESH
    cluster.state.made_it(cluster.now, Make(used.id, 2, True), "w1", good=True)
    judge = lambda verdict, used=used: cluster.state.judge(  # noqa: E731
        cluster.now, used, verdict, cluster.options, me="w1", can_refresh=True
    )
    for _ in range(9):
        judge(BAD)
    assert cluster.state.sessions[used.id].status == READY, "of the log-in before"
    for _ in range(3):
        judge(BAD, Used(used.id, 2))
    assert cluster.state.sessions[used.id].status == OVER


def test_uses_are_taken_in_smaller_and_smaller_parts() -> None:
    cluster = Cluster(0, 2, size=1, max_uses=100)
    cluster.take("w0")
    cluster.finish("w0")
    taken = []
    while (grant := cluster.take("w0", may_make=False).grant) is not None:
        taken.append(grant.uses)
    assert sum(taken) == 100
    assert taken == sorted(taken, reverse=True)
    assert (taken[0], len(taken)) == (25, 17), "17 round trips for 100 pages"


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"v":1}', b'{"run":1,"bad":0,"made":0,"sessions":{"a":{"x":1}}}', b"\xff"]
)
def test_what_none_of_us_wrote_is_told(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        PoolState.unpack(raw)
