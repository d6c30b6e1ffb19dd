"""A crawl under fire: workers killed, one paused for longer than its lease, the server killed and
started again.

    python -m tests.e2e.chaos                              ours: nothing may be lost; mocra-fast: with MOCRA_FAST
    python -m tests.e2e.chaos --seeds 10                   seeds 0 to 9; a line of JSON each
    python -m tests.e2e.chaos --scheduler scrapy-redis     the same fire on scrapy-redis: how many pages it loses

Moments are drawn by ``--seed`` over the crawl's progress, not over time, so that a slow machine is
tormented as often as a fast one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer
from tests.services.warm import AnyProcess

LEASE = 2.0  # s
CRAWL = "crawling:graph"
SCRAPY_REDIS = {
    "MOCRA_ENABLED": "False",
    "SCHEDULER": "scrapy_redis.scheduler.Scheduler",
    "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
    "SCHEDULER_PERSIST": "True",
}


@dataclass
class Report:
    """What came of it. ``held``: requests that tormented workers held, by what the server knew; ``visits``:
    workers that came and left in good order; ``ends``: runs that were told to be over.
    """

    scheduler: str
    pages: int
    seed: int
    kills: int = 0
    pauses: int = 0
    restarts: int = 0
    visits: int = 0
    held: int = 0
    fetched: int = 0
    lost: list[str] = field(default_factory=list)
    without_item: list[str] = field(default_factory=list)
    repeats: int = 0
    seconds: float = 0.0
    exit_codes: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


class Chaos:
    """One crawl by three workers, and what is done to them."""

    spider = "graph"

    def __init__(
        self, scheduler: str, site: MockSite, server: RedisServer, folder: Path, seed: int, kills: int
    ) -> None:
        self.site = site
        self.server = server
        self.random = random.Random(seed)
        self.kills = kills
        self.ours = scheduler.startswith("mocra")
        self.fast = scheduler == "mocra-fast"
        self.workers = Workers(folder, server.url)
        self.alive: list[AnyProcess] = []
        self.report = Report(scheduler, site.pages, seed)

    @property
    def crawl(self) -> str:
        return f"crawling:{self.spider}"

    def start(self) -> None:
        settings = (
            {"MOCRA_LEASE": LEASE, "MOCRA_KEEP_SEEN": True, "MOCRA_FAST": self.fast}
            if self.ours
            else {**SCRAPY_REDIS, "REDIS_URL": self.server.url}
        )
        self.alive.append(self.workers.start(self.spider, site=self.site.url, **settings))

    def run(self) -> Report:
        began = time.monotonic()
        for _ in range(3):
            self.start()
        # The first two thirds of the crawl are the battlefield: there is enough left to come back
        # to.
        moments = sorted(self.random.sample(range(self.site.pages // 20, 2 * self.site.pages // 3), self.kills + 2))
        deeds = [self.kill] * self.kills + [self.pause, self.restart]
        self.random.shuffle(deeds)
        try:
            for moment, deed in zip(moments, deeds, strict=True):
                if self.reach(moment):
                    deed()
            self.report.exit_codes = [worker.wait(300) for worker in self.alive]
        finally:
            self.workers.kill()
        self.report.seconds = round(time.monotonic() - began, 1)
        return self.judge()

    def reach(self, pages: int) -> bool:
        """Wait for so many fetched pages; ``False``: the crawl ended before."""

        def there() -> bool:
            return len(self.site.arrivals()) >= pages or all(worker.poll() is not None for worker in self.alive)

        eventually(there, 300, f"{pages} fetched pages")
        return any(worker.poll() is None for worker in self.alive)

    def victim(self) -> AnyProcess:
        running = [worker for worker in self.alive if worker.poll() is None]
        return self.random.choice(running)

    def note_held(self, pid: int) -> None:
        """What a stopped worker holds: it can't take more now."""
        if not self.ours:
            return
        with self.server.client() as client:
            for key in client.scan_iter(match=f"mocra:{{{self.crawl}:0}}:w:*-{pid}-*"):
                self.report.held += sum(len(token) == 14 and token.isalnum() for token in client.hkeys(key))

    def kill(self) -> None:
        """SIGKILL, and another one in its place. Stopped first, so that what it held can be
        counted.
        """
        victim = self.victim()
        victim.send_signal(signal.SIGSTOP)
        self.note_held(victim.pid)
        victim.kill()
        victim.wait()
        self.alive.remove(victim)
        self.report.kills += 1
        self.start()

    def pause(self) -> None:
        """SIGSTOP for longer than the lease."""
        victim = self.victim()
        os.kill(victim.pid, signal.SIGSTOP)
        self.note_held(victim.pid)
        until = time.monotonic() + 2 * LEASE
        eventually(lambda: time.monotonic() > until, 60)
        os.kill(victim.pid, signal.SIGCONT)
        self.report.pauses += 1

    def restart(self) -> None:
        """The server dies like after a power cut, and comes back with what its append-only file
        has.
        """
        self.server.kill()
        self.server.start()
        self.report.restarts += 1

    def judge(self) -> Report:
        report, pages = self.report, [f"/page/{n}" for n in range(self.site.pages)]
        arrivals = self.site.arrivals()
        report.fetched = sum(page in arrivals for page in pages)
        report.lost = [page for page in pages if page not in arrivals]
        scraped = {event["item"]["url"].removeprefix(self.site.url) for event in self.workers.events("item")}
        report.without_item = [page for page in pages if page not in scraped]
        report.ends = [event["run"] for event in self.workers.events("finished")]
        # The site itself fails these once, so twice is their once.
        once = {f"/page/{n}": 2 for n in range(1, self.site.pages) if n % 41 == 0 or n % 43 == 0}
        report.repeats = sum(max(0, len(arrivals.get(page, ())) - once.get(page, 1)) for page in pages)
        return report


def run(
    scheduler: str, folder: Path, pages: int = 2000, seed: int = 0, kills: int = 6
) -> tuple[Report, RedisServer, Workers]:
    """The report, and the server and the workers for a closer look; the caller kills the server."""
    server = RedisServer(folder / "redis", appendfsync="always")
    server.start()
    with MockSite(pages=pages) as site:
        (folder / "workers").mkdir()
        chaos = Chaos(scheduler, site, server, folder / "workers", seed, kills)
        return chaos.run(), server, chaos.workers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scheduler", choices=["mocra", "mocra-fast", "scrapy-redis"], default="mocra")
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=1, help="so many, from --seed on")
    options = parser.parse_args()
    good = True
    for seed in range(options.seed, options.seed + options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            report, server, _ = run(options.scheduler, Path(folder), options.pages, seed, options.kills)
            server.kill()
        shown = asdict(report) | {"lost": len(report.lost), "without_item": len(report.without_item)}
        print(json.dumps(shown), flush=True)
        good = good and not report.lost and not report.without_item and report.repeats <= report.held
    # What others lose is their figure; ours is nothing, or it has failed.
    sys.exit(not good and options.scheduler.startswith("mocra"))


if __name__ == "__main__":
    main()
