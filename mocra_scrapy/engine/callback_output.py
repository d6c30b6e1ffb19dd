"""What a callback yields goes where it belongs, with a task for each item instead of
``CONCURRENT_ITEMS`` tasks for each response.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from scrapy import Request
from scrapy.utils.asyncgen import as_async_generator
from scrapy.utils.defer import aiter_errback, iter_errback

logger = logging.getLogger(__name__)

#: Requests that are taken in at one go, so that a callback that yields a whole sitemap doesn't keep
#: everybody else waiting.
AT_A_TIME = 50

#: Turns of the event loop until the first of them is taken in, as many as it takes Scrapy's tasks: a
#: ``start()`` that waits for ``scheduler_empty`` goes on in between.
TURNS = 2


class Output:
    """In place of ``Scraper.handle_spider_output_async``, which starts 101 tasks for a page with
    one item, a quarter of its CPU time.

    The same for everybody else: requests and items are taken in the order in which they are
    yielded, up to ``CONCURRENT_ITEMS`` items of a response are in the pipelines at once, the
    callback is asked for the next one when there is room, an error of the callback is handled and
    ends it, and the end is when the last item has left the pipelines. A request needs no task:
    ``engine.crawl`` never waits.

    Args:
        engine, scraper: Scrapy's; only public names of them are used.
        room: waits until more requests can be taken in, asked now and then; lets the event loop run
            in any case.
    """

    def __init__(self, engine: Any, scraper: Any, room: Callable[[], Awaitable[None]]) -> None:
        self._engine = engine
        self._scraper = scraper
        self._room = room

    async def handle(self, result: Iterable[Any] | AsyncIterator[Any], request: Request, response: Any) -> None:
        scraper = self._scraper
        running: set[asyncio.Task[None]] = set()
        taken = 0
        for _ in range(TURNS):
            await asyncio.sleep(0)
        failed = scraper.handle_spider_error
        outputs: AsyncIterator[Any]
        if isinstance(result, AsyncIterator):
            outputs = aiter_errback(result, failed, request, response)
        else:
            outputs = as_async_generator(iter_errback(result, failed, request, response))
        async for output in outputs:
            if isinstance(output, Request):
                self._crawl(output)
                taken += 1
                if not taken % AT_A_TIME:
                    await self._room()
            elif output is not None:
                if len(running) >= max(1, scraper.concurrent_items):
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running.add(asyncio.ensure_future(scraper.start_itemproc_async(output, response=response)))
        if running:
            await asyncio.wait(running)

    def _crawl(self, request: Request) -> None:
        try:
            self._engine.crawl(request=request)
        except Exception:  # the spider is closed already; what else was yielded must not suffer
            logger.exception("Could not schedule %s", request)


def wrapping_output(call: Callable[..., Awaitable[Any]], wrap: Callable[[Any], Any]) -> Callable[..., Any]:
    """``Scraper.call_spider_async``, whose output is given to *wrap* before a spider middleware
    sees it.
    """

    async def call_spider_async(*args: Any) -> Any:
        return wrap(await call(*args))

    return call_spider_async
