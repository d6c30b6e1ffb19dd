"""Spiders that meet with failures, as the sites and the people who write spiders make them."""

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import scrapy


class MoodsSpider(scrapy.Spider):
    """Fetches what ``paths`` lists, separated by blanks (moods have commas)."""

    name = "moods"

    async def start(self):
        for path in self.paths.split():
            yield scrapy.Request(f"{self.site}/{path}", errback=getattr(self, getattr(self, "errback", ""), None))

    def parse(self, response):
        yield {"url": response.url, "leaks": sorted(key for key in response.meta if key.startswith("mocra_"))}

    def handle(self, failure):
        yield {"handled": failure.request.url}


class WaitingSpider(scrapy.Spider):
    """Asks for delays, of every kind; what it yields from a delayed page must not wait again."""

    name = "waiting"

    async def start(self):
        wishes = {
            "seconds": {"mocra_delay": 1.5},
            "instant": {"mocra_not_before": datetime.now(timezone.utc) + timedelta(seconds=1.5)},
            "epoch": {"mocra_not_before": datetime.now(timezone.utc).timestamp() + 1.5},
            "negative": {"mocra_delay": -1},
            "text": {"mocra_delay": "soon"},
            "naive": {"mocra_not_before": datetime.now()},
            "past": {"mocra_not_before": 1},
            "local": {"mocra_delay": 1.5, "unserialisable": object()},
            "far": {"mocra_delay": 86_400 * 365_000},
        }
        for name, meta in wishes.items():
            yield scrapy.Request(f"{self.site}/redirect/ok/{name}", meta=meta)

    def parse(self, response):
        yield {"url": response.url, "leaks": sorted(key for key in response.meta if key.startswith("mocra_"))}
        if not response.url.endswith("child"):
            yield scrapy.Request(response.url + "/child", meta=dict(response.meta))


class FaultySpider(scrapy.Spider):
    """Its callback breaks until somebody mends it, that is: until the file ``mended`` is there."""

    name = "faulty"

    async def start(self):
        yield scrapy.Request(f"{self.site}/ok/parent")
        yield scrapy.Request(f"{self.site}/ok/other", callback=self.other)

    def parse(self, response):
        yield {"url": response.url}
        yield scrapy.Request(f"{self.site}/ok/child", callback=self.other)
        if not Path(self.mended).exists():
            raise ValueError("the page is not what it was: http://user:hunter2@proxy.test/")
        yield scrapy.Request(f"{self.site}/ok/late", callback=self.other)

    def other(self, response):
        yield {"url": response.url}


class KillingSpider(FaultySpider):
    """Its callback ends the process until somebody mends it."""

    name = "killing"

    def parse(self, response):
        if not Path(self.mended).exists():
            os._exit(7)
        yield {"url": response.url}
