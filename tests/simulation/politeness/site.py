"""The sites that are crawled, and the project that crawls them: a real Scrapy crawler with the add-on, but for
what it downloads with.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import scrapy
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest
from scrapy.http import HtmlResponse, Response

from tests.simulation.virtual_time import CURRENT, Process

from .schedule import HOSTS, LEASE, Setup
from .world import CLOCK, stand_still

ROBOTS = "robots.txt"


def draw(*parts: object) -> float:
    """A number from 0 to 1 that depends on nothing but *parts*."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / (1 << 56)


@dataclass(slots=True)
class Visit:
    """A request that arrived, and until when the site had it."""

    at: float
    host: str
    worker: str
    manner: str
    until: float = 0.0


class Sites:
    """Record what arrives.

    Attributes:
        refusing: host -> seconds that its next answer asks to wait, with a 429.
        held: ``(host, from, to)`` of what was asked for, as it left the site.
    """

    def __init__(self, setup: Setup, seed: int) -> None:
        self._setup, self._seed = setup, seed
        self.visits: list[Visit] = []
        self.refusing: dict[str, float] = {}
        self.held: list[tuple[str, float, float]] = []
        self.unused: list[tuple[str, float]] = []  # when one of a host was answered or refused before it left
        self.dawdled: list[tuple[str, float]] = []  # when one of a host began to, before it left
        self.still: list[tuple[float, float]] = []  # when any process stood still, or died
        self._open: dict[int, tuple[Process, Visit]] = {}

    async def answer(self, request: scrapy.Request) -> Response:
        process = CURRENT.get()
        assert process is not None
        host, manner, *rest = request.url.split("/")[2:5]
        visit = Visit(CLOCK.loop.now, host, process.name, manner)
        self.visits.append(visit)
        self._open[id(visit)] = process, visit
        seconds = self._setup.response * (0.5 + draw(self._seed, "response", request.url))
        try:
            await asyncio.sleep(seconds)
        finally:
            if self._open.pop(id(visit), None):
                # A process that stands still reads the answer later; the site has sent it.
                visit.until = visit.at + seconds
        wait = self.refusing.pop(host, 0.0)
        if wait:
            now = CLOCK.loop.now
            self.held.append((host, now, now + wait))
            return Response(request.url, status=429, headers={"Retry-After": f"{wait:g}"})
        if manner == ROBOTS:
            return Response(request.url, body=b"User-agent: *\nCrawl-delay: %g" % self._setup.crawl_delay)
        if manner == "redirect":
            other = HOSTS[(HOSTS.index(host) + 1) % len(HOSTS)]
            return Response(request.url, status=302, headers={"Location": f"http://{other}/ok/r{rest[0]}"})
        return HtmlResponse(request.url, body=b"<p>page</p>")

    def was_told_late(self, at: float) -> bool:
        """Whether who heard at *at* that it should wait stood still, or died, right then."""
        return any(stood[0] - 0.5 <= at <= stood[1] for stood in self.still)

    def gone(self, process: Process) -> None:
        """Its connections are closed."""
        for key, (whose, visit) in list(self._open.items()):
            if whose is process:
                visit.until = CLOCK.loop.now
                del self._open[key]


SITES: list[Sites] = []  # those of the simulation that runs


class Handler:
    """Scrapy's download handler."""

    lazy = False

    def __init__(self, crawler: Crawler) -> None:
        self._sites = SITES[-1]

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Handler:
        return cls(crawler)

    async def download_request(self, request: scrapy.Request) -> Response:
        return await self._sites.answer(request)

    async def close(self) -> None: ...


