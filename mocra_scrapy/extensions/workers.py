"""``WorkerReports``: this worker tells who it is, what it holds and how it goes, for
``Control.workers()`` and the commands.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import socket
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy import signals

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy._version import __version__
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import WorkerReport
from mocra_scrapy.models.redaction import redact
from mocra_scrapy.runtime import Mocra

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)

LAG_STEP = 0.25  # s between two looks at how late the event loop is


def resident_megabytes() -> float | None:
    """Memory of this process; ``None`` where the system doesn't tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1_048_576, 1)


class WorkerReports:
    """Announces the worker every ``MOCRA_HEARTBEAT`` seconds, and when its state changes; takes it
    off the list when it leaves.

    No decision of the queue hangs on this list: what a dead worker held goes to others by
    ``MOCRA_LEASE``.
    """

    def __init__(self, mocra: Mocra) -> None:
        self._mocra = mocra
        self._options = mocra.coordination
        self._registry = mocra.backend.worker_registry()
        self._tasks: list[asyncio.Task[None]] = []
        self._lag = 0.0
        self._error: str | None = None
        self._began = self._measured = time.monotonic()
        self._counted = (0, 0)
        self._since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        mocra.crawler.signals.connect(self._spider_error, signals.spider_error)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return Mocra.from_crawler(crawler).extension(cls)

    def _spider_error(self, failure: Any, response: Any) -> None:
        text = redact(f"{failure.type.__name__}: {failure.getErrorMessage()}")
        self._error = text[:300]

    async def open(self) -> None:
        self._tasks = [asyncio.create_task(self._beat(), name="mocra heartbeat")]

    async def _beat(self) -> None:
        due, told = 0.0, ""
        while True:
            before = time.monotonic()
            if before >= due or self.state != told:
                told = self.state
                due = before + await self._announce()
                before = time.monotonic()
            await asyncio.sleep(LAG_STEP)
            self._lag = max(self._lag, time.monotonic() - before - LAG_STEP)

    async def _announce(self) -> float:
        """Seconds until the next time."""
        report = WorkerReport(self._mocra.worker, self._mocra.crawl, self.facts())
        try:
            await self._registry.announce(report, self._options.heartbeat_ttl)
        except MocraError as error:
            logger.debug("The heartbeat of %s was not stored: %s", self._mocra.worker, error)
            return min(self._options.heartbeat, 1.0)
        return self._options.heartbeat

    @property
    def state(self) -> str:
        flow = self._mocra.worker_state
        return "waiting for the backend" if flow.away else flow.state

    def facts(self) -> dict[str, Any]:
        """What is told; rates and lag are those since the last time."""
        mocra, stats = self._mocra, self._mocra.crawler.stats
        assert stats is not None
        now = time.monotonic()
        counts = (stats.get_value("response_received_count", 0), stats.get_value("item_scraped_count", 0))
        minutes = max(now - self._measured, 0.001) / 60
        rates = [round((new - old) / minutes, 1) for new, old in zip(counts, self._counted, strict=True)]
        lag, self._lag, self._counted, self._measured = self._lag, 0.0, counts, now
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "python": platform.python_version(),
            "scrapy": version("scrapy"),
            "mocra": __version__,
            "spider": getattr(mocra.crawler.spidercls, "name", None),
            "run": mocra.worker_state.run,
            "state": self.state,
            "since": self._since,
            "told": round(time.time(), 1),
            "uptime": round(now - self._began, 1),
            **mocra.worker_state.held,
            "pages": counts[0],
            "items": counts[1],
            "pages_per_minute": rates[0],
            "items_per_minute": rates[1],
            "memory_mb": resident_megabytes(),
            "loop_lag": round(lag, 3),
            "last_error": self._error,
        }

    async def close(self) -> None:
        await end_tasks(self._tasks)
        self._tasks = []
        try:
            await self._registry.leave(self._mocra.worker)
        except MocraError as error:
            logger.debug("%s stays on the list until its heartbeat ends: %s", self._mocra.worker, error)
