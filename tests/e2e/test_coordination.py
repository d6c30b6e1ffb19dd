"""A spider that leads, locks and shares, in real crawls: on every loop, on several workers, and
what is left when they go.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.test_loops import LOOPS
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

SPIDER = """
    import asyncio
    import json
    import os
    from pathlib import Path

    import scrapy
    from mocra_scrapy import Mocra, signals


    class Shop(scrapy.Spider):
        name = "shop"

        @classmethod
        def from_crawler(cls, crawler, *args, **kwargs):
            spider = super().from_crawler(crawler, *args, **kwargs)
            spider.mocra = Mocra.from_crawler(crawler)
            spider.pages = spider.mocra.shared("pages", 0, namespace="shop")
            spider.mocra.leader("shop").task(spider.lead)
            crawler.signals.connect(spider.elected, signals.leader_elected)
            crawler.signals.connect(spider.lost, signals.leader_lost)
            return spider

        async def start(self):
            for n in range(24):
                yield scrapy.Request(f"{self.site}/ok/{n}")

        def tell(self, event, **facts):
            with Path("told.jsonl").open("a") as file:
                file.write(json.dumps({"event": event, "pid": os.getpid(), **facts}) + "\\n")

        def elected(self, spider, role, term):
            self.tell("elected", role=role, number=term.number)

        def lost(self, spider, role, term):
            self.tell("lost", role=role, number=term.number)

        async def lead(self, term):
            self.tell("leads", number=term.number)
            try:
                await asyncio.sleep(3600)
            finally:
                self.tell("ends", number=term.number)

        async def parse(self, response):
            async with self.mocra.lock("till", ttl=5) as lock:
                mark = Path("till")
                mark.touch(exist_ok=False)
                await asyncio.sleep(0.002)
                mark.unlink()
                self.tell("locked", number=lock.number)
            async with self.mocra.lock("browsers", limit=3):
                await self.pages.update(lambda n: n + 1)
            yield {"url": response.url, "seen": self.pages.value}
