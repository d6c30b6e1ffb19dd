"""One schedule from begin to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mocra_scrapy.models import LimitChange
from tests.simulation.virtual_time import Process

from .crawl_delay import crawl_delay_holds
from .judge import Broken, Judge
from .schedule import HOSTS, LENGTH, Event, Schedule
from .site import SITES, Sites, crawler_of
from .world import WORLD, World

#: Seconds between two looks at whether there is work.
LOOK = 0.25


@dataclass(frozen=True)
class Failure:
    rule: str
    what: str
    schedule: Schedule

    def __str__(self) -> str:
        return f"seed {self.schedule.seed}: {self.what}"


class Simulation:
    def __init__(self, schedule: Schedule, url: str | None, tell: Callable[[str], None] | None) -> None:
        self.schedule, self._tell = schedule, tell
        setup = schedule.setup
        self.judge = Judge(schedule)
        self.sites = Sites(setup, schedule.seed)
        self.world = World(setup.latency, schedule.seed, self._on_call, url)
        self.processes: dict[str, Process] = {}
        self._crawlers: dict[str, Any] = {}
        self._crawls: dict[str, asyncio.Task[Any]] = {}
        self._began = self.world.loop.now

    @property
    def now(self) -> float:
        return self.world.loop.now

    def tell(self, what: str) -> None:
        if self._tell is not None:
            self._tell(f"{self.now - self._began:9.3f} {what}")

    def _on_call(self, tool: str, verb: str, args: Any) -> None:
        if verb == "join":
            self.judge.joined(args[0], self.now)
        elif verb == "close_worker":
            self.judge.left(args[0], self.now)

    # ------------------------------------------------------------------ what happens

    def start(self, name: str, number: int) -> None:
        process = self.processes[name] = Process(name)
        self.judge.started(name, number, self.now)
        crawler = self._crawlers[name] = crawler_of(self.schedule.setup, self.schedule.seed, number)
        self._crawls[name] = self.world.loop.spawn(process, crawler.crawl_async())

    async def happen(self, event: Event) -> None:
        self.tell(str(event))
        process, now = self.processes.get(event.worker), self.now
        if event.kind == "join":
            self.start(event.worker, event.number)
        elif event.kind == "hold":
            self.sites.refusing[event.host] = event.seconds
        elif event.kind == "pause":
            await self.world.limiter().pause(event.host)
            self.judge.paused(event.host, now)
        elif event.kind == "resume":
            await self.world.limiter().resume(event.host)
            self.judge.resumed(event.host, now)
        elif event.kind == "change":
            change = LimitChange(interval=event.seconds) if event.seconds else LimitChange()
            await self.world.limiter().change(event.host, change)
            self.judge.changed(event.host, event.seconds, now)
        elif process is not None and not process.dead and not process.left:
            if event.kind == "kill":
                process.dead = True
                self.sites.gone(process)
                self.sites.still.append((now, now))
                self.judge.killed(event.worker, now)
            elif event.kind == "leave":
                process.left = True
                self.judge.leaves(event.worker, now)
                self.world.loop.spawn(process, self._crawlers[event.worker].stop_async())
            else:
                process.frozen_until = max(process.frozen_until, now + event.seconds)
                self.sites.still.append((now, process.frozen_until))
                self.judge.froze(event.worker, now, process.frozen_until)

    async def run(self) -> None:
        setup = self.schedule.setup
        for number, rules in enumerate(setup.workers):
            self.start(f"w{number}", rules)
        events, end = list(self.schedule.events), self._began + LENGTH
        while self.now < end:
            while events and self._began + events[0].at <= self.now:
                await self.happen(events.pop(0))
            self._look()
            for name, crawl in self._crawls.items():
                if crawl.done() and (error := crawl.exception()) is not None:
                    raise error
                if crawl.done() and not self.processes[name].left:
                    reason = self._crawlers[name].stats.get_value("finish_reason")
                    raise Broken("who_was_not_told_stays", f"{name} closed by itself: {reason}")
            await asyncio.sleep(LOOK)
        await self._stop()
        for visit in self.sites.visits if self._tell else ():
            self.tell(f"  {visit.at - self._began:.3f} {visit.host} {visit.manner} {visit.worker}")
        for host in HOSTS:
            seen = [v for v in self.sites.visits if v.host == host]
            self.tell(
                f"{host}: {len(seen)} visits, {self.judge.use_of(host)}, {self.world.store.pending(host)} pending"
            )
        if self.schedule.setup.crawl_delay:
            crawl_delay_holds(self.schedule.setup, self.sites)
        else:
            self.judge.over(self.sites, self.now)

    def _look(self) -> None:
        able = {name for name, p in self.processes.items() if not (p.dead or p.left or p.frozen_until > self.now)}
        frozen = {name for name, p in self.processes.items() if not p.dead and p.frozen_until > self.now}
        self.judge.looked(self.now, able, frozen, self.world.store.pending)

    async def _stop(self) -> None:
        for process in self.processes.values():
            process.dead = True
        await asyncio.sleep(0)


def simulate(schedule: Schedule, url: str | None = None, tell: Callable[[str], None] | None = None) -> Failure | None:
    """Run *schedule*, on memory or on the Redis at *url*, which nobody else may use; what was broken."""
    random.seed(schedule.seed)
    handlers = list(logging.root.handlers)  # Scrapy adds one for each crawler, which holds all of it
    simulation = Simulation(schedule, url, tell)
    WORLD.append(simulation.world)
    SITES.append(simulation.sites)
    loop = simulation.world.loop
    try:
        loop.run_until_complete(simulation.run())
    except Broken as broken:
        return Failure(broken.rule, str(broken), schedule)
    finally:
        for process in simulation.processes.values():
            process.dead, process.frozen_until = False, 0.0
        with contextlib.suppress(Exception):
            loop.run_until_complete(loop.end())
        loop.close()
        simulation.world.store.close()
        logging.root.handlers[:] = handlers
        WORLD.pop()
        SITES.pop()
    return None
