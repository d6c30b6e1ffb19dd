"""A scheduler of ours without an engine around it, on the memory backend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from scrapy import Request, Spider
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.test import get_crawler

from mocra_scrapy.models import Seeding
from mocra_scrapy.scheduler import Scheduler
from mocra_scrapy.worker.slot_policy import ClusterPolicy

URLS = [f"http://foo.test/{name}" for name in "abc"]
PRIORITIES = [
    ("http://foo.test/a", -2),
    ("http://foo.test/d", 1),
    ("http://foo.test/b", -1),
    ("http://foo.test/c", 0),
    ("http://foo.test/e", 2),
]
#: The crawl of :class:`OneSpider`: outside of a project its module says which one it is.
CRAWL = "tests:one"


class OneSpider(Spider):
    name = "one"

    def parse(self, response: Any) -> None: ...

    def other(self, response: Any) -> None: ...


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[Scheduler]:
    # MOCRA_PREFETCH: leased ahead, as from a server.
    settings = {
        "MOCRA_PREFETCH": 16,
        "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",
        "MOCRA_EXCHANGE_INTERVAL": 0,
        **settings,
    }
    crawler = get_crawler(OneSpider, settings, prevent_warnings=False)
    crawler.spider = crawler._create_spider()
    scheduler = Scheduler.from_crawler(crawler)
    await maybe_deferred_to_future(scheduler.open(crawler.spider))  # type: ignore[arg-type]
    try:
        yield scheduler
        holds_what_it_counts(scheduler)
    finally:
        await maybe_deferred_to_future(scheduler.close("finished"))  # type: ignore[arg-type]


async def unseeded(scheduler: Scheduler) -> None:
    """As if this process had a ``start()``: without an engine a worker calls its crawl seeded."""
    queue: Any = scheduler.mocra.queue
    queue._crawl.seeding, queue._crawl.seeder = Seeding.OPEN, ""
    assert scheduler.worker is not None
    scheduler.worker.status.state = await queue.state()


def holds_what_it_counts(scheduler: Scheduler) -> None:
    """A worker that holds nothing has no loads; what it has in flight and waiting it counts."""
    worker = scheduler.worker
    if worker is None or not isinstance(worker.policy, ClusterPolicy):
        return
    permits = worker.policy.permits
    assert sum(permits._waiting.values()) >= worker.inbox.leased, "what waits is counted"
    if not worker.inbox.leased:
        assert not permits._waiting
    if not len(worker.deliveries):
        assert not permits._in_flight


async def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.001)
    return found


async def dequeue(scheduler: Scheduler) -> Request:
    """As the engine: ask, and ask again when woken."""
    request = await eventually(scheduler.next_request)
    scheduler.worker.deliveries.finished(request)
    found: Request = request
    return found


async def drained(scheduler: Scheduler) -> None:
    await eventually(lambda: not scheduler.has_pending_requests())
    await eventually(lambda: not scheduler.worker.status or not scheduler.worker.status.size.unfinished)
