"""A stop that was asked for before the engine ran.

``Crawler.stop_async`` (SIGTERM, Ctrl-C) forgets the order when the spider is only being opened: the
engine does not run yet, so there is nothing to stop, and then it starts (Scrapy 2.14 – 2.19,
scrapy/scrapy#6916). With a backend to connect to the spider is being opened for longer than in plain
Scrapy, and what a container's runtime or ``scrapy cron`` asks for once must not be lost.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from scrapy import signals

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)


class EarlyStop:
    """Stops the engine of *crawler* as soon as it has started, when the crawler was told to stop
    before. The spider closes with ``shutdown``, as it does when it is told to later.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._stopping: asyncio.Task[None] | None = None
        crawler.signals.connect(self._started, signals.engine_started)

    def _started(self) -> None:
        if not self._crawler.crawling:
            logger.info("Told to stop while the spider was being opened: stopping now")
            assert self._crawler.engine is not None
            self._stopping = asyncio.ensure_future(self._crawler.engine.stop_async())
