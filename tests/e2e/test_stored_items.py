"""Items in sinks: none is lost with a worker, with a server, or at the end."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need_redis
from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.stored import crawl
from tests.e2e.workers import PROJECT, Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.e2e


@pytest.mark.redis
def test_items_outlive_their_workers(tmp_path: Path) -> None:
    """Two workers, and two kills: between a write and its acknowledgement, and somewhere."""
    need_redis()
    report, workers = crawl("jsonlines", tmp_path, pages=120, items=20, crowd=2)
    logs = "\n".join(workers.log(n)[-2000:] for n in range(len(workers.all)))
    assert report.kills >= 1, logs
    assert (report.lost, report.strange) == (0, 0), logs
    assert report.repeats >= 1, "the batch that was written and not acknowledged"
    # The next worker that comes finishes the files of the dead.
    assert (
        scrapy(PROJECT, "crawl", "list", "-s", f"MOCRA_JSONLINES_DIR={tmp_path / 'items'}", "-s", _PIPE).returncode == 0
    )
    assert not list((tmp_path / "items").glob("*.part"))


_PIPE = 'ITEM_PIPELINES={"mocra_scrapy.pipelines.jsonlines.JsonLinesPipeline": 1}'


@pytest.mark.redis
def test_a_sink_that_restarts_and_one_that_is_away_at_the_end(
    site: MockSite, workers_on: Callable[[str], Workers], redis_url: str, own_redis: RedisServer, tmp_path: Path
) -> None:
    """The queue's server stays; that of the items is killed before a batch is written. Once it comes
    back, once the worker has to close before.
    """
    workers = workers_on(redis_url)
    settings: dict[str, Any] = {
        "ITEM_PIPELINES": json.dumps({"mocra_scrapy.pipelines.redis.RedisPipeline": 300}),
        "MOCRA_REDIS_ITEMS_URL": own_redis.url,
        "MOCRA_REDIS_ITEMS_KIND": "list",
        "MOCRA_REDIS_ITEMS_KEY": "%(crawl)s",
        "MOCRA_BATCH_RETRY_CAP": 0.2,
        "MOCRA_BATCH_CLOSE": 1,
        "MOCRA_SPILL_DIR": tmp_path / "spill",
        "MOCRA_STOP_GRACE": 60,
    }

    def crawl_into_nothing(name: str) -> Any:
        with site.stopped():
            worker = workers.start("shelf", site=site.url, items=5, **settings, MOCRA_CRAWL=name)
            number = len(workers.all) - 1
            workers.until_open(number)
            own_redis.kill()
        eventually(lambda: "Items can't be stored" in workers.log(number), what="the worker notices")
        return worker

    def stored(name: str) -> Counter[str]:
        with own_redis.client() as client:
            return Counter(json.loads(text)["id"] for text in client.lrange(name, 0, -1))

    everything = {f"{page}/{n}": 1 for page in range(site.pages) for n in range(5)}
    crawl_into_nothing("first")
    own_redis.start()
    assert workers.wait()[-1] == 0
    assert "takes items again" in workers.log()
    assert stored("first") == everything

    crawl_into_nothing("second").send_signal(signal.SIGTERM)
    assert workers.wait()[-1] == 0
    assert "scrapy mocra spill replay" in workers.log(1)
    (file,) = (tmp_path / "spill").iterdir()
    spilled = [json.loads(line)["item"]["id"] for line in file.read_text().splitlines()[1:]]
    replay = ["mocra", "spill", "replay"]
    replay += [w for name, value in settings.items() if name != "MOCRA_STOP_GRACE" for w in ("-s", f"{name}={value}")]
    refused = scrapy(PROJECT, *replay, "-s", "MOCRA_START_TIMEOUT=0.2")
    assert (refused.returncode, file.exists()) == (1, True), "the server is still away: the file stays"
    own_redis.start()
    done = scrapy(PROJECT, *replay)
    assert (done.returncode, done.stdout) == (0, f"{file}: {len(spilled)} items stored\n"), done.stderr
    assert not file.exists()
    assert stored("second") == dict.fromkeys(spilled, 1)
    # What is left for another worker is the rest: nothing was done without being stored.
    workers.start("shelf", site=site.url, items=5, **settings, MOCRA_CRAWL="second")
    assert workers.wait()[-1] == 0
    assert set(stored("second")) == set(everything)


ITEMS = """
    from dataclasses import dataclass

    import attrs
    import scrapy


    @dataclass
    class Data:
        url: str
        kind: str = "dataclass"


    @attrs.define
    class Attrs:
        url: str
        kind: str = "attrs"


    class Item(scrapy.Item):
        url = scrapy.Field()
        kind = scrapy.Field()
"""

SPIDER = """
    from scrapy.linkextractors import LinkExtractor
    from scrapy.spiders import CrawlSpider, Rule

    from shop.items import Attrs, Data, Item


    class Shop(CrawlSpider):
        name = "shop"
        rules = [Rule(LinkExtractor(allow="/ok/"), callback="parse_page")]

        def __init__(self, site, **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [site + "/links/6"]

        def parse_page(self, response):
            url = response.url
            yield from (Data(url), Attrs(url), Item(url=url, kind="item"), {"url": url, "kind": "dict"})
            if url.endswith("/3"):
                yield {"url": url, "kind": float("nan")}
"""


def test_an_ordinary_project_with_feeds_and_a_pipeline_of_its_own(site: MockSite, tmp_path: Path) -> None:
    """Beside one another: a feed, somebody's pipeline that changes the order, and ours. One item can't be stored."""
    settings = """
        ITEM_PIPELINES = {"shop.pipes.Upper": 100, "mocra_scrapy.pipelines.jsonlines.JsonLinesPipeline": 900}
        FEEDS = {"feed.jsonl": {"format": "jsonlines"}}
        MOCRA_JSONLINES_COMPRESSION = "none"
    """
    pipes = """
        import asyncio

        from itemadapter import ItemAdapter


        class Upper:
            async def process_item(self, item):
                kind = ItemAdapter(item)["kind"]
                for _ in range({"dataclass": 60, "attrs": 40, "item": 20}.get(kind, 0)):
                    await asyncio.sleep(0)  # of a page the last one comes first
                ItemAdapter(item)["kind"] = kind.upper() if isinstance(kind, str) else kind
                return item
    """
    project = write_project(
        tmp_path, SPIDER, ONE_LINE + "\n".join(map(str.strip, settings.splitlines())), items=ITEMS, pipes=pipes
    )
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}")
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = (tmp_path / "items").iterdir()
    assert file.suffix == ".jsonl"
    stored = [json.loads(line) for line in file.read_text().splitlines()]
    feed = [json.loads(line) for line in (tmp_path / "feed.jsonl").read_text().splitlines()]
    kinds = Counter((item["url"].rpartition("/")[2], item["kind"]) for item in stored)
    assert kinds == {(str(n), kind): 1 for n in range(6) for kind in ("DATACLASS", "ATTRS", "ITEM", "DICT")}
    for item in stored:
        origin = item.pop("_mocra")
        assert set(origin) == {"page", "item", "delivery"}
        assert origin["item"] == 1 + ["DATACLASS", "ATTRS", "ITEM", "DICT"].index(item["kind"]), "as yielded"
    assert sorted(map(json.dumps, stored)) == sorted(map(json.dumps, feed)), "the feed has what was stored"
    assert "field 'kind': not a number or infinite" in done.stderr
    assert "'mocra/dead/item': 1" in done.stderr
    assert "'mocra/sink/stored': 24" in done.stderr
    assert "'mocra/sink/refused': 1" in done.stderr
