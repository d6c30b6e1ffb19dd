"""Ordinary projects beside plain Scrapy: each kind of spider without the add-on, on ``memory://``, and
with one and with three workers on Redis gives the same items, in each format of feeds.
"""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

SETTINGS = """
    COOKIES_ENABLED = True
    HTTPCACHE_ENABLED = True
    HTTPCACHE_DIR = "cache"
    HTTPCACHE_IGNORE_HTTP_CODES = [503]
    CONCURRENT_REQUESTS = 2
    ITEM_PIPELINES = {"shop.parts.Numbered": 100, "scrapy.pipelines.files.FilesPipeline": 200}
    FILES_STORE = "files"
    DOWNLOADER_MIDDLEWARES = {"shop.parts.Signed": 543}
    SPIDER_MIDDLEWARES = {"shop.parts.Counted": 543}
    FEEDS = {
        "items.jsonl": {"format": "jsonlines"},
        "items.csv": {"format": "csv", "fields": ["url", "title", "more"]},
        "items%s.json": {"format": "json"},
        "items%s.xml": {"format": "xml"},
    }
"""

PARTS = """
    import scrapy
    from itemloaders.processors import Join, MapCompose, TakeFirst
    from scrapy.loader import ItemLoader


    class Page(scrapy.Item):
        url = scrapy.Field()
        title = scrapy.Field()
        more = scrapy.Field()
        file_urls = scrapy.Field()
        files = scrapy.Field()


    class PageLoader(ItemLoader):
        default_item_class = Page
        default_output_processor = TakeFirst()
        title_in = MapCompose(str.strip)
        more_out = Join("|")
        file_urls_out = list


    class Numbered:
        def process_item(self, item):
            item["url"] = item["url"].partition("//")[2].partition("/")[2]
            return item


    class Signed:
        def process_request(self, request):
            request.headers.setdefault("X-Signed", "yes")
            request.meta["signed"] = True


    class Counted:
        def process_spider_output(self, response, result):
            for one in result:
                if isinstance(one, scrapy.Request):
                    one.meta.setdefault("steps", []).append(response.meta.get("depth", 0))
                yield one

        async def process_spider_output_async(self, response, result):
            async for one in result:
                if isinstance(one, scrapy.Request):
                    one.meta.setdefault("steps", []).append(response.meta.get("depth", 0))
                yield one
"""

SPIDERS = """
    import scrapy
    from scrapy.linkextractors import LinkExtractor
    from scrapy.spiders import CrawlSpider, CSVFeedSpider, Rule, SitemapSpider, XMLFeedSpider

    from shop.parts import PageLoader


    class Site:
        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.site = site
            self.start_urls = [site + self.first]

        def item(self, response, *more, **values):
            loader = PageLoader(response=response)
            loader.add_value("url", response.url)
            loader.add_value("title", values.get("title", " no title "))
            loader.add_value("more", [str(one) for one in more])
            loader.add_value("file_urls", values.get("files", []))
            return loader.load_item()


    class Rules(Site, CrawlSpider):
        name, first = "rules", "/page/0"
        rules = [Rule(LinkExtractor(allow=r"/page/"), callback="parse_page", follow=True, cb_kwargs={"kind": "inner"})]

        def parse_page(self, response, kind):
            assert response.meta["signed"]
            yield self.item(response, kind, response.meta["link_text"])


    class Xml(Site, XMLFeedSpider):
        name, first, itertag = "xml", "/feed/30.xml", "row"

        def parse_node(self, response, node):
            title = node.xpath("title/text()").get()
            yield response.follow(node.xpath("path/text()").get(), self.parse_row, cb_kwargs={"title": title})

        def parse_row(self, response, title):
            yield self.item(response, response.meta["steps"], title=title)


    class Csv(Site, CSVFeedSpider):
        name, first = "csv", "/feed/30.csv"

        def parse_row(self, response, row):
            yield response.follow(row["path"], self.parse_page, meta={"row": row})

        def parse_page(self, response):
            yield self.item(response, title=response.meta["row"]["title"])


    class Map(Site, SitemapSpider):
        name, first = "map", "/feed/30.sitemap"
        sitemap_rules = [(r"/ok/", "parse_page")]

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.sitemap_urls = self.start_urls

        def parse_page(self, response):
            yield self.item(response)


    class Mixed(Site, scrapy.Spider):
        name, first = "mixed", "/links/24"

        def parse(self, response):
            links = response.css("a::attr(href)").getall()
            for number, link in enumerate(links):
                yield response.follow(
                    link,
                    self.parse_page,
                    cookies={"basket": str(number % 3)},
                    meta={"cookiejar": number % 3, "pair": (number, {number})},
                    priority=number,
                )
            yield response.follow("/status/410", self.parse_page, errback=self.failed)

        async def parse_page(self, response):
            number, seen = response.meta["pair"]
            inline = await self.crawler.engine.download_async(response.follow(f"/ok/inline-{number}"))
            cookies = (response.request.headers["Cookie"] or b"").decode()
            files = [f"{self.site}/ok/file-{number % 5}"]
            yield self.item(response, number, sorted(seen), inline.status, cookies, files=files)

        def failed(self, failure):
            yield self.item(failure.value.response, failure.type.__name__)
"""