"""


def told(folder: Path, event: str | None = None) -> list[dict[str, Any]]:
    file = folder / "told.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [one for one in map(json.loads, lines) if event in (None, one["event"])]


ROLES = {"CONCURRENT_REQUESTS": 4, "MOCRA_LEADER_RETRY": 0.1, "MOCRA_LEADER_ROLES": "b"}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_spider_leads_locks_and_shares(loop: str, tmp_path: Path, site: MockSite, redis_url: str) -> None:
    project = write_project(tmp_path / "p", SPIDER, ONE_LINE + "SPIDER_MIDDLEWARES = {}\n")
    workers = Workers(tmp_path, redis_url, project)
    try:
        workers.together(2, site, "shop", **ROLES, **LOOPS[loop])
        workers.wait()
    finally:
        workers.kill()
    for log in (workers.log(0), workers.log(1)):
        assert "Traceback" not in log
        assert "destroyed" not in log
        assert "'finish_reason': 'finished'" in log
    assert "'mocra/leader/elected'" in workers.log(0) + workers.log(1)
    numbers = [one["number"] for one in told(project, "locked")]
    assert len(numbers) == len(set(numbers)) == 24
    leading: list[int] = []
    for one in told(project):
        if one["event"] == "leads":
            assert not leading, "two at a time"
            leading.append(one["number"])
        elif one["event"] == "ends":
            leading.remove(one["number"])
    assert not leading
    for role in ("shop", "b"):
        terms = [
            [one["number"] for one in told(project, event) if one.get("role") == role] for event in ("elected", "lost")
        ]
        assert terms[0] == sorted(terms[0])
        assert sorted(terms[0]) == sorted(terms[1]) != []
    client = redis.Redis.from_url(redis_url)
    left = {key.decode() for key in client.scan_iter()}
    count = client.execute_command("HGET", "mocra:{+shared:user%3ashop}:values", "pages")
    client.close()
    assert count.endswith(b"24"), "no update of 24 was lost"
    assert {key for key in left if "+" in key} <= {
        "mocra:{+lead:shop}:term",
        "mocra:{+lead:b}:term",
        "mocra:{+shared:user%3ashop}:values",
        "mocra:{+lock:till}:permits",
        "mocra:{+lock:browsers}:permits",
    }, "workers, control state and holds are gone"


def test_commands_for_people(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    """``scrapy mocra workers`` and ``control``: what they print, and what they say when they can't."""
    project = write_project(tmp_path / "p", SPIDER, ONE_LINE + f"MOCRA_BACKEND = {workers.backend!r}\n")

    def mocra(*arguments: str, code: int = 0) -> str:
        done = scrapy(project, "mocra", *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    workers.start("list", site=site.url, paths="slow/30/a", MOCRA_HEARTBEAT=0.2, MOCRA_CLOSE="never")
    eventually(lambda: site.count("/slow/30/a"))
    table = mocra("workers", "--crawl", "crawling:list").splitlines()
    assert table[0].split()[:4] == ["worker", "crawl", "seen", "state"]
    assert mocra("workers").splitlines()[0] == table[0], "of all crawls"
    name = table[1].split()[0]
    assert f"-{workers.all[0].pid}-" in name
    (line,) = mocra("workers", "--crawl", "crawling:list", "--json").splitlines()
    assert json.loads(line)["worker"] == name
    assert (
        mocra("control", "pause", "--crawl", "crawling:list") == "Told 1 worker of crawling:list: start nothing new\n"
    )
    mocra("control", "set", "CONCURRENT_REQUESTS=3", "--crawl", "crawling:list")
    mocra("control", "set", "CONCURRENT_REQUESTS=5", "--crawl", "crawling:list", "--worker", name)
    eventually(lambda: "Setting CONCURRENT_REQUESTS is 5 now" in workers.log(0))
    mocra("control", "reset", "CONCURRENT_REQUESTS", "--crawl", "crawling:list", "--worker", name)
    shown = mocra("control", "show", "--crawl", "crawling:list")
    assert "Paused: all" in shown
    assert "CONCURRENT_REQUESTS = 3" in shown
    eventually(lambda: "paused" in mocra("workers", "--crawl", "crawling:list"))
    mocra("control", "resume", "--crawl", "crawling:list")
    mocra("control", "reset", "CONCURRENT_REQUESTS", "--crawl", "crawling:list")
    assert "Paused: no" in mocra("control", "show", "--crawl", "crawling:list")
    assert "There are: " + name in mocra("control", "stop", "--crawl", "crawling:list", "--worker", "nobody", code=1)
    assert "These can: CONCURRENT_REQUESTS" in mocra("control", "set", "BOT_NAME=x", "--crawl", "crawling:list", code=1)
    assert "Name it (project:spider)" in mocra("control", "pause", code=1)
    assert "NAME=VALUE" in mocra("control", "set", "--crawl", "crawling:list", code=2)
    assert "a crawl 'shop:lits' was never begun" in mocra("control", "pause", "--crawl", "lits", code=1)
    assert "'list' means nothing after pause" in mocra("control", "pause", "list", code=2)
    assert "Use a Redis URL" in mocra("control", "pause", "--crawl", "x", "-s", "MOCRA_BACKEND=memory://", code=1)
    assert "Error: " in mocra("workers", "--crawl", "x", "-s", "MOCRA_BACKEND=redis://127.0.0.1:1/0", code=1)
    mocra("control", "stop", "--crawl", "crawling:list", "--worker", name)
    workers.all[0].send_signal(signal.SIGINT)  # the page takes 30 s more
    workers.kill()


LOSES_ITS_LOCK = """
import asyncio
import redis
import scrapy
from mocra_scrapy import Mocra


class Slow:
    async def process_item(self, item):
        await asyncio.sleep(0.3)
        print("stored", item["i"], flush=True)
        return item


class Loses(scrapy.Spider):
    name = "loses"

    async def start(self):
        yield scrapy.Request("data:text/plain,a")

    async def parse(self, response):
        mocra = Mocra.from_crawler(self.crawler)
        server = redis.Redis.from_url(self.settings["MOCRA_BACKEND"])
        async with mocra.lock("door", ttl=1.5):
            for key in server.scan_iter("*{+lock:door}*"):
                server.delete(key)  # somebody deletes it by hand
            for i in range(80):
                print("gave", i, flush=True)
                yield {"i": i}
"""


def test_a_lock_that_is_lost_between_two_items_is_told_at_the_next(workers: Workers, tmp_path: Path) -> None:
    """What iterates the callback, and the pipelines, are not cancelled in its place: the error comes
    out of the callback's ``yield``, and all that it gave before is stored.
    """
    settings = f"MOCRA_BACKEND = {workers.backend!r}\nITEM_PIPELINES = {{'shop.spiders.first.Slow': 1}}\n"
    settings += "CONCURRENT_ITEMS = 1\n"
    project = write_project(tmp_path / "p", LOSES_ITS_LOCK, ONE_LINE + settings)
    done = scrapy(project, "crawl", "loses")
    assert done.returncode == 0, done.stderr[-3000:]
    assert 1 <= done.stdout.count("gave") < 80, done.stdout
    assert done.stdout.count("stored") == done.stdout.count("gave"), done.stdout
    assert "was lost while it was held" in done.stderr
    assert "'finish_reason': 'finished'" in done.stderr
