"""Pipelines that take their time."""

import asyncio
import os

from scrapy.http import Request
from scrapy.pipelines.files import FilesPipeline


class SlowPipeline:
    """Says when an item came in and, later, when it is through."""

    def __init__(self, crawler):
        self.watch = next(e for e in crawler.extensions.middlewares if type(e).__name__ == "Watch")

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    async def process_item(self, item):
        self.watch.tell("item_in", url=item["url"])
        await asyncio.sleep(float(os.environ.get("SLOW", "0")))
        self.watch.tell("item_through", url=item["url"])
        return item


class BreakingPipeline:
    """Fails on what is bad."""

    def process_item(self, item):
        if item["url"].endswith("bad"):
            raise RuntimeError("no room for bad things")
        return item


class FilesOfOneSlot(FilesPipeline):
    """Each is fetched once, whatever comes of it."""

    def get_media_requests(self, item, info):
        meta = {"download_slot": "files", "dont_retry": True}
        return [Request(url, meta=meta) for url in item.get("file_urls", ())]