COUNT = re.compile(r"'downloader/response_count': (\d+)")


def of(item: dict[str, object]) -> tuple[str, str, str]:
    """What all formats of feeds hold of an item."""
    return str(item.get("url") or ""), str(item.get("title") or ""), str(item.get("more") or "")


def feeds(folder: Path) -> dict[str, Counter[tuple[str, str, str]]]:
    """The items by the format of their feed, of all workers."""
    found: dict[str, Counter[tuple[str, str, str]]] = {}
    for path in sorted(folder.glob("items*")):
        items: list[dict[str, object]] = []
        if path.suffix == ".jsonl":
            items = [json.loads(line) for line in path.read_text().splitlines()]
        elif path.suffix == ".csv":
            with path.open(newline="") as file:
                items = list(csv.DictReader(file))
        elif path.suffix == ".json":
            items = json.loads(path.read_text() or "[]")
        else:
            text = path.read_text()
            items = [{child.tag: child.text for child in item} for item in (ET.fromstring(text) if text else ())]
        found.setdefault(path.suffix, Counter()).update(of(item) for item in items)
    return found


def project_in(folder: Path, settings: str, worker: str) -> Path:
    folder.mkdir()
    lines = SETTINGS % (worker, worker)
    return write_project(folder, SPIDERS, f"{settings}\n{lines}".replace("\n    ", "\n"), parts=PARTS)


@pytest.mark.parametrize("spider", ["rules", "xml", "csv", "map", "mixed"])
def test_the_same_items_as_plain_scrapy(
    spider: str, site: MockSite, tmp_path: Path, workers_on: Callable[[str], Workers], redis_url: str
) -> None:
    plain = project_in(tmp_path / "plain", "", "")
    done = scrapy(plain, "crawl", spider, "-a", f"site={site.url}")
    assert "'finish_reason': 'finished'" in done.stderr, done.stderr[-3000:]
    expected = feeds(plain)
    assert set(expected) == {".jsonl", ".csv", ".json", ".xml"}
    assert len(expected[".jsonl"]) >= 25, done.stderr[-3000:]
    files = sorted(path.name for path in (plain / "files").rglob("*") if path.is_file())
    assert len(files) == (5 if spider == "mixed" else 0)
    for name, backend, count in (("memory", "memory://", 1), ("one", redis_url, 1), ("three", redis_url, 3)):
        project = project_in(tmp_path / name, ONE_LINE, "-%%(mocra_worker)s")
        workers = workers_on(backend)
        workers.project = project
        site.reset()
        workers.together(count, site, spider, MOCRA_PREFETCH=1, MOCRA_CRAWL=f"{spider}-{name}")
        assert workers.wait() == [0] * count
        logs = [workers.log(number) for number in range(count)]
        for log in logs:
            assert "'finish_reason': 'finished'" in log, log[-3000:]
            assert "unserializable" not in log
            assert [int(n) for n in COUNT.findall(log)] > [0], "every worker gets pages"
        assert feeds(project) == expected, name
        assert sorted(path.name for path in (project / "files").rglob("*") if path.is_file()) == files


def test_jobdir_is_refused_in_memory(site: MockSite, tmp_path: Path) -> None:
    project = project_in(tmp_path / "memory", ONE_LINE, "-%%(mocra_worker)s")
    done = scrapy(project, "crawl", "csv", "-a", f"site={site.url}", "-s", "JOBDIR=job")
    assert done.returncode
    assert "keeps nothing on disk, but JOBDIR asks for a crawl that can be resumed" in done.stderr
    assert not site.arrivals()


@pytest.mark.parametrize("name", ["ITEMCOUNT", "PAGECOUNT"])
def test_closespider_means_the_same(name: str, site: MockSite, tmp_path: Path) -> None:
    reasons = {}
    for folder, settings, worker in (("plain", "", ""), ("memory", ONE_LINE, "-%%(mocra_worker)s")):
        project = project_in(tmp_path / folder, settings, worker)
        done = scrapy(project, "crawl", "rules", "-a", f"site={site.url}", "-s", f"CLOSESPIDER_{name}=7")
        reasons[folder] = re.findall(r"'finish_reason': '(\w+)'", done.stderr)
        assert 7 <= len(feeds(project)[".jsonl"]) + (name == "PAGECOUNT") < 30
    assert reasons["plain"] == reasons["memory"] == [f"closespider_{name.lower()}"]
