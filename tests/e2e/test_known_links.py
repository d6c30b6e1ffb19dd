"""Known links are dropped early only where nobody can tell the difference: the same crawl with and
without gives the same stats.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.mocksite import MockSite

pytestmark = pytest.mark.e2e

SPIDER = """
    import json

    import scrapy


    class Shop(scrapy.Spider):
        name = "shop"
        early = 0

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [f"{site}/page/0"]

        @classmethod
        def from_crawler(cls, crawler, *args, **kwargs):
            spider = super().from_crawler(crawler, *args, **kwargs)
            crawler.signals.connect(spider.note, scrapy.signals.spider_opened)
            return spider

        def note(self):
            for mw in self.crawler.engine.scraper.spidermw.middlewares:
                if type(mw).__name__ == "KnownLinksMiddleware":
                    self.mw = mw

        def parse(self, response):
            yield {"url": response.url}
            yield from response.follow_all(css="a")
            yield response.follow("/page/5", dont_filter=response.url.endswith("/page/3"))
            yield response.follow("/page/0", meta={"depth_reset": True})

        def closed(self, reason):
            active = getattr(self, "mw", None) is not None and self.mw._known is not None
            seen = getattr(self, "requests_seen", None)
            stats = {k: str(v) for k, v in self.crawler.stats.get_stats().items()}
            print(json.dumps({"active": active, "seen": seen, "stats": stats}))
"""
ASYNC_SPIDER = SPIDER.replace("def parse(", "async def parse(").replace(
    'yield from response.follow_all(css="a")', 'for r in response.follow_all(css="a"): yield r'
)
WATCHER = """
    from scrapy import Request


    class Watcher:
        def __init__(self, crawler):
            self.crawler = crawler

        @classmethod
        def from_crawler(cls, crawler):
            return cls(crawler)

        async def process_spider_output(self, response, result):
            async for o in result:
                if isinstance(o, Request):
                    spider = self.crawler.spider
                    spider.requests_seen = getattr(spider, "requests_seen", 0) + 1
                yield o
"""
ONE_AT_A_TIME = ["CONCURRENT_REQUESTS=1", "MOCRA_PREFETCH=0", "MOCRA_QUEUE_ORDER=fifo"]  # the same order every time
OFF = 'SPIDER_MIDDLEWARES = {"mocra_scrapy.spidermiddlewares.known.KnownLinksMiddleware": None}\n'
VARYING = ("time", "mem", "bytes", "turn", "round_trips", "rusage", "log_count", "_at", "headers")


@pytest.fixture(scope="module")
def site() -> Any:
    with MockSite(pages=36) as running:
        yield running


def crawl(folder: Path, site: MockSite, spider: str, settings: str = "", *more: str, **files: str) -> dict[str, Any]:
    project = write_project(folder, spider, ONE_LINE + settings, **files)
    options = [part for setting in [*ONE_AT_A_TIME, *more] for part in ("-s", setting)]
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}", "-L", "DEBUG", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    found["told"] = done.stderr.count("Filtered duplicate request")
    found["stats"] = {k: v for k, v in found["stats"].items() if not any(word in k for word in VARYING)}
    return found


@pytest.mark.parametrize("spider", [SPIDER, ASYNC_SPIDER], ids=["plain", "async"])
def test_the_same_crawl_with_and_without(tmp_path: Path, site: MockSite, spider: str) -> None:
    early = crawl(tmp_path / "with", site, spider)
    late = crawl(tmp_path / "without", site, spider, OFF)
    assert early["active"]
    assert not late["active"]
    assert early["stats"] == late["stats"]
    assert early["told"] == late["told"] == 1
    assert int(early["stats"]["dupefilter/filtered"]) > 100
    assert int(early["stats"]["request_depth_max"]) >= 3
    assert int(early["stats"]["response_received_count"]) == 38  # two of 36 once more, unfiltered


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ("", ["DEPTH_LIMIT=9"]),
        ("", ["DEPTH_STATS_VERBOSE=1"]),
        ("", ["DUPEFILTER_DEBUG=1"]),
        ('REQUEST_FINGERPRINTER_CLASS = "shop.prints.Prints"\n', []),
        ('DUPEFILTER_CLASS = "shop.prints.Filter"\n', []),
        ('SPIDER_MIDDLEWARES = {"shop.watcher.Watcher": 543}\n', []),
    ],
)
def test_not_where_somebody_could_tell(tmp_path: Path, site: MockSite, settings: str, options: list[str]) -> None:
    prints = """
        from scrapy.dupefilters import RFPDupeFilter
        from scrapy.utils.request import RequestFingerprinter


        class Prints(RequestFingerprinter):
            pass


        class Filter(RFPDupeFilter):
            pass
    """
    found = crawl(tmp_path / "p", site, SPIDER, settings, *options, prints=prints, watcher=WATCHER)
    assert not found["active"]
    assert int(found["stats"]["dupefilter/filtered"]) > 100
    if "Watcher" in settings:
        assert found["seen"] > 200  # known ones too
    if "DUPEFILTER_DEBUG=1" in options:
        assert found["told"] > 100


def test_whoever_listens_hears_of_each_link(tmp_path: Path, site: MockSite) -> None:
    listening = SPIDER.replace(
        "def note(self):",
        "def dropped(self, request):\n            self.requests_seen = getattr(self, 'requests_seen', 0) + 1\n\n        def note(self):\n"
        "            self.crawler.signals.connect(self.dropped, scrapy.signals.request_dropped)",
    )
    found = crawl(tmp_path / "p", site, listening)
    assert found["seen"] == int(found["stats"]["dupefilter/filtered"]) > 100