class Between:
    """A downloader middleware that answers, refuses and dawdles."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Between:
        return cls()

    async def process_request(self, request: scrapy.Request) -> Response | None:
        host, manner = request.url.split("/")[2:4]
        if manner in ("cached", "ignored"):
            SITES[-1].unused.append((host, CLOCK.loop.now))
        if manner == "cached":
            return HtmlResponse(request.url, body=b"<p>from a cache</p>")
        if manner == "ignored":
            raise IgnoreRequest
        if manner == "slow":
            SITES[-1].dawdled.append((host, CLOCK.loop.now))
            await asyncio.sleep(4 * draw("slow", request.url) ** 2)
        return None


class SimulatedSpider(scrapy.Spider):
    """Asks for all pages at once, so that there is work to the end."""

    name = "sim"
    setup: Setup
    seed: int

    async def start(self) -> AsyncIterator[Any]:
        for number in range(self.setup.pages):
            yield scrapy.Request(self.url(number))

    def url(self, number: int) -> str:
        host = HOSTS[0] if draw(self.seed, "host", number) < 0.6 else HOSTS[1]
        share, manner = draw(self.seed, "manner", number), "ok"
        for one, part in self.setup.manners:
            share -= part
            if share < 0:
                manner = one
                break
        return f"http://{host}/{manner}/{number}"

    async def parse(self, response: Response) -> AsyncIterator[Any]:
        host, manner, number = response.url.split("/")[2:5]
        if manner == "media":
            for part in range(2):
                file = scrapy.Request(f"http://{host}/file/{number}.{part}")
                await self.crawler.engine.download_async(file)
        elif manner == "block":
            seconds = 3 * draw(self.seed, "block", number)
            SITES[-1].still.append((CLOCK.loop.now, CLOCK.loop.now + seconds))
            await stand_still(seconds)
        elif manner == "links":
            for part in range(3):
                yield scrapy.Request(f"http://{HOSTS[part % 2]}/ok/{number}.{part}")


def settings_of(setup: Setup, number: int) -> dict[str, Any]:
    """Of a worker with the rules of set *number*."""
    scope = "both" if setup.scope else ""
    rules: dict[str, Any] = {h: rule.setting(scope) for h, rule in zip(HOSTS, setup.rules[number], strict=True)}
    if setup.scope:
        rules["@both"] = {"delay": setup.scope}
    return {
        "ADDONS": {"mocra_scrapy.Addon": 300},
        "TWISTED_REACTOR_ENABLED": False,
        "MOCRA_BACKEND": "memory://",
        "MOCRA_CRAWL": "sim",
        "MOCRA_THROTTLE": rules,
        "MOCRA_THROTTLE_FEEDBACK_STATUSES": [],
        "MOCRA_LEASE": LEASE,
        "MOCRA_BREAKER": None,
        "MOCRA_LOOP_WATCHDOG": 0,
        "MOCRA_CLOSE": "never",
        "MOCRA_SEEDS_AHEAD": 100_000,
        "MOCRA_COMPRESSION": "off",
        "DOWNLOAD_HANDLERS": {"http": Handler},
        "DOWNLOADER_MIDDLEWARES": {Between: 900},
        "ROBOTSTXT_OBEY": setup.crawl_delay > 0,
        "CONCURRENT_REQUESTS": 32,
        "LOG_ENABLED": False,
        "LOGSTATS_INTERVAL": 0,
        "MEMUSAGE_ENABLED": False,
    }


def crawler_of(setup: Setup, seed: int, number: int) -> Crawler:
    """A whole crawler of one worker."""
    spider = type("Spider", (SimulatedSpider,), {"setup": setup, "seed": seed})
    return Crawler(spider, settings_of(setup, number))


def most_at_once(visits: list[Visit], host: str) -> tuple[int, float]:
    """How many of *host* the site ever had at once, and when."""
    edges: Counter[tuple[float, int]] = Counter()
    for visit in visits:
        if visit.host == host:
            edges[visit.at, 1] += 1
            edges[visit.until or CLOCK.loop.now, -1] += 1
    now, most, when = 0, 0, 0.0
    for (at, step), count in sorted(edges.items()):
        now += step * count
        if now > most:
            most, when = now, at
    return most, when
