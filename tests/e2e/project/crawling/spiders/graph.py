"""Follows every link, by the shortest code that does."""

import scrapy
from scrapy.exceptions import CloseSpider


class GraphSpider(scrapy.Spider):
    name = "graph"

    async def start(self):
        yield scrapy.Request(f"{self.site}/{getattr(self, 'first', 'page/0')}")

    def parse(self, response):
        yield {"url": response.url}
        for href in response.css("a::attr(href)").getall():
            yield response.follow(href)


class SpreadSpider(GraphSpider):
    """The same, with pages of twelve slots."""

    name = "spread"

    def parse(self, response):
        yield {"url": response.url}
        for href in response.css("a::attr(href)").getall():
            yield response.follow(href, meta={"download_slot": f"s{int(href.rpartition('/')[2]) % 12}"})


class ListSpider(scrapy.Spider):
    """Fetches what ``paths`` lists, separated by commas."""

    name = "list"

    def __init__(self, paths="", site="", **kwargs):
        super().__init__(**kwargs)
        self.site = site
        self.start_urls = [f"{site}/{path}" for path in paths.split(",") if path]

    def parse(self, response):
        yield {"url": response.url}


class SeedsSpider(scrapy.Spider):
    """Many seeds, half of them with dont_filter; stops in the middle if ``_hold_at`` says where."""

    name = "seeds"

    async def start(self):
        import asyncio

        for n in range(int(self.seeds)):
            if n == int(getattr(self, "_hold_at", -1)):
                await asyncio.sleep(600)
            yield scrapy.Request(f"{self.site}/ok/{n}", dont_filter=n % 2 == 0)

    def parse(self, response):
        yield {"url": response.url}


class PoisonSpider(scrapy.Spider):
    """One page kills its process, and there are many good ones."""

    name = "poison"

    async def start(self):
        for n in range(int(self.pages)):
            yield scrapy.Request(f"{self.site}/ok/{n}")
            if n == 5:
                yield scrapy.Request(f"{self.site}/ok/poison", callback=self.die)

    def parse(self, response):
        yield {"url": response.url}

    def die(self, response):
        import os

        os._exit(7)


class FailingStartSpider(ListSpider):
    """Its ``start()`` breaks in the middle. What varies between its starts begins with an underscore, and
    is no part of the job.
    """

    name = "failing_start"

    async def start(self):
        for path in ("slow/5/0", "ok/1", "ok/2"):
            yield scrapy.Request(f"{self.site}/{path}")
        if getattr(self, "_enough", None):
            raise CloseSpider("enough")
        if not getattr(self, "_whole", None):
            raise ValueError("no more seeds")


class HostsSpider(GraphSpider):
    """The same graph, but each page is a slot of its own, as pages of many hosts are."""

    name = "hosts"

    def parse(self, response):
        yield {"url": response.url}
        for href in response.css("a::attr(href)").getall():
            yield response.follow(href, meta={"download_slot": href})


class PoliteSpider(scrapy.Spider):
    """``hosts``: ``path:slot:pages[:scope]``, separated by commas; of each host so many pages
    ``path<n>``, in turn.
    """

    name = "polite"

    async def start(self):
        hosts = [host.split(":") for host in self.hosts.split(",")]
        for n in range(max(int(host[2]) for host in hosts)):
            for path, slot, pages, *scopes in hosts:
                if n < int(pages):
                    meta = {"download_slot": slot, **({"mocra_scopes": scopes} if scopes else {})}
                    yield scrapy.Request(f"{self.site}/{path}{n}", meta=meta)

    def parse(self, response):
        yield {"url": response.url}
