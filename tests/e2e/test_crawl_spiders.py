"""Scrapy's own kinds of spiders, as projects write them: all that they yield can be stored, so every
worker gets pages and nothing is lost with one.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = pytest.mark.e2e

ITEMS = """
    import enum
    from dataclasses import dataclass, field

    import scrapy


    class Kind(enum.Enum):
        LEAF = "leaf"
        INNER = object()


    @dataclass
    class Trail:
        kind: Kind
        urls: list[str] = field(default_factory=list)


    class Page(scrapy.Item):
        url = scrapy.Field()
        text = scrapy.Field()
        parent = scrapy.Field()
"""

CRAWL_SPIDER = """
    from functools import partial

    from scrapy.linkextractors import LinkExtractor
    from scrapy.spiders import CrawlSpider, Rule

    from shop.items import Kind, Page, Trail


    class Shop(CrawlSpider):
        name = "shop"
        rules = [
            Rule(
                LinkExtractor(allow=r"/page/", attrs=("href",), restrict_xpaths="//body"),
                callback="parse_page",
                errback="failed",
                follow=True,
                process_links="without_fragments",
                process_request="tag",
            ),
            Rule(LinkExtractor(allow=r"/ok/"), callback="parse_page"),
        ]

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [f"{site}/page/0"]

        def without_fragments(self, links):
            for link in links:
                link.url = link.url.partition("#")[0]
            return links

        def tag(self, request, response):
            text = response.xpath("//title/text()")[0].root
            trail = Trail(Kind.INNER, [response.url])
            return request.replace(
                cb_kwargs={"parent": Page(url=response.url, text=text), "trail": trail},
                meta={**request.meta, "title": text, "then": self.finish, "again": partial(self.finish, n=2)},
            )

        def parse_start_url(self, response):
            assert "title" not in response.meta
            return []

        def parse_page(self, response, parent, trail):
            assert trail.kind is Kind.INNER and trail.urls == [parent["url"]]
            assert response.meta["title"] == parent["text"] == "page"
            page = Page(url=response.url, text=str(response.meta["link_text"]), parent=bool(parent["url"]))
            yield from response.meta["then"](page)
            assert not list(response.meta["again"](page))

        def finish(self, page, n=1):
            if n == 1:
                yield page

        def failed(self, failure):
            yield {"failed": failure.request.url}
"""

WRITE = """
    import json
    import os

    import scrapy


    class Write:
        def process_item(self, item):
            line = json.dumps({"pid": os.getpid(), **item}) + "\\n"
            file = os.open("items.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(file, line.encode())
            os.close(file)
            return item
"""
PIPELINE = 'ITEM_PIPELINES = {"shop.write.Write": 1}\nMOCRA_LEASE = 1\nCONCURRENT_REQUESTS = 4\nDOWNLOAD_DELAY = 0.02\n'


def written(project: Path) -> list[dict[str, object]]:
    file = project / "items.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_project(tmp_path / "project", CRAWL_SPIDER, ONE_LINE + PIPELINE, items=ITEMS, write=WRITE)


@pytest.mark.redis
@pytest.mark.parametrize("killed", [False, True], ids=["both stay", "one is killed"])
def test_two_workers_share_a_crawl_spider(
    killed: bool, shop: Path, tmp_path: Path, site: MockSite, redis_url: str
) -> None:
    workers = Workers(tmp_path, redis_url, shop)
    try:
        workers.together(2, site, "shop")
        if killed:
            eventually(lambda: len({i["pid"] for i in written(shop)}) == 2 and len(written(shop)) > 15)
            workers.all[0].kill()
        assert workers.wait()[1] == 0
    finally:
        workers.kill()
    found = written(shop)
    pages = {f"{site.url}/page/{n}" for n in range(site.pages)}
    assert {i["url"] for i in found} == pages
    assert all(i["parent"] for i in found)
    assert {i["pid"] for i in found} == {w.pid for w in workers.all}, "both get pages"
    if not killed:
        assert len(found) == site.pages
    for number in range(killed, 2):
        assert "mocra/scheduler/un" not in workers.log(number)
        assert "'finish_reason': 'finished'" in workers.log(number)
        assert "Traceback" not in workers.log(number)


def test_a_crawl_spider_gives_what_it_gave(tmp_path: Path, site: MockSite) -> None:
    found = []
    for name, line in (("plain", ""), ("ours", ONE_LINE)):
        project = write_project(tmp_path / name, CRAWL_SPIDER, line + PIPELINE, items=ITEMS, write=WRITE)
        site.reset()
        done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}")
        assert done.returncode == 0
        assert "Traceback" not in done.stderr
        assert ("mocra_scrapy.scheduler" in done.stderr) == bool(line)
        assert "mocra/scheduler/un" not in done.stderr
        found.append(sorted(json.dumps({**item, "pid": 0}) for item in written(project)))
    assert found[0] == found[1]
    assert len(found[0]) == site.pages


FEEDS = {
    "sitemap": """
    from scrapy.spiders import SitemapSpider


    class Shop(SitemapSpider):
        name = "shop"
        sitemap_rules = [("/ok/", "parse_page")]

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.site = site
            self.sitemap_urls = [f"{site}/feed/12.sitemap"]

        def _get_sitemap_body(self, response):
            return response.body

        def sitemap_filter(self, entries):
            for entry in entries:
                yield {**entry, "loc": self.site + entry["loc"]}

        def parse_page(self, response):
            yield {"url": response.url}
    """,
    "xml": """
    from scrapy.spiders import XMLFeedSpider


    class Shop(XMLFeedSpider):
        name = "shop"
        itertag = "row"

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [f"{site}/feed/12.xml"]

        def parse_node(self, response, node):
            title = node.xpath("title/text()")[0].root
            path = node.xpath("string(path)")[0].root
            return response.follow(path, self.parse_page, cb_kwargs={"title": title}, meta={"path": path})

        def parse_page(self, response, title):
            assert title == "a title" and response.url.endswith(response.meta["path"])
            yield {"url": response.url}
    """,
    "csv": """
    from collections import OrderedDict

    from scrapy.spiders import CSVFeedSpider


    class Shop(CSVFeedSpider):
        name = "shop"

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [f"{site}/feed/12.csv"]

        def parse_row(self, response, row):
            yield response.follow(row["path"], self.parse_page, cb_kwargs={"row": OrderedDict(row)})

        def parse_page(self, response, row):
            assert row["title"] == "a title"
            yield {"url": response.url}
    """,
}


@pytest.mark.redis
@pytest.mark.parametrize("kind", FEEDS)
def test_feed_spiders_store_all_they_yield(kind: str, tmp_path: Path, site: MockSite, redis_url: str) -> None:
    project = write_project(tmp_path, FEEDS[kind], ONE_LINE + PIPELINE, write=WRITE)
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}", "-s", f"MOCRA_BACKEND={redis_url}")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "mocra/scheduler/un" not in done.stderr
    assert {i["url"] for i in written(project)} == {f"{site.url}/ok/{n}" for n in range(12)}
    assert "'mocra/queue/acked': 13" in done.stderr
