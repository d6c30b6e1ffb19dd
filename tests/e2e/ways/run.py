"""``python -m tests.e2e.ways.run BACKEND SITE [WAY …]``: runs each way of the table, one after the
other, and prints ``{"ways": {way: what came of it}, "alive":
[ways whose crawler is still in memory]}``. ``BACKEND`` is a URL, or ``plain`` for Scrapy alone.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import hashlib
import json
import logging
import sys
import time
import weakref
from collections import Counter
from typing import Any
from urllib.request import urlopen

from scrapy import signals
from scrapy.crawler import AsyncCrawlerRunner, Crawler
from scrapy.utils.reactor import install_reactor

from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import QueueOptions
from tests.e2e.ways import callbacks, carried, network, starts  # noqa: F401 - the table
from tests.e2e.ways.way import WAYS, Way

COMMON = {
    "TELNETCONSOLE_ENABLED": False,
    "LOG_LEVEL": "ERROR",
    "DOWNLOAD_TIMEOUT": 10,
    "MOCRA_RETRY_BASE": 0.02,
    "MOCRA_IDLE_POLL": 0.5,
}
#: A way that takes longer hangs; it is closed and its reason says so.
LONGEST = 300
#: What is told of the stats: these, and all that begin like those that end with a slash.
STATS = (
    "scheduler/enqueued",
    "scheduler/dequeued",
    "dupefilter/filtered",
    "item_scraped_count",
    "item_dropped_count",
    "item_error_count",
    "response_received_count",
    "downloader/request_count",
    "httperror/response_ignored_count",
    "offsite/",
    "retry/",
    "spider_exceptions/",
    "robotstxt/",
    "file_count",
    "httpcache/hit",
    "request_depth_max",
    "ways/",
)
FAMILIES = tuple(name for name in STATS if name.endswith("/"))


class Told(logging.Handler):
    """Errors in the log."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.lines.append(text[:300] + (repr(record.exc_info[1])[:200] if record.exc_info else ""))


def fetch(url: str) -> bytes:
    with urlopen(url, timeout=60) as answer:
        body: bytes = answer.read()
        return body


def counted(path: str, times: list[float]) -> int | str:
    """How often it was fetched. Twisted by itself fetches once more where a used connection was cut."""
    return "some" if "drop" in path else len(times)


def shown(item: Any, site: str) -> str:
    """The same for each site: they have ports of their own."""
    fields = dataclasses.asdict(item) if dataclasses.is_dataclass(item) and not isinstance(item, type) else item
    if not hasattr(fields, "keys"):
        return repr(fields).replace(site, "")
    text = json.dumps(dict(fields), sort_keys=True, default=repr)
    for file in dict(fields).get("files", ()):
        text = text.replace(hashlib.sha1(file["url"].encode(), usedforsecurity=False).hexdigest(), "SHA-1 of its URL")
    return text.replace(site, "")


#: Of each way its crawler, to see that nobody keeps it.
crawlers: dict[str, weakref.ref[Crawler]] = {}


async def crawl(runner: AsyncCrawlerRunner, way: type[Way], backend: str, site: str) -> dict[str, Any]:
    fetch(f"{site}/_reset")
    crawler: Crawler = runner.create_crawler(way)
    crawlers[way.name] = weakref.ref(crawler)
    for name, value in way.settings_.items():
        crawler.settings.set(name, value, "spider")
    items: list[str] = []
    reasons: list[str] = []

    def scraped(item: Any) -> None:
        items.append(shown(item, site))

    def closed(reason: str) -> None:
        reasons.append(reason)

    crawler.signals.connect(scraped, signals.item_scraped)
    crawler.signals.connect(closed, signals.spider_closed)
    told = Told()
    logging.getLogger().addHandler(told)
    began = time.monotonic()
    running = asyncio.ensure_future(runner.crawl(crawler, site=site))
    done, _ = await asyncio.wait([running], timeout=LONGEST)
    if not done:
        await crawler.engine.close_async(reason="hangs")  # type: ignore[union-attr]
    await asyncio.wait([running], timeout=60)
    logging.getLogger().removeHandler(told)
    port = site.rpartition(":")[2]
    arrivals = json.loads((await asyncio.to_thread(fetch, f"{site}/_arrivals")).decode().replace(f":{port}/", ":PORT/"))
    stats = crawler.stats.get_stats() if crawler.stats else {}
    return {
        "items": sorted(items),
        "arrivals": {path: counted(path, times) for path, times in arrivals.items()},
        "reason": (reasons or ["never opened"])[0] if done else "hangs",
        "stats": {name: stats[name] for name in sorted(stats) if name in STATS or name.startswith(FAMILIES)},
        "errors": told.lines,
        "queue": None if backend == "plain" else await queue(backend, way.name),
        "seconds": round(time.monotonic() - began, 2),
    }


async def queue(url: str, crawl: str) -> dict[str, Any]:
    """What the crawl left behind: requests that are not finished, dead letters by their reason."""
    backend = open_backend(url)
    await backend.open(10)
    try:
        queue = backend.request_queue(crawl, QueueOptions())
        return {
            "unfinished": (await queue.size()).unfinished,
            "letters": dict(Counter(letter.reason for letter in await queue.dead())),
        }
    finally:
        await backend.close()


async def main() -> None:
    backend, site, *names = sys.argv[1:]
    results = {}
    for name in names or WAYS:
        settings = dict(COMMON)
        if backend != "plain":
            settings |= {"ADDONS": {"mocra_scrapy.Addon": 300}, "MOCRA_BACKEND": backend, "MOCRA_CRAWL": name}
        results[name] = await crawl(AsyncCrawlerRunner(settings), WAYS[name], backend, site)
    await asyncio.sleep(0)  # what the last one scheduled
    gc.collect()
    alive = [name for name, crawler in crawlers.items() if crawler() is not None]
    print(json.dumps({"ways": results, "alive": alive}))


if __name__ == "__main__":
    install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor")
    from twisted.internet import reactor

    async def until_done() -> None:
        try:
            await main()
        finally:
            reactor.stop()  # type: ignore[attr-defined]

    reactor.callWhenRunning(lambda: asyncio.ensure_future(until_done()))  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]
