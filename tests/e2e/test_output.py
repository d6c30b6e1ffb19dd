"""What callbacks yield, in real crawls: many requests while the server is away, items in slow
pipelines.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_callback_waits_while_the_server_is_away(
    kind: str, site: MockSite, own_redis: RedisServer, workers_on: Callable[[str], Workers], tmp_path: Path
) -> None:
    """It is not taken into memory whole, and goes on where it was."""
    workers, reached, links, most = workers_on(own_redis.url), tmp_path / "reached", 600, 100
    options = {"MOCRA_REDIS_OPTIONS": '{"socket_timeout": 0.3}', "MOCRA_OUTBOX_MAX": most}
    more = {"links": links, "first": "slow/1.5/x", "reached": reached, "mark": most}
    workers.start("many", site=site.url, kind=kind, **more, **options)
    eventually(lambda: site.count("/slow/1.5/x"))
    own_redis.pause()
    try:
        eventually(reached.exists)
        workers.until("away")
    finally:
        own_redis.resume()
    assert workers.wait() == [0]
    assert all(site.count(f"/ok/{n}") == 1 for n in range(links))
    assert site.count("/slow/1.5/x") == 1
    assert most <= workers.stats()["test/unsent"] <= most + 50, "it waited, a breath of 50 after there was too much"


SPIDER = """
import scrapy

class Items(scrapy.Spider):
    name = "items"

    async def start(self):
        for n in range(4):
            yield scrapy.Request(f"{self.site}/ok/{n}", cb_kwargs={"page": n})

    def parse(self, response, page):
        for n in range(12):
            yield {"page": page, "n": n}
            if n == 5:
                yield scrapy.Request(f"{self.site}/ok/more{page}", self.more)

    def more(self, response):
        yield {"page": response.url, "n": 0}
"""
PIPELINE = """
import asyncio
from collections import Counter

class Slow:
    def __init__(self, crawler):
        self.crawler, self.busy = crawler, Counter()

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    async def process_item(self, item):
        self.busy[item["page"]] += 1
        self.crawler.stats.max_value("test/busy", self.busy[item["page"]])
        await asyncio.sleep(0.02)
        self.busy[item["page"]] -= 1
        return item
"""


@pytest.mark.parametrize("addon", ["", ONE_LINE], ids=["scrapy", "ours"])
def test_so_many_items_of_a_response_are_in_the_pipelines_at_once(addon: str, site: MockSite, tmp_path: Path) -> None:
    more = 'ITEM_PIPELINES = {"shop.slow.Slow": 1}\nCONCURRENT_ITEMS = 3\nROBOTSTXT_OBEY = False\n'
    project = write_project(tmp_path / "p", SPIDER, addon + more, slow=textwrap.dedent(PIPELINE))
    done = scrapy(project, "crawl", "items", "-a", f"site={site.url}", "-O", "items.jsonl")
    assert done.returncode == 0, done.stderr
    items = [json.loads(line) for line in (project / "items.jsonl").read_text().splitlines()]
    assert sorted((item["page"], item["n"]) for item in items if isinstance(item["page"], int)) == [
        (page, n) for page in range(4) for n in range(12)
    ]
    assert len(items) == 4 * 12 + 4
    assert "'test/busy': 3" in done.stderr
