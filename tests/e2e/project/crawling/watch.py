"""Tells the test what happens: one line of JSON an event, appended to the file that WATCH names. With
WATCH_STALLS also for how long the event loop stood still: looking 200 times a second costs as much as
a dozen pages.
"""

import asyncio
import json
import os
import time
from pathlib import Path

from scrapy import signals

from mocra_scrapy import signals as ours


def waited_for_a_processor():
    """Seconds for which this process could have run and others did: no fault of its own. 0 where the
    kernel does not say.
    """
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


class Watch:
    def __init__(self, crawler):
        self.crawler = crawler
        path = os.environ.get("WATCH")
        # A line is one write: the lines of several workers stay whole.
        self.file = Path(path).open("ab", buffering=0) if path else None  # noqa: SIM115 - until the process ends
        self.longest = 0.0
        self.task = None
        connect = crawler.signals.connect
        connect(self.opened, signals.spider_opened)
        connect(self.closed, signals.spider_closed)
        connect(self.item, signals.item_scraped)
        connect(self.dropped, signals.request_dropped)
        connect(self.finished, ours.crawl_finished)
        connect(self.lost, ours.worker_lost)
        connect(self.away, ours.backend_unavailable)
        for name in ("breaker_opened", "breaker_closed", "breaker_tripped"):
            connect(getattr(self, name), getattr(ours, name))
        connect(self.back, ours.backend_available)

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    def tell(self, event, **facts):
        if self.file:
            line = json.dumps({"event": event, "pid": os.getpid(), "at": time.monotonic(), **facts}, default=str)
            self.file.write(line.encode() + b"\n")

    def opened(self, spider):
        self.tell("opened")
        if os.environ.get("WATCH_STALLS"):
            self.task = asyncio.ensure_future(self.measure())

    async def measure(self):
        """The longest time that the event loop did not come round while it had a processor."""
        last = time.perf_counter() - waited_for_a_processor()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter() - waited_for_a_processor()
            self.longest = max(self.longest, now - last - 0.005)
            last = now

    def item(self, item, response, spider):
        self.tell("item", item=item, url=getattr(response, "url", None))  # of an errback it is a Failure

    def dropped(self, request, spider):
        self.tell("dropped", url=request.url)

    async def finished(self, spider, crawl, run):
        await asyncio.sleep(0)
        self.tell("finished", crawl=crawl, run=run)

    def lost(self, spider):
        self.tell("lost")

    def away(self, spider, error):
        self.longest = 0.0
        self.tell("away", error=str(error))

    def back(self, spider, seconds):
        self.tell("back", seconds=seconds, stall=self.longest)

    def breaker_opened(self, spider, slot, hold, times, failed, total, kinds):
        self.tell("breaker_opened", slot=slot, hold=hold, times=times, failed=failed, total=total, kinds=kinds)

    def breaker_closed(self, spider, slot):
        self.tell("breaker_closed", slot=slot)

    def breaker_tripped(self, spider, failed, total, kinds):
        self.tell("breaker_tripped", failed=failed, total=total, kinds=kinds)

    def closed(self, spider, reason):
        if self.task is not None:
            self.task.cancel()
        waited, stats = waited_for_a_processor(), self.crawler.stats.get_stats()
        self.tell("closed", reason=reason, stall=self.longest, waited=waited, stats=stats)
