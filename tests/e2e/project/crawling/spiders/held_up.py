"""A downloader middleware that keeps pages, as one that fetches a token or a robots.txt does."""

import asyncio
import contextlib
import time
from typing import ClassVar

import scrapy


class HoldUp:
    """Keeps the first ``held`` pages of this worker until all of them are there, or for a while."""

    def __init__(self):
        self.count, self.whole = 0, asyncio.Event()

    async def process_request(self, request, spider):
        self.count += 1
        if self.count >= int(spider.held):
            self.whole.set()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.whole.wait(), 3)
        self.whole.set()


class Leaving:
    """Nothing stands between it and the wire: tells when each page leaves."""

    def __init__(self):
        self.at = []

    @classmethod
    def from_crawler(cls, crawler):
        made = cls()
        crawler.signals.connect(made.tell, scrapy.signals.spider_closed)
        made.crawler = crawler
        return made

    def process_request(self, request, spider):
        self.at.append(time.monotonic())

    def tell(self, spider):
        for watch in self.crawler.extensions.middlewares:
            if type(watch).__name__ == "Watch":
                watch.tell("left", at=self.at)


class HeldUpSpider(scrapy.Spider):
    """``pages`` of one host."""

    name = "held_up"
    custom_settings: ClassVar = {"DOWNLOADER_MIDDLEWARES": {HoldUp: 500, Leaving: 1100}}

    async def start(self):
        for n in range(int(self.pages)):
            yield scrapy.Request(f"{self.site}/ok/{n}")

    def parse(self, response):
        yield {"url": response.url}
