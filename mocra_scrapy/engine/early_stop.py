"""A stop that was asked for before the engine ran.

``Crawler.stop_async`` (SIGTERM, Ctrl-C) forgets the order while the spider is being opened: the
engine does not run yet, so there is nothing to stop (Scrapy 2.14 – 2.19). With a reactor the process
ends at once then, with everything open; without one the crawl goes on as if nobody had asked. With
a backend to connect to, opening takes longer than in plain Scrapy, and what a container's runtime or
``scrapy cron`` asks for once must not be lost.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)
T = TypeVar("T")


class EarlyStop:
    """Honours ``stop_async`` of *crawler* from when its scheduler is made until its engine runs.

    Guarantees: what waits for the backend gives up at once; what was opened is closed with the
    reason ``shutdown``; ``start()`` does not run; ``stop_async`` returns when all is closed.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler, self._over = crawler, asyncio.Event()
        self._told = self._starting = self._closing = False
        self._opening: asyncio.Future[Any] | None = None
        self._leaving: asyncio.Future[None] | None = None
        # Scrapy 2.18 and later raise where there is no engine yet.
        self._engine: Any = getattr(crawler, "engine", None) if crawler.crawling else None
        if self._engine is not None:  # else something other than crawl() drives an engine
            engine = self._engine
            self._stop, self._start = crawler.stop_async, engine.start_async
            self._close, self._close_spider = engine.close_async, engine.close_spider_async
            crawler.stop_async = self._stop_async  # type: ignore[method-assign]
            engine.start_async, engine.close_async = self._start_async, self._close_async
            engine.close_spider_async = self._close_spider_async

    async def opening(self, coroutine: Coroutine[Any, Any, T]) -> T | None:
        """Await *coroutine*, which cleans up after itself when it is cancelled; ``None``: the
        crawler was told to stop meanwhile.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # another reactor, which the coroutine will refuse
            return await coroutine
        self._opening = opening = asyncio.ensure_future(coroutine)
        try:
            return await opening
        except asyncio.CancelledError:
            if not self._told:
                raise
            return None
        finally:
            self._opening = None

    async def _stop_async(self) -> None:
        # The end of a spider that closes by itself is told by stop_async, too.
        if not self._crawler.crawling or self._engine.running or self._closing:
            await self._stop()
            return
        self._crawler.crawling = False
        logger.info("Told to stop while the spider was being opened: leaving")
        if self._starting:
            self._leaving = asyncio.ensure_future(self._engine.stop_async())
            await self._leaving
            return
        self._told = True
        if self._opening is not None:
            self._opening.cancel()
        await self._over.wait()

    async def _start_async(self, **options: Any) -> None:
        self._starting = True
        if not self._told:
            await self._start(**options)
            if self._leaving is not None:  # start_async returns as soon as it sees a stop that has begun
                await self._leaving
        elif self._engine.spider is not None:
            await self._close_async()
        self._over.set()

    async def _close_spider_async(self, **options: Any) -> None:
        self._closing = True
        await self._close_spider(**options)

    async def _close_async(self, **options: Any) -> None:
        self._closing = True
        try:
            await self._close(**options)
        finally:
            self._over.set()
