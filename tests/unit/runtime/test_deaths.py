"""Who died, how much comes back, and when: told by those that live."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Entry, QueueOptions
from mocra_scrapy.runtime import deaths
from mocra_scrapy.runtime.deaths import Deaths
from mocra_scrapy.runtime.sign_of_life import Signs


class World:
    """A crawl in this process whose clock a test moves, and workers with signs of life."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = 1000.0
        self.queue = MemoryBackend("memory://", clock=lambda: self.now).request_queue("c", QueueOptions(lease=60))
        self.stats: Counter[str] = Counter()

    def deaths(self, worker: str = "me", **more: Any) -> Deaths:
        arguments = {"lease": 60.0, "idle_poll": 2.0, "pace": 10.0, "clock": lambda: self.now, **more}
        count = lambda stat: self.stats.update([stat])  # noqa: E731
        return Deaths(self.queue, worker, Signs("c", self.root), count=count, **arguments)

    async def worker(self, name: str, holds: int = 0) -> QueueSession:
        session = QueueSession(self.queue, name)
        await self.queue.join(name)
        await session.push([Entry(f"{name} {n}".encode(), "s") for n in range(holds)])
        assert len(await session.lease(holds)) == holds
        return session

    def dies(self, name: str) -> None:
        """As a process on this machine dies: its file stays, its lock goes."""
        signs = Signs("c", self.root)
        assert signs.give(name)
        os.close(signs._held.pop(name))

    async def pass_time(self, seconds: float, *alive: QueueSession) -> None:
        """In steps, so that time passes for the silent only."""
        for _ in range(int(seconds)):
            self.now += 1
            for one in alive:
                await one.exchange()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [r.getMessage() for r in caplog.records if r.name == deaths.__name__ and r.levelno >= logging.INFO]
    caplog.clear()
    return lines


linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which kernel this is")


@linux
async def test_a_death_on_this_machine_is_told_and_declared(world: World, caplog: pytest.LogCaptureFixture) -> None:
    me, _, _ = await world.worker("me"), await world.worker("crashed", 12), await world.worker("idle")
    mine = world.deaths()
    await mine.open()
    try:
        assert told(caplog) == []
        world.dies("crashed")
        world.dies("idle")
        world.dies("stranger")
        await mine.look()
        assert told(caplog) == [
            "Worker crashed died: its process is gone. 12 requests that it held return now",
            "Worker idle died: its process is gone. It held no request",
        ]
        assert world.stats == {"mocra/worker/deaths_seen": 2}
        assert [lease.deliveries for lease in await me.lease(100)] == [2] * 12
        await mine.look()
        assert told(caplog) == []
    finally:
        await mine.close()
    assert not list(world.root.rglob("me"))


@linux
async def test_who_starts_after_a_crash_finds_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.worker("crashed", 1)
    world.dies("crashed")
    me, mine = await world.worker("me"), world.deaths()
    await mine.open()
    assert told(caplog) == ["Worker crashed died: its process is gone. 1 request that it held returns now"]
    assert len(await me.lease(100)) == 1
    await mine.close()


@linux
async def test_an_outage_forgets_no_death(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.worker("me")
    await world.worker("crashed", 3)
    world.dies("crashed")
    kept = world.queue.declare_dead
    answers = iter([True, True])

    async def fails_twice(worker: str) -> int | None:
        if next(answers, False):
            raise BackendUnavailable("away")
        return await kept(worker)

    monkeypatch.setattr(world.queue, "declare_dead", fails_twice)
    monkeypatch.setattr(deaths, "LOOK", 0.001)
    mine = world.deaths()
    await mine.open()
    for _ in range(2000):
        if world.stats:
            break
        await asyncio.sleep(0.01)
    await mine.close()
    assert world.stats == {"mocra/worker/deaths_seen": 1}


async def test_silence_is_told_before_the_lease_ends(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    me, far, idle = await world.worker("me"), await world.worker("far", 12), await world.worker("idle")
    mine = world.deaths()
    await world.pass_time(15, me)
    assert await mine._list() == 3
    assert told(caplog) == []
    await world.pass_time(6, me)
    await mine._list()
    await mine._list()
    first, second = told(caplog)
    assert first.startswith("Worker far has not been heard of since ")
    assert first.endswith("; 12 requests that it holds return within 39 s (MOCRA_LEASE = 60 s)")
    assert second.startswith("Worker idle has not been heard of since ")
    assert second.endswith("; it holds no request")
    await idle.exchange()
    await mine._list()
    assert told(caplog) == ["Worker idle answers again"]
    await world.pass_time(40, me, idle)
    await mine._list()
    (gone,) = told(caplog)
    assert gone.startswith("Worker far is considered dead after ")
    assert gone.endswith(" s of silence (MOCRA_LEASE = 60 s); what it held has returned")
    assert len(await me.lease(100)) == 12
    assert far.worker not in {info.name for info in await world.queue.workers()}


async def test_who_leaves_is_not_called_dead(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    me, _ = await world.worker("me"), await world.worker("slow", 1)
    mine = world.deaths()
    await world.pass_time(25, me)
    await mine._list()
    assert len(told(caplog)) == 1
    await world.queue.close_worker("slow")
    await mine._list()
    assert told(caplog) == ["Worker slow is gone; it left, or somebody saw it die"]


async def test_a_short_lease_is_no_silence(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Workers call every third of a lease then, a quarter later at most."""
    await world.worker("other", 1)
    assert world.deaths(lease=1.0)._silent == 0.6
    assert world.deaths(lease=60.0)._silent == 20.0
    assert world.deaths(lease=9.0, idle_poll=2.0)._silent == pytest.approx(5.4)


@pytest.mark.parametrize(("workers", "pause"), [(1, 10.0), (100, 10.0), (1000, 100.0)])
async def test_many_workers_look_less_often(
    world: World, monkeypatch: pytest.MonkeyPatch, workers: int, pause: float
) -> None:
    """All together they look at the list ten times a second at most."""
    mine, listed = world.deaths(), []

    async def counted() -> int:
        listed.append(world.now)
        if len(listed) == 40:
            raise asyncio.CancelledError
        return workers

    async def sleep(seconds: float) -> None:
        world.now += seconds

    monkeypatch.setattr(mine, "_list", counted)
    monkeypatch.setattr(deaths.asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await mine._watch()
    gaps = [after - before for before, after in pairwise(listed)]
    assert 0.9 * pause < sum(gaps) / len(gaps) < 1.2 * pause
