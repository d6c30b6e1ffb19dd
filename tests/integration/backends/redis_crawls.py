"""Crawls on a Redis of any kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.interfaces import IBackend, IRequestQueue
from mocra_scrapy.models import QueueOptions

FAST = {"socket_timeout": 1, "socket_connect_timeout": 1}


@asynccontextmanager
async def backend(url: str, prefix: str = "mocra", **options: Any) -> AsyncIterator[IBackend]:
    opened = open_backend(url, prefix=prefix, options=options)
    try:
        await opened.open(10)
        yield opened
    finally:
        await opened.close()


async def started(on: IBackend, name: str = "w") -> tuple[IRequestQueue, QueueSession]:
    queue = on.request_queue("c", QueueOptions(lease=60))
    await queue.join(name)
    return queue, QueueSession(queue, name)
