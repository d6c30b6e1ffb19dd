"""One page whose callback yields many requests."""

from pathlib import Path

import scrapy


class ManySpider(scrapy.Spider):
    """``links`` of them after the page ``first``; the file ``reached`` is made when it has come to
    number ``mark``. The stat ``test/unsent`` is how many requests were not stored at the worst.
    ``kind``: sync or async.
    """

    name = "many"

    async def start(self):
        callback = self.parse_async if self.kind == "async" else self.parse_sync
        yield scrapy.Request(f"{self.site}/{self.first}", callback)

    def links_of(self):
        for n in range(int(self.links)):
            if n == int(self.mark):
                Path(self.reached).touch()
            self.crawler.stats.max_value("test/unsent", len(self.crawler.engine._slot.scheduler.worker.outbox))
            yield scrapy.Request(f"{self.site}/ok/{n}", self.parse)

    def parse_sync(self, response):
        yield from self.links_of()

    async def parse_async(self, response):
        for link in self.links_of():
            yield link

    def parse(self, response):
        yield {"url": response.url}


class ShelfSpider(scrapy.Spider):
    """The graph, with ``items`` items of each page."""

    name = "shelf"

    async def start(self):
        yield scrapy.Request(f"{self.site}/page/0")

    def parse(self, response):
        page = response.url.rpartition("/")[2]
        for n in range(int(self.items)):
            yield {"id": f"{page}/{n}", "title": f"number {n} of page {page}"}
        for href in response.css("a::attr(href)").getall():
            yield response.follow(href)
