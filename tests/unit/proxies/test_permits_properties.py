"""After any interleaving of deaths, verdicts and refreshes: no permit is held by nobody, no figure leaves
its bounds, and who waits for a proxy never goes without one.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocra_scrapy.backends.embedded.proxies import StoredProxies
from mocra_scrapy.backends.embedded.proxy_permits import leave, take_turn
from mocra_scrapy.models import Binding, PermitWish, ProxyReport, ProxyRules, ProxyTurn
from mocra_scrapy.models.proxies import FAILURES
from mocra_scrapy.proxies.fetches import MARK
from tests.simulation.virtual_time import VirtualLoop
from tests.unit.proxies.world import Page, World

RULES = ProxyRules(failures=2, cool_down=5.0, ban_cool_down=9.0, cool_down_max=40.0, several=2, sticky=30.0, probe=12.0)
PROXIES, SITES, WORKERS = ("p", "q", "r"), ("a", "b"), ("w1", "w2", "w3")
CAPS = {"p": 1, "q": 3, "r": 5}

reports = st.builds(
    lambda proxy, site, good, bad, kind, probe: ProxyReport(
        proxy, site, good, bad, bad, kind if bad else "", 0.5 if good else 0.0, 0.0, probe
    ),
    st.sampled_from(PROXIES),
    st.sampled_from(SITES),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from(FAILURES),
    st.integers(0, 3),
)
wishes = st.dictionaries(st.sampled_from(PROXIES), st.integers(0, 7)).map(
    lambda some: [PermitWish(proxy, number, CAPS[proxy]) for proxy, number in some.items()]
)
keys = st.tuples(st.sampled_from(PROXIES), st.sampled_from(("", *SITES)))
bindings = st.builds(Binding, st.sampled_from("kl"), st.sampled_from(PROXIES), st.sampled_from(("", *PROXIES)))
steps = st.one_of(
    st.tuples(
        st.just("turn"),
        st.sampled_from(WORKERS),
        st.lists(reports, max_size=3),
        wishes,
        st.lists(keys, max_size=3),
        st.lists(bindings, max_size=2),
    ),
    st.tuples(st.just("wait"), st.floats(0, 40)),
    st.tuples(st.just("leave"), st.sampled_from(WORKERS)),
    st.tuples(st.just("old"), st.sampled_from(WORKERS), wishes),
    st.tuples(st.just("out"), st.sampled_from(PROXIES)),
    st.tuples(st.just("back"), keys),
)


def holds(stored: StoredProxies, now: float) -> None:
    held: dict[str, int] = {}
    for holder in stored.workers.values():
        for proxy, number in holder.permits.items():
            assert number > 0
            held[proxy] = held.get(proxy, 0) + number
    assert held == stored.taken
    assert all(number <= CAPS[proxy] for proxy, number in held.items())
    for (proxy, _), record in stored.records.items():
        assert 0 <= record.success <= 1
        assert 0 <= record.latency <= 3600
        assert 0 <= record.row <= RULES.failures
        assert record.times >= 0
        assert record.until == 0 or proxy
    assert list(stored.records.values()) == sorted(stored.records.values(), key=lambda one: one.version)
    del now


@settings(max_examples=150)
@given(st.lists(steps, max_size=30))
def test_no_permit_is_held_by_nobody(some: list[tuple[Any, ...]]) -> None:
    stored, now, numbers = StoredProxies(), 100.0, dict.fromkeys(WORKERS, 0)
    probers: dict[tuple[str, str], tuple[str, float]] = {}
    for what, *more in some:
        if what == "turn":
            worker, told, wanted, probes, bound = more
            numbers[worker] += 1
            turn = ProxyTurn(worker, numbers[worker], 10.0, told, wanted, probes, bound)
            answer = take_turn(stored, turn, RULES, now)
            assert answer.granted == {wish.proxy: stored.workers[worker].permits.get(wish.proxy, 0) for wish in wanted}
            for key, granted in zip(probes, answer.probes, strict=True):
                if granted:
                    assert stored.records[key].prober == worker
                    probers[key] = worker, now
        elif what == "wait":
            now += more[0]
        elif what == "leave":
            leave(stored, more[0])
        elif what == "old":
            before = dict(stored.taken)
            old = ProxyTurn(more[0], numbers[more[0]], 10.0, (), more[1])
            if take_turn(stored, old, RULES, now).stale and all(h.until > now for h in stored.workers.values()):
                assert {k: v for k, v in before.items() if k in stored.taken} == stored.taken
        elif what == "out":
            stored.take_out(more[0], 20.0, now)
        else:
            stored.bring_back(*more[0], now)
        holds(stored, now)
    now += 1000
    take_turn(stored, ProxyTurn("last", 1, 10.0), RULES, now)
    assert stored.taken == {}


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 20),
            st.sampled_from(("spoil", "heal", "kill", "site", "shrink", "grow")),
            st.integers(0, 4),
        ),
        max_size=8,
    ),
    st.integers(0, 1000),
)
@pytest.mark.slow
def test_who_waits_never_goes_without_a_proxy(events: list[tuple[float, str, int]], seed: int) -> None:
    loop = VirtualLoop()
    loop.now = 1000.0
    world = World(loop, RULES, number=5, cap=2)

    async def fetch_on(worker: Any, n: int) -> None:
        page = Page("ab"[n % 2], "k" if n % 3 == 0 else "")
        if await worker.fetch(page, patience=15.0):
            assert page.meta[MARK] in {f"p{i}" for i in range(5)}
            assert page.meta["proxy"]
        else:
            assert "proxy" not in page.meta

    async def work(worker: Any) -> None:
        worker.start()
        tasks = []
        for n in range(60):
            tasks.append(asyncio.ensure_future(fetch_on(worker, n)))
            await asyncio.sleep(1.0)
        await asyncio.gather(*tasks)

    async def story() -> None:
        tasks = [asyncio.ensure_future(work(world.worker(f"w{i}", seed + i))) for i in range(3)]
        await asyncio.sleep(1.0)
        for wait, what, n in events:
            await asyncio.sleep(wait)
            if what == "spoil":
                world.faults[f"p{n}"] = FAILURES[n % 4]
            elif what == "heal":
                world.faults.clear()
            elif what == "kill" and n < 2:
                world.workers[n].kill()
            elif what == "site":
                world.dead.symmetric_difference_update({"ab"[n % 2]})
            elif what in ("shrink", "grow"):
                world.number = 3 if what == "shrink" else 5
                for worker in world.workers:
                    worker.read()
        done, waiting = await asyncio.wait(tasks, timeout=200.0)
        for task in done:
            task.result()
        assert all(world.workers[tasks.index(task)].process.dead for task in waiting)

    loop.run_until_complete(story())
    assert max(world.most.values(), default=0) <= world.cap
    holds_of(world)


def holds_of(world: World) -> None:
    stored = world.stored()
    held: dict[str, int] = {}
    for holder in stored.workers.values():
        for proxy, number in holder.permits.items():
            held[proxy] = held.get(proxy, 0) + number
    assert held == stored.taken
