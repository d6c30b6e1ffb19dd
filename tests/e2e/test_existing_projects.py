"""Projects that know nothing of the suite run as they did, with one line more; only the pages'
order may differ.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.mocksite import MockSite

pytestmark = pytest.mark.e2e

CRAWL_SPIDER = """
    from scrapy.linkextractors import LinkExtractor
    from scrapy.spiders import CrawlSpider, Rule


    class Shop(CrawlSpider):
        name = "shop"
        rules = [
            Rule(LinkExtractor(allow=r"/page/"), callback="parse_page", follow=True, process_request="tag"),
        ]

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [f"{site}/page/0"]

        def tag(self, request, response):
            return request.replace(cb_kwargs={"parent": response.url})

        def parse_page(self, response, parent):
            yield {"url": response.url, "has_parent": bool(parent), "text": response.meta["link_text"]}
"""

START_URLS = """
    import scrapy


    class Shop(scrapy.Spider):
        name = "shop"
        custom_settings = {"CONCURRENT_REQUESTS": 3, "DEPTH_LIMIT": 4}

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [f"{site}/page/0", f"{site}/page/3", f"{site}/redirect/ok/there", f"{site}/ok/once"]

        def parse(self, response):
            yield {"url": response.url, "depth": response.meta["depth"]}
            yield from response.follow_all(css="a")
"""

ASYNC = """
    import asyncio

    import scrapy
    from scrapy.exceptions import CloseSpider, IgnoreRequest
    from scrapy.http import JsonRequest
    from scrapy.spidermiddlewares.httperror import HttpError


    class Shop(scrapy.Spider):
        name = "shop"
        handle_httpstatus_list = [404]

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.site = site

        async def start(self):
            for n in range(10):
                await asyncio.sleep(0)
                yield scrapy.Request(f"{self.site}/ok/{n}", priority=n, cb_kwargs={"n": n}, meta={"pair": (n, {n})})
            yield {"from": "start"}
            yield scrapy.Request(f"{self.site}/drop", errback=self.failed, meta={"max_retry_times": 1})
            yield scrapy.Request(f"{self.site}/status/500", errback=self.failed, meta={"dont_retry": True})
            yield scrapy.Request(f"{self.site}/status/404", callback=self.missing)
            yield JsonRequest(f"{self.site}/ok/json", data={"a": 1}, callback=self.json)
            yield scrapy.Request(f"{self.site}/ok/local", callback=lambda r: iter([{"local": r.url[-5:]}]))

        async def parse(self, response, n):
            assert response.meta["pair"] == (n, {n})
            inline = await self.crawler.engine.download_async(scrapy.Request(f"{self.site}/ok/inline-{n}"))
            yield {"n": n, "inline": inline.status}
            if n == 3:
                yield scrapy.Request(f"{self.site}/ok/raises", callback=self.raises)

        def raises(self, response):
            yield {"before": "the error"}
            raise ValueError("a bug in a callback")

        def missing(self, response):
            return {"status": response.status}

        def json(self, response):
            return {"method": response.request.method, "body": response.request.body.decode()}

        async def failed(self, failure):
            yield {"failed": failure.request.url.removeprefix(self.site), "kind": failure.type.__name__}
            yield scrapy.Request(f"{self.site}/ok/after{failure.request.url[-4:]}", callback=self.after)

        async def after(self, response):
            yield {"after": response.url[-4:]}
"""

CLOSES = """
    import scrapy
    from scrapy.exceptions import CloseSpider


    class Shop(scrapy.Spider):
        name = "shop"

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [f"{site}/links/200"]

        def parse(self, response):
            yield {"url": "one page"}
            yield from response.follow_all(css="a", callback=self.stop)

        def stop(self, response):
            raise CloseSpider("enough")
