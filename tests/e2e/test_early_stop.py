"""SIGTERM while the spider is being opened: the crawl leaves, as it does for one that comes later."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.test_loops import LOOPS
from tests.mocksite import MockSite
from tests.services import warm
from tests.services.processes import eventually, unmeasured

pytestmark = pytest.mark.e2e

#: At INSTANT the crawl sends itself the signal and waits until its crawler was told to stop.
SPIDER = """
    import asyncio
    import os
    import signal

    import scrapy
    from scrapy import signals


    async def stop_here(name, crawler):
        if name != crawler.settings["INSTANT"]:
            return
        os.kill(os.getpid(), signal.SIGTERM)
        while crawler.crawling:
            await asyncio.sleep(0)


    class Pipeline:
        def __init__(self, crawler):
            self.crawler = crawler

        from_crawler = classmethod(lambda cls, crawler: cls(crawler))

        async def open_spider(self):
            await stop_here("pipeline", self.crawler)

        def process_item(self, item):
            return item


    class Shop(scrapy.Spider):
        name = "shop"

        @classmethod
        def from_crawler(cls, crawler, *args, **kwargs):
            self = super().from_crawler(crawler, *args, **kwargs)
            crawler.signals.connect(self.opened, signals.spider_opened)
            crawler.signals.connect(self.began, signals.engine_started)
            return self

        async def opened(self):
            await stop_here("spider_opened", self.crawler)

        async def began(self):
            await stop_here("engine_started", self.crawler)

        async def start(self):
            await stop_here("start", self.crawler)
            n = 0
            while True:  # it would go on for ever
                yield scrapy.Request(f"SITE/ok/{n}", self.parse)
                n += 1

        def parse(self, response):
            yield {"url": response.url}
"""
# Scrapy's remote control logs an error when it is stopped while it starts.
SETTINGS = f"""{ONE_LINE}
REMOTE_CONTROL_ENABLED = False
ITEM_PIPELINES = {{"shop.spiders.first.Pipeline": 300}}
"""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("instant", ["pipeline", "spider_opened", "engine_started", "start"])
def test_it_stops(instant: str, loop: str, tmp_path: Path, site: MockSite) -> None:
    project = write_project(tmp_path, SPIDER.replace("SITE", site.url), SETTINGS)
    options = [part for name, value in LOOPS[loop].items() for part in ("-s", f"{name}={value}")]
    done = scrapy(project, "crawl", "shop", "-s", f"INSTANT={instant}", *options, seconds=60)
    assert done.returncode == 0, done.stderr
    assert "'finish_reason': 'shutdown'" in done.stderr
    assert "Traceback" not in done.stderr
    if instant in ("pipeline", "spider_opened"):  # Scrapy 2.14 does not wait for the third
        assert "Told to stop while the spider was being opened" in done.stderr


@pytest.mark.redis
def test_the_next_one_seeds(tmp_path: Path, site: MockSite, redis_url: str) -> None:
    """It has left the crawl, whose seeds nobody has read yet."""
    project = write_project(tmp_path, SPIDER.replace("SITE", site.url), SETTINGS + f'MOCRA_BACKEND = "{redis_url}"\n')
    done = scrapy(project, "crawl", "shop", "-s", "INSTANT=pipeline")
    assert "'finish_reason': 'shutdown'" in done.stderr
    assert not site.arrivals()
    done = scrapy(project, "crawl", "shop", "-s", "CLOSESPIDER_ITEMCOUNT=3")
    assert "'finish_reason': 'closespider_itemcount'" in done.stderr
    assert "gave no sign of life" not in done.stderr
    assert "/ok/0" in site.arrivals()


def test_an_engine_that_stops_by_itself_was_told_nothing(tmp_path: Path, site: MockSite) -> None:
    """Scrapy stops for what start() gives and nobody can take in."""
    spider = SPIDER.replace("SITE", site.url).replace("self.parse)", 'self.parse, meta={"cookiejar": open(__file__)})')
    project = write_project(tmp_path, spider, SETTINGS + "MOCRA_REQUIRE_SERIALIZABLE = True\n")
    done = scrapy(project, "crawl", "shop")
    assert (done.returncode, done.stderr.count("UnserializableRequest: meta['cookiejar']")) == (0, 1), done.stderr
    assert "'finish_reason': 'shutdown'" in done.stderr
    assert "while the spider was being opened" not in done.stderr
    assert "Engine not running" not in done.stderr


AWAY = {
    "MOCRA_BACKEND": "",
    "MOCRA_REDIS_ITEMS_URL": 'ITEM_PIPELINES = {"mocra_scrapy.pipelines.redis.RedisPipeline": 1}\n',
}


@pytest.mark.parametrize(
    ("loop", "server"), [*((loop, "MOCRA_BACKEND") for loop in LOOPS), ("asyncio", "MOCRA_REDIS_ITEMS_URL")]
)
def test_nobody_waits_for_a_server_who_was_told_to_leave(loop: str, server: str, tmp_path: Path) -> None:
    settings = ONE_LINE + f'{server} = "redis://127.0.0.1:1/0"\nMOCRA_START_TIMEOUT = 3600\n' + AWAY[server]
    project = write_project(tmp_path, SPIDER, settings)
    options = [part for name, value in LOOPS[loop].items() for part in ("-s", f"{name}={value}")]
    log = tmp_path / "log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "scrapy", "crawl", "shop", *options]
        crawl = warm.start(command, cwd=project, env=unmeasured(), stdout=file, stderr=file)
    eventually(lambda: "Waiting for " in log.read_text(), 60)
    crawl.send_signal(signal.SIGTERM)
    assert crawl.wait(60) == 0
    assert "'finish_reason': 'shutdown'" in log.read_text()
    assert "Traceback" not in log.read_text()
