"""Requests that fail, as the engine would tell of it."""

from __future__ import annotations

from typing import Any

from scrapy import Request
from twisted.python.failure import Failure

from mocra_scrapy.models import DeadLetter
from mocra_scrapy.scheduler import Scheduler
from tests.integration.worker.scheduling import drained, eventually


def broken(text: str = "broken", kind: type[Exception] = ValueError) -> Failure:
    try:
        raise kind(text)
    except kind:
        return Failure()


def tell(scheduler: Scheduler, signal: object, **more: Any) -> None:
    scheduler.crawler.signals.send_catch_log(signal, spider=scheduler.crawler.spider, response=None, **more)


async def taken(scheduler: Scheduler, *requests: Request) -> Request:
    """The next request, as the engine gets it."""
    for request in requests:
        scheduler.enqueue_request(request)
    found: Request = await eventually(scheduler.next_request)
    return found


async def letters(scheduler: Scheduler) -> list[DeadLetter]:
    await drained(scheduler)
    return list(await scheduler.mocra.queue.dead())
