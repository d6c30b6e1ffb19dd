"""Requests that can't be stored: they stay with this worker, in memory, and their parent waits for
them.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from mocra_scrapy.worker.inbox import Local

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from mocra_scrapy.exceptions import UnserializableRequest
    from mocra_scrapy.worker.deliveries import Deliveries
    from mocra_scrapy.worker.inbox import Inbox

logger = logging.getLogger(__name__)

#: Reasons that are told and counted each by itself: keys of meta may be without end.
PARTS = 20


class LocalRequests:
    """Puts such requests into the inbox, at once or when their delay has passed. ``len()``: those
    that wait for that.

    Args:
        wake: makes the engine look.
        required: ``MOCRA_REQUIRE_SERIALIZABLE``.
    """

    def __init__(
        self, crawler: Crawler, inbox: Inbox, deliveries: Deliveries, wake: Callable[[], None], *, required: bool
    ) -> None:
        assert crawler.stats is not None
        self._crawler = crawler
        self._stats = crawler.stats
        self._inbox, self._deliveries = inbox, deliveries
        self._wake = wake
        self._required = required
        self._told: set[str] = set()
        self._later = WaitingRequests(self._ready)

    def __len__(self) -> int:
        return len(self._later)

    def add(self, local: Local, error: UnserializableRequest, delay: float) -> None:
        """*local*'s parent is the delivery that caused it.

        Raises:
            UnserializableRequest: *error*, if such requests are not wanted.
        """
        if self._required:
            raise error
        part = error.part if error.part in self._told or len(self._told) < PARTS else "other"
        if part not in self._told or self._crawler.settings.getbool("SCHEDULER_DEBUG"):
            self._told.add(part)
            logger.warning(
                "Unable to serialize request: %s - reason: %s - it stays with this worker, in memory; no more such requests"
                " will be logged (stats are collected as mocra/scheduler/unserializable/%s)",
                local.request,
                error,
                part,
                extra={"spider": self._crawler.spider},
            )
        self._stats.inc_value("mocra/scheduler/unserializable")
        self._stats.inc_value(f"mocra/scheduler/unserializable/{part}")
        self._stats.inc_value("scheduler/enqueued/memory")
        self._stats.inc_value("scheduler/enqueued")
        local = replace(local, parent=self._deliveries.adopt(local.parent))
        if delay > 0:
            self._later.add(local, delay)
        else:
            self._ready(local)

    def close(self) -> None:
        """Nothing becomes ready any more."""
        self._later.stop()

    def _ready(self, local: Local) -> None:
        self._inbox.add_local(local)
        self._wake()


class WaitingRequests:
    """Requests that only this process can hold, and that are not due yet.

    Args:
        due: called with each when its time has come.
    """

    def __init__(self, due: Callable[[Local], None]) -> None:
        self._due = due
        self._heap: list[tuple[float, int, Local]] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, local: Local, seconds: float) -> None:
        heapq.heappush(self._heap, (time.monotonic() + seconds, next(self._numbers), local))
        self._set()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        self.stop()
        if self._heap:
            pause = max(0.0, self._heap[0][0] - time.monotonic())
            # Long ones in steps: a loop's timer has no meaning beyond some weeks.
            self._timer = asyncio.get_running_loop().call_later(min(pause, 86_400), self._ring)

    def _ring(self) -> None:
        while self._heap and self._heap[0][0] <= time.monotonic():
            self._due(heapq.heappop(self._heap)[2])
        self._set()
