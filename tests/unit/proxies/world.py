"""Workers of one pool, proxies and sites on a clock that jumps: the real pool, store and rules, without
a network.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.models import ProxyAnswer, ProxyRules
from mocra_scrapy.models.proxies import MARK
from mocra_scrapy.proxies.choices import Choices
from mocra_scrapy.proxies.fetches import Asked, Fetches
from mocra_scrapy.proxies.members import Member, Wish
from mocra_scrapy.proxies.proxy import parse_proxy
from mocra_scrapy.proxies.reports import Reports
from mocra_scrapy.proxies.sticky import Sticky
from mocra_scrapy.proxies.turns import Turns
from mocra_scrapy.proxies.verdicts import GOOD
from mocra_scrapy.proxies.wants import Wants
from tests.simulation.virtual_time import CURRENT, Process, VirtualLoop

SECONDS = 0.4  # that a page takes


class Page:
    """As much of a request as the pool wants."""

    def __init__(self, site: str, sticky: str = "") -> None:
        self.url, self.site = f"http://{site}/", site
        self.meta: dict[str, Any] = {"mocra_proxy": {"sticky": sticky}} if sticky else {}
        self.headers: dict[bytes, bytes] = {}


@dataclass
class Use:
    """One fetch: when it began and ended, by whom, through what, and what came of it."""

    began: float
    worker: str
    proxy: str
    site: str
    probe: int
    verdict: str = ""
    ended: float = 0.0
    sticky: str = ""


@dataclass
class World:
    """What is where, and what was seen.

    Attributes:
        faults: proxy -> the verdict on what goes through it; those that are not named are well.
        dead: sites at which nothing succeeds.
        uses: all fetches; ``told``: (time, what, proxy, site) as workers were told.
    """

    loop: VirtualLoop
    rules: ProxyRules
    number: int = 20
    cap: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    uses: list[Use] = field(default_factory=list)
    told: list[tuple[float, str, str, str]] = field(default_factory=list)
    now: Counter[str] = field(default_factory=Counter)
    most: Counter[str] = field(default_factory=Counter)
    workers: list[Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backend = MemoryBackend(clock=self.loop.time)

    def verdict(self, proxy: str, site: str) -> str:
        fault = self.faults.get(proxy, "")
        if fault:
            return fault
        return "doubt" if site in self.dead else GOOD

    def worker(self, name: str, seed: int) -> Worker:
        worker = Worker(self, name, seed)
        self.workers.append(worker)
        return worker

    def stored(self) -> Any:
        """What the store has of the pool."""
        return self.backend._store.proxies["pool"]


class Worker:
    """One worker with its own view of the pool."""

    def __init__(self, world: World, name: str, seed: int) -> None:
        self.world, self.name = world, name
        self.process = Process(name)
        chance = random.Random(seed)
        clock = world.loop.time
        self.choices = Choices(clock, chance)
        self.wants = Wants(self.choices, 6, chance)
        self.reports = Reports(clock)
        store = world.backend.proxies("pool", world.rules)
        self.turns = Turns(
            store,
            name,
            self.choices,
            self.wants,
            self.reports,
            sweep=lambda: None,
            heard=self._heard,
            refreshed=self.read,
            clock=clock,
        )
        self.sticky = Sticky(self.choices, self.turns, world.rules.sticky)
        self.fetches = Fetches(
            self.choices,
            self.wants,
            self.reports,
            self.turns,
            self.sticky,
            rules=world.rules,
            slot_of=lambda page: page.site,  # type: ignore[attr-defined]
            session_of=lambda _: None,
            secret=None,
        )
        self.under_way: Counter[str] = Counter()
        self.read()

    def read(self) -> None:
        known = self.choices.members
        names = [f"p{i}" for i in range(self.world.number)]
        self.choices.replace(
            known.get(name) or Member(name, parse_proxy(f"127.0.0.1:{8000 + i}"), self.world.cap)
            for i, name in enumerate(names)
        )

    def start(self) -> None:
        CURRENT.set(self.process)
        self.turns.start()

    def kill(self) -> None:
        """What is under way through proxies ends with it."""
        self.process.dead = True
        self.world.now -= self.under_way
        self.under_way.clear()

    def _heard(self, answer: ProxyAnswer) -> None:
        self.sticky.heard()
        at = self.world.loop.now
        self.world.told += [(at, "out", *one) for one in answer.out]
        self.world.told += [(at, "back", *one) for one in answer.back]
        self.world.told += [(at, "down", "", site) for site in answer.down]

    async def fetch(self, page: Page, sticky: str = "", patience: float = 60.0) -> str:
        """The verdict; empty: there was no proxy for so long."""
        world, end = self.world, self.world.loop.now + patience
        asked: Asked | None = self.fetches.asked(page)  # type: ignore[arg-type]
        assert asked is not None
        asked = asked._replace(wish=Wish())
        while not self.fetches.take(page, asked):  # type: ignore[arg-type]
            if world.loop.now >= end:
                return ""
            await self.fetches.wait(asked, min(1.0, end - world.loop.now))
        proxy = page.meta[MARK]
        _, taken = self.fetches._out[id(page)][-1]
        use = Use(world.loop.now, self.name, proxy, page.site, taken.probe, sticky=sticky)
        world.uses.append(use)
        world.now[proxy] += 1
        self.under_way[proxy] += 1
        world.most[proxy] = max(world.most[proxy], world.now[proxy])
        await asyncio.sleep(SECONDS)
        world.now[proxy] -= 1
        self.under_way[proxy] -= 1
        use.verdict, use.ended = world.verdict(proxy, page.site), world.loop.now
        returned = self.fetches.returned(page)  # type: ignore[arg-type]
        assert returned is not None
        self.fetches.judged(returned, use.verdict, SECONDS)
        return use.verdict
