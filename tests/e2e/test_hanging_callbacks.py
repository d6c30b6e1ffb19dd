"""Callbacks, errbacks, middlewares and pipelines that never return, in real processes: the crawl goes
on, it ends, and it says why.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.test_loops import LOOPS
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services import warm
from tests.services.processes import eventually

pytestmark = pytest.mark.e2e

SPIDER = """
    import asyncio
    import time
    from pathlib import Path

    import scrapy

    PATHS = {"errback": "/status/500/errback", "download": "/moods/hang/download"}


    class Hang(scrapy.Spider):
        name = "hang"
        _modes = ""
        flag = ""

        async def start(self):
            for n in range(5):
                # Not these, however busy the machine is.
                yield scrapy.Request(f"{self.site}/ok/{n}", meta={"mocra_callback_timeout": 0})
            for mode in self._modes.split():
                yield scrapy.Request(
                    self.site + PATHS.get(mode, f"/ok/{mode}"),
                    callback=getattr(self, f"in_{mode}", None),
                    errback=self.failed,
                    meta={"mode": mode, **({"mocra_callback_timeout": 0} if mode == "waiting" else {})},
                )

        async def forever(self):
            self.logger.info("hangs now")
            if not hasattr(self, "never"):
                self.never = asyncio.Event()  # one that nobody knows would be collected, and the task with it
            await self.never.wait()

        def parse(self, response):
            yield {"url": response.url}

        async def in_coroutine(self, response):
            await self.forever()
            return [{"url": "never"}]

        async def in_generator(self, response):
            yield {"url": response.url}
            await self.forever()
            yield {"url": "never"}

        async def failed(self, failure):
            await self.forever()

        def in_blocking(self, response):
            while not Path(self.flag).exists():
                time.sleep(0.01)

        async def in_late(self, response):
            try:
                while not Path(self.flag).exists():
                    await asyncio.sleep(0.01)
                yield {"url": "late"}
                yield response.follow("/ok/link")
                yield {"url": "late"}
            finally:
                self.done = True

        async def in_waiting(self, response):
            while not getattr(self, "done", False):
                await asyncio.sleep(0.01)
"""
PARTS = """
    class Part:
        def __init__(self, crawler):
            self.crawler = crawler

        @classmethod
        def from_crawler(cls, crawler):
            return cls(crawler)

        async def hang(self, mode, url):
            if mode in self.crawler.spider._modes and url.endswith(mode):
                await self.crawler.spider.forever()


    class Pipeline(Part):
        async def process_item(self, item):
            await self.hang("pipeline", item["url"])
            return item


    class Middleware(Part):
        def process_spider_output(self, response, result):
            yield from result

        async def process_spider_output_async(self, response, result):
            async for output in result:
                await self.hang("middleware", response.url)
                yield output


    class Asynchronous:
        "Makes Scrapy call the asynchronous method of the middleware for each callback."

        async def process_spider_output(self, response, result):
            async for output in result:
                yield output
