"""A spider that has no requests of its own."""

import scrapy


class FedSpider(scrapy.Spider):
    """Fetches what ``MOCRA_SEEDS`` gives it."""

    name = "fed"

    async def start(self):
        if getattr(self, "site", None):
            yield scrapy.Request(f"{self.site}/ok/start", dont_filter=True)

    def parse(self, response):
        yield {"url": response.url}

    def other(self, response, word=""):
        yield {"url": response.url, "word": word}
