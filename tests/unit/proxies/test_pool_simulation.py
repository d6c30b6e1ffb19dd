"""Three workers, twenty proxies, two sites, over hours of a clock that jumps."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from mocra_scrapy.models import ProxyRules
from mocra_scrapy.models.proxies import HARD
from mocra_scrapy.proxies.turns import LEASE
from tests.simulation.virtual_time import VirtualLoop
from tests.unit.proxies.world import Page, Worker, World

RULES = ProxyRules(failures=3, cool_down=30.0, ban_cool_down=60.0, cool_down_max=480.0)
#: What becomes of eight of them; the first four recover.
FAULTS = dict(
    zip(
        (f"p{i}" for i in range(8)),
        ("proxy", "doubt", "ban", "credentials", "proxy", "doubt", "ban", "doubt"),
        strict=True,
    )
)
SPOILT, DEAD, ALIVE, WELL, END = 300.0, 900.0, 1500.0, 2000.0, 7200.0
PACE = 2.5  # s between two pages of a worker


async def crawl(world: World, worker: Worker) -> None:
    """Pages of both sites, one in five of a sticky key."""
    worker.start()
    running: set[asyncio.Task[Any]] = set()
    for n in itertools.count():
        sticky = f"account-{n % 3}" if n % 5 == 0 else ""
        # Sticky pages are of the site that stays.
        page = Page("b" if sticky or n % 2 else "a", sticky)
        task = asyncio.ensure_future(worker.fetch(page, sticky))
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(PACE)


async def story(world: World) -> None:
    start = world.loop.now
    tasks = []

    def begin(name: str, seed: int) -> Worker:
        worker = world.worker(name, seed)
        tasks.append(asyncio.ensure_future(crawl(world, worker)))
        return worker

    async def until(seconds: float) -> None:
        await asyncio.sleep(start + seconds - world.loop.now)

    for i in range(3):
        begin(f"w{i}", i)
    await until(SPOILT)
    world.faults.update(FAULTS)
    await until(600)
    world.workers[0].kill()
    begin("w3", 3)
    await until(DEAD)
    world.dead.add("a")
    await until(1200)
    world.workers[1].kill()
    begin("w4", 4)
    await until(ALIVE)
    world.dead.clear()
    await until(WELL)
    for proxy in list(FAULTS)[:4]:
        del world.faults[proxy]
    await until(END)
    for task in tasks:
        task.cancel()


@pytest.fixture(scope="module")
def world() -> World:
    loop = VirtualLoop()
    loop.now = 1000.0
    world = World(loop, RULES, cap=2)
    loop.run_until_complete(story(world))
    return world


def at(world: World, seconds: float) -> float:
    return 1000.0 + seconds


@pytest.mark.slow
def test_bad_proxies_are_out_within_their_failures(world: World) -> None:
    for proxy, fault in FAULTS.items():
        outs = [t for t, what, one, _ in world.told if what == "out" and one == proxy and t >= at(world, SPOILT)]
        assert outs, f"{proxy} ({fault}) was never out"
        for site in ("", "a", "b") if fault not in HARD else ("",):
            uses = [
                u
                for u in world.uses
                if u.proxy == proxy
                and u.verdict == fault
                and u.began >= at(world, SPOILT)
                and u.began < at(world, DEAD)
                and not u.probe
                and (not site or u.site == site)
            ]
            # So many in a row, and what was under way through it meanwhile: its cap, and the time
            # between two turns.
            assert len(uses) <= RULES.failures * (1 if site or fault in HARD else 2) + 2 * world.cap, (
                proxy,
                fault,
                site,
                len(uses),
            )


@pytest.mark.slow
def test_who_recovers_comes_back_through_one_probe(world: World) -> None:
    for proxy in list(FAULTS)[:4]:
        back = [t for t, what, one, _ in world.told if what == "back" and one == proxy and t >= at(world, WELL)]
        assert back, f"{proxy} never came back"
        assert any(u.proxy == proxy and u.verdict == "good" for u in world.uses if u.began > back[0])
    # Of a proxy that is out, at most one request of all workers is under way at a time, and it is a probe.
    for proxy in FAULTS:
        probes = sorted((u for u in world.uses if u.proxy == proxy and u.probe), key=lambda u: u.began)
        for one, other in itertools.pairwise(probes):
            same = one.probe & other.probe and (one.site == other.site or 1 in (one.probe, other.probe))
            assert not same or other.began >= one.ended or not one.ended, (one, other)


@pytest.mark.slow
def test_no_good_proxy_is_banned_when_a_site_dies(world: World) -> None:
    good = {f"p{i}" for i in range(8, 20)}
    assert not [one for one in world.told if one[1] == "out" and one[2] in good and one[3] != "a"]
    assert any(what == "down" and site == "a" for _, what, _, site in world.told)
    # Who was out at the dead site before it was known is pardoned with the same call that finds out.
    out: set[str] = set()
    down = next(t for t, what, _, site in world.told if what == "down")
    for t, what, proxy, site in world.told:
        if site == "a" and proxy in good:
            (out.add if what == "out" else out.discard)(proxy)
        assert t <= down + 1 or not out, (t, out)
    assert all(u.verdict == "good" for u in world.uses if u.proxy in good and u.site == "b" and u.ended)
    used = {u.proxy for u in world.uses if u.site == "a" and u.began > at(world, ALIVE) + 120 and u.verdict == "good"}
    assert used >= good


@pytest.mark.slow
def test_caps_hold_with_kills(world: World) -> None:
    assert max(world.most.values()) == world.cap
    assert len(world.uses) > 5000


@pytest.mark.slow
def test_sticky_keys_stay_with_their_proxy(world: World) -> None:
    for key in {u.sticky for u in world.uses if u.sticky}:
        uses = [u for u in world.uses if u.sticky == key]
        assert len({u.worker for u in uses}) >= 4
        changes = [(one, other) for one, other in itertools.pairwise(uses) if one.proxy != other.proxy]
        for one, other in changes:
            # Another one only when it was out, or taken away: then all change.
            assert one.proxy in FAULTS, (key, one, other)
        assert len(changes) <= 16


@pytest.mark.slow
def test_nothing_is_held_by_nobody(world: World) -> None:
    stored = world.stored()
    held: dict[str, int] = {}
    for holder in stored.workers.values():
        for proxy, number in holder.permits.items():
            held[proxy] = held.get(proxy, 0) + number
    assert held == stored.taken
    assert set(stored.workers) <= {"w2", "w3", "w4"}
    assert LEASE < END
