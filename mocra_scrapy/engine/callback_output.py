"""What a callback yields goes where it belongs, with a task for each item instead of
``CONCURRENT_ITEMS`` tasks for each response.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any

from scrapy import Request
from scrapy.core.scraper import Scraper
from scrapy.utils.asyncgen import as_async_generator
from scrapy.utils.defer import aiter_errback, iter_errback

from mocra_scrapy.engine.held_output import Held

logger = logging.getLogger(__name__)

#: Requests that are taken in at one go, so that a callback that yields a whole sitemap doesn't keep
#: everybody else waiting.
AT_A_TIME = 50

#: Turns of the event loop until the first of them is taken in, as many as it takes Scrapy's tasks: a
#: ``start()`` that waits for ``scheduler_empty`` goes on in between. Where ``start()`` is over nobody
#: needs them.
TURNS = 2


#: Waits until more requests can be taken in; hears of what came too late; says whose output is held.
Room = Callable[[], Awaitable[None]]
Dropped = Callable[[Any], None]
Hold = Callable[[Request], "Held | None"]
SCRAPYS = Scraper.handle_spider_output_async

#: In the pipelines: which of the items of its page it is, from 1, in the order in which the callback yields
#: them; 0: nobody knows.
NUMBER: ContextVar[int] = ContextVar("mocra_item_number", default=0)


class Page:
    """The output of one callback, while it is processed.

    Attributes:
        items: those that are in the pipelines. *number*: of those that ever were.
        late: whether nobody waits for it any more: what comes is dropped.
    """

    __slots__ = ("items", "late", "number")

    def __init__(self) -> None:
        self.items: set[asyncio.Task[None]] = set()
        self.number = 0
        self.late = False


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
        dropped: told of each request and item that came after :meth:`let_go`.
        hold: says of a request whether the output of its callback is taken in as a whole; ``None``: as
            it comes.
        is_starting: whether ``start()`` goes on.
    """

    def __init__(
        self,
        engine: Any,
        scraper: Any,
        room: Room,
        dropped: Dropped,
        *,
        hold: Hold = lambda request: None,
        is_starting: Callable[[], bool] = bool,
    ) -> None:
        self._engine = engine
        self._scraper = scraper
        self._room = room
        self._dropped = dropped
        self._is_starting = is_starting
        self._hold = hold
        self._pages: dict[Request, Page] = {}
        self._let_go: set[Request] = set()  # of them nothing has come yet

    @classmethod
    def installed(
        cls, engine: Any, room: Room, dropped: Dropped, hold: Hold, is_starting: Callable[[], bool]
    ) -> Output | None:
        """One that *engine* uses from now on; ``None``: somebody else has put his own there."""
        scraper: Any = getattr(engine, "scraper", None)
        if type(scraper) is not Scraper or getattr(scraper.handle_spider_output_async, "__func__", None) is not SCRAPYS:
            return None
        output = cls(engine, scraper, room, dropped, hold=hold, is_starting=is_starting)
        scraper.handle_spider_output_async = output.handle  # type: ignore[method-assign]
        return output

    async def handle(self, result: Iterable[Any] | AsyncIterator[Any], request: Request, response: Any) -> None:
        page = self._pages[request] = Page()
        if request in self._let_go:
            self._let_go.remove(request)
            page.late = True
        try:
            if self._is_starting():
                for _ in range(TURNS):
                    await asyncio.sleep(0)
            await self._process(page, result, request, response)
        finally:
            del self._pages[request]

    async def _process(self, page: Page, result: Any, request: Request, response: Any) -> None:
        scraper = self._scraper
        taken = 0
        async for output in self._outputs(page, result, request, response):
            if isinstance(output, Request) and not page.late:
                self._crawl(output)
                taken += 1
                if not taken % AT_A_TIME:
                    await self._room()
            elif output is not None:
                if len(page.items) >= max(1, scraper.concurrent_items) and not page.late:
                    _, page.items = await asyncio.wait(page.items, return_when=asyncio.FIRST_COMPLETED)
                if page.late:  # perhaps since it waits for room in the pipelines
                    self._dropped(output)
                    taken += 1
                    if not taken % AT_A_TIME:
                        await asyncio.sleep(0)
                else:
                    page.number += 1
                    before = NUMBER.set(page.number)
                    page.items.add(asyncio.ensure_future(scraper.start_itemproc_async(output, response=response)))
                    NUMBER.reset(before)
        if page.items:
            await asyncio.wait(page.items)

    def _outputs(self, page: Page, result: Any, request: Request, response: Any) -> AsyncIterator[Any]:
        """What is to be taken in, in order. An exception of the callback is told, and ends it."""
        held, failed = self._hold(request), self._scraper.handle_spider_error
        if held is not None:
            failed = held.failing(failed)
        outputs: AsyncIterator[Any]
        if isinstance(result, AsyncIterator):
            outputs = aiter_errback(result, failed, request, response)
        else:
            outputs = as_async_generator(iter_errback(result, failed, request, response))
        return outputs if held is None else held.whole(outputs, page, self._dropped)

    def let_go(self, request: Request) -> None:
        """Nobody waits any more for what the callback of *request* gives: what it yields from now
        on is dropped. Nothing is cancelled: it may be in the middle of anything. Items that are in
        the pipelines go on; the engine doesn't wait for them.
        """
        page = self._pages.get(request)
        if page is None:
            self._let_go.add(request)
            return
        page.late = True
        # Since Scrapy 2.16 a scraper with items in the pipelines is not idle.
        for task in page.items:
            if not task.done():
                self._scraper.slot.itemproc_size -= 1
                task.add_done_callback(self._counted_twice)

    def _counted_twice(self, _: object) -> None:
        self._scraper.slot.itemproc_size += 1  # the scraper counts its end as well

    def waiting(self, request: Request) -> list[asyncio.Task[None]]:
        """The items of *request* that are in the pipelines."""
        page = self._pages.get(request)
        return [] if page is None else [task for task in page.items if not task.done()]

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