"""
SETTINGS = f"""
{ONE_LINE}
ITEM_PIPELINES = {{"shop.parts.Pipeline": 100}}
SPIDER_MIDDLEWARES = {{"shop.parts.Middleware": 100, "shop.parts.Asynchronous": 200}}
RETRY_ENABLED = False
MOCRA_IDLE_POLL = 0.2
LOG_LEVEL = "INFO"
"""
PATHS = {
    "coroutine": "/ok/coroutine",
    "generator": "/ok/generator",
    "errback": "/status/500/errback",
    "middleware": "/ok/middleware",
    "pipeline": "/ok/pipeline",
}
HANGS = " ".join(PATHS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "hanging"
    folder.mkdir()
    return write_project(folder, SPIDER, SETTINGS, parts=PARTS)


def start(workers: Workers, project: Path, site: MockSite, modes: str, **more: Any) -> warm.AnyProcess:
    workers.project = project
    return workers.start("hang", site=site.url, _modes=modes, **more)


def shown(workers: Workers, project: Path, *words: str) -> str:
    return scrapy(project, "mocra", "dead", *words, "-s", f"MOCRA_BACKEND={workers.backend}").stdout


def arrivals(site: MockSite) -> set[int]:
    found = site.arrivals()
    return {len(found.get(path, ())) for path in PATHS.values()}


@pytest.mark.redis
def test_a_time_out_makes_a_dead_letter_and_the_crawl_ends(site: MockSite, workers: Workers, project: Path) -> None:
    assert start(workers, project, site, HANGS, MOCRA_CALLBACK_TIMEOUT=1).wait(120) == 0
    log = workers.log()
    listed = shown(workers, project, "list", "hang")
    assert "5 dead letters: callback_timeout 5" in listed, log
    for line in listed.splitlines()[:5]:
        letter = shown(workers, project, "show", "hang", line.split()[0])
        assert "in forever" in letter, f"it says where:\n{letter}"
    assert {f"/ok/{n}" for n in range(5)} <= set(site.arrivals())
    assert arrivals(site) == {1}
    assert "'mocra/callback/timeouts': 5" in log
    assert "'mocra/dead/callback_timeout': 5" in log
    assert "Closing spider (finished)" in log
    assert "callback_timeout 5" in log.partition("extensions.summary]")[2]
    assert "Scraper bug" not in log
    assert "destroyed" not in log
    # It is put back by a person, once the spider is mended, and by nobody else.
    assert "5 dead letters are back" in shown(workers, project, "replay", "hang", "--reason", "callback_timeout")
    start(workers, project, site, "", RETRY_HTTP_CODES="[]")
    eventually(lambda: arrivals(site) == {2})


@pytest.mark.redis
@pytest.mark.parametrize("loop", LOOPS)
def test_one_sigterm_ends_it_and_the_next_worker_does_it_again(
    loop: str, site: MockSite, workers: Workers, project: Path
) -> None:
    first = start(workers, project, site, f"{HANGS} download", MOCRA_STOP_GRACE=0.5, **LOOPS[loop])
    eventually(lambda: workers.log().count("hangs now") == 5 and site.count("/moods/hang/download") == 1)
    eventually(lambda: len(site.arrivals()) == 11)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 0
    log = workers.log()
    assert "MOCRA_STOP_GRACE = 0.5 s is over. Still in flight: 6; they go back into the queue" in log
    assert "Spider closed (shutdown)" in log
    assert "destroyed" not in log
    assert "callback_timeout" not in shown(workers, project, "list", "hang")
    second = start(workers, project, site, "", MOCRA_STOP_GRACE=0.5, **LOOPS[loop])
    eventually(lambda: arrivals(site) == {2} and site.count("/moods/hang/download") == 2)
    second.send_signal(signal.SIGTERM)
    assert second.wait(60) == 0


def test_without_a_server_it_is_gone_and_told(
    site: MockSite, workers_on: Callable[[str], Workers], project: Path
) -> None:
    workers = workers_on("memory://")
    worker = start(workers, project, site, "generator", MOCRA_STOP_GRACE=0.5, MOCRA_CALLBACK_NOTICE=0.2)
    eventually(lambda: "in Hang.in_generator for" in workers.log())
    eventually(lambda: "in forever" in workers.log().partition("In flight for")[2], what="it says where it waits")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    log = workers.log()
    assert "they are gone with memory://" in log
    assert f"<GET {site.url}/ok/generator>: in Hang.in_generator for" in log.partition("MOCRA_STOP_GRACE")[2]


def test_a_blocked_loop_is_told(
    site: MockSite, workers_on: Callable[[str], Workers], project: Path, tmp_path: Path
) -> None:
    workers, flag = workers_on("memory://"), tmp_path / "flag"
    worker = start(workers, project, site, "blocking", flag=flag, MOCRA_LOOP_WATCHDOG=0.4)
    eventually(lambda: "in in_blocking" in workers.log().partition("The event loop is blocked")[2])
    flag.touch()
    assert worker.wait(60) == 0
    log = workers.log()
    assert log.count("The event loop is blocked") == log.count("The event loop goes on, after it was blocked for") >= 1


def test_late_output_is_dropped_and_counted(
    site: MockSite, workers_on: Callable[[str], Workers], project: Path, tmp_path: Path
) -> None:
    workers, flag = workers_on("memory://"), tmp_path / "flag"
    worker = start(workers, project, site, "late waiting", flag=flag, MOCRA_CALLBACK_TIMEOUT=0.5)
    eventually(lambda: "CallbackTimeout" in workers.log())
    flag.touch()
    assert worker.wait(60) == 0
    log = workers.log()
    assert "'mocra/callback/late_output': 3" in log
    assert "'item_scraped_count': 5" in log
    assert site.count("/ok/link") == 0
    assert "'mocra/queue/buried': 1" in log
    assert "'mocra/queue/acked': 6" in log, "settled once"