"""


FILTERED = re.compile(r"'dupefilter/filtered': (\d+)")


def crawl(project: Path, site: MockSite, backend: str, *more: str) -> tuple[list[str], str, str]:
    """Items as sorted JSON, the finish reason, the log."""
    site.reset()
    out = project / "items.jsonl"
    out.unlink(missing_ok=True)
    done = scrapy(
        project, "crawl", "shop", "-a", f"site={site.url}", "-O", str(out), "-s", f"MOCRA_BACKEND={backend}", *more
    )
    assert done.returncode == 0, done.stderr[-3000:]
    items = sorted(json.dumps(json.loads(line), sort_keys=True) for line in out.read_text().splitlines())
    reason = re.search(r"'finish_reason': '(\w+)'", done.stderr)
    assert reason, done.stderr[-3000:]
    return items, reason[1], done.stderr


@pytest.mark.redis
@pytest.mark.parametrize("spider", [CRAWL_SPIDER, START_URLS, ASYNC], ids=["CrawlSpider", "start_urls", "async"])
def test_a_project_runs_unchanged(spider: str, site: MockSite, tmp_path: Path, redis_url: str) -> None:
    plain = write_project(tmp_path / "plain", spider, "")
    ours = write_project(tmp_path / "ours", spider, ONE_LINE)
    expected, reason, plain_log = crawl(plain, site, "unused")
    paths = set(site.arrivals())
    filtered = FILTERED.findall(plain_log)
    assert len(expected) > 10
    for backend in ("memory://", redis_url):
        items, ended, log = crawl(ours, site, backend)
        assert "mocra_scrapy.scheduler.Scheduler" in log
        if spider is not START_URLS:  # with a depth limit the order decides which depth a page has
            assert items == expected
            assert set(site.arrivals()) == paths
            assert FILTERED.findall(log) == filtered, "known links are counted, whoever answered"
        assert ended == reason == "finished"
        assert log.count("ValueError: a bug in a callback") == (1 if spider is ASYNC else 0)
        assert "Unhandled error" not in log


def test_only_the_scheduler_is_set(site: MockSite, tmp_path: Path) -> None:
    project = write_project(tmp_path, CRAWL_SPIDER, 'SCHEDULER = "mocra_scrapy.scheduler.Scheduler"\n')
    items, reason, log = crawl(project, site, "memory://")
    assert len(items) == site.pages
    assert reason == "finished"
    assert "resumes run 1" not in log
    assert "begins run 1 of crawl 'shop:shop'" in log


def test_the_users_own_settings_win(site: MockSite, tmp_path: Path) -> None:
    """A project's SCHEDULER, a spider's custom_settings, ``-s``: each is above the add-on."""
    theirs = write_project(tmp_path / "a", START_URLS, ONE_LINE + 'SCHEDULER = "scrapy.core.scheduler.Scheduler"\n')
    log = crawl(theirs, site, "memory://")[2]
    assert "mocra_scrapy.scheduler" not in log
    assert "run 1 of crawl" not in log, "nobody joins a crawl"
    custom = START_URLS.replace(
        '"DEPTH_LIMIT": 4', '"DEPTH_LIMIT": 1, "MOCRA_CRAWL": "mine", "MOCRA_QUEUE_ORDER": "fifo"'
    )
    ours = write_project(tmp_path / "b", custom)
    assert "run 1 of crawl 'mine'" in crawl(ours, site, "memory://")[2]
    assert "run 1 of crawl 'other'" in crawl(ours, site, "memory://", "-s", "MOCRA_CRAWL=other")[2]
    assert "run 1 of crawl" not in crawl(ours, site, "memory://", "-s", "MOCRA_ENABLED=False")[2]


@pytest.mark.redis
def test_close_spider_means_what_it_says(site: MockSite, tmp_path: Path, redis_url: str) -> None:
    """CloseSpider ends this worker; the crawl is interrupted, not finished, and the next run
    resumes it.
    """
    project = write_project(tmp_path, CLOSES)
    items, reason, _ = crawl(project, site, redis_url)
    assert (len(items), reason) == (1, "enough")
    items, reason, log = crawl(project, site, redis_url)
    assert "resumes run 1" in log
    assert (items, reason) == ([], "enough")


def test_page_count_limits_work(site: MockSite, tmp_path: Path) -> None:
    project = write_project(tmp_path, CRAWL_SPIDER)
    _, reason, _ = crawl(project, site, "memory://", "-s", "CLOSESPIDER_ITEMCOUNT=5")
    assert reason == "closespider_itemcount"
    assert len(site.arrivals()) < site.pages
