"""``LoopWatchdog``: says in the log when something blocks the event loop, and where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy.exceptions import NotConfigured

from mocra_scrapy.runtime import Mocra
from mocra_scrapy.runtime.watchdog import Watchdog
from mocra_scrapy.settings.reports import read_reports

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class LoopWatchdog:
    """From when the backend answers until the worker leaves. ``MOCRA_LOOP_WATCHDOG = 0``: not at
    all.
    """

    def __init__(self, mocra: Mocra) -> None:
        self._watchdog = Watchdog(read_reports(mocra.crawler.settings).watchdog)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if not read_reports(crawler.settings).watchdog:
            raise NotConfigured("MOCRA_LOOP_WATCHDOG is 0")
        return Mocra.from_crawler(crawler).extension(cls)

    async def open(self) -> None:
        self._watchdog.start()

    async def close(self) -> None:
        self._watchdog.stop()
