"""Crawls a site and writes each request, encoded, as it reaches the scheduler:
``python -m benchmarks.collect '<JSON>'``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
from scrapy import Request, Spider
from scrapy.core.scheduler import Scheduler
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import Response, TextResponse
from scrapy.linkextractors import LinkExtractor

from mocra_scrapy.codec.requests import load_codec

payloads: list[bytes] = []


class Collecting(Scheduler):
    """Scrapy's own, which notes what it takes."""

    def enqueue_request(self, request: Request) -> bool:
        taken = super().enqueue_request(request)
        if taken:
            payloads.append(load_codec("msgpack", self.spider, 1 << 20).encode(request))
        return taken


class Site(Spider):
    """Follows every link of the site, by a link extractor, as a person would write it."""

    name = "site"

    def __init__(self, address: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_urls = [address]
        self.links = LinkExtractor(allow=[f"^{address}"])

    def parse(self, response: Response) -> Iterator[Any]:
        if isinstance(response, TextResponse):
            for link in self.links.extract_links(response):
                yield response.follow(link, callback=self.parse)


def main() -> None:
    job = json.loads(sys.argv[1])
    process = AsyncCrawlerProcess(
        {
            "SCHEDULER": Collecting,
            "CLOSESPIDER_PAGECOUNT": job["pages"],
            "LOG_LEVEL": "CRITICAL",
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "DEPTH_PRIORITY": 1,
            "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",
        }
    )
    process.crawl(Site, address=job["address"])
    process.start()
    Path(job["out"]).write_bytes(msgpack.packb(payloads))


if __name__ == "__main__":
    main()
