"""Crawls of many shapes at once: each is a slot with limits of its own."""

import json

import scrapy
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.http import Request


class OwnRetry(RetryMiddleware):
    """A project's own, which knows nothing of the suite."""


class ShapesSpider(scrapy.Spider):
    """``paths``: JSON of slot -> ``[path, pages]``, in turn; a slot without a name is that of the host. Of moods ``ONCE``
    one page gets a 429 first. Each page of ``files`` has two files of its slot, fetched inline. ``proxied``: so many
    are fetched through a proxy that is not there. Before all that, ``hosts`` slots with three pages each, one after
    the other.
    """

    name = "shapes"

    async def start(self):
        for n in range(3 * int(self.hosts)):
            yield Request(f"{self.site}/ok/host/{n}", meta={"download_slot": f"host{n // 3:02}"}, priority=1)
        paths = json.loads(self.paths)
        for n in range(max(pages for _, pages in paths.values())):
            for slot, (path, pages) in paths.items():
                if n < pages:
                    moods = path.replace("ONCE", "429,200" if n == 2 else "200")
                    yield Request(f"{self.site}/{moods}/{n}", meta={"download_slot": slot} if slot else {})
            if n < int(self.proxied):
                meta = {"proxy": "http://127.0.0.1:9", "download_slot": "files"}
                yield Request(f"{self.site}/ok/proxied/{n}", meta=meta, errback=self.failed)

    async def parse(self, response):
        files = 0
        if response.meta.get("download_slot") == "files":
            for part in range(2):
                file = Request(f"{response.url}.{part}", meta={"download_slot": "files"})
                files += (await self.crawler.engine.download_async(file)).status == 200
        yield {"url": response.url, "files": files}

    def failed(self, failure):
        yield {"url": failure.request.url, "failed": True}
