"""Calls that are repeated until the backend answers, and what is said of the time in between."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from mocra_scrapy import signals
from mocra_scrapy.exceptions import BackendUnavailable, MocraError

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from mocra_scrapy.worker.queue_status import QueueStatus

logger = logging.getLogger(__name__)

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0  # s between two attempts while the backend is away
#: Refusals in a row after which a worker gives up: a password that is being changed, rights that are
#: being loaded anew pass within seconds; what is left is a mistake that somebody must mend.
REFUSALS = 6


class Outages:
    """Makes of an outage a pause.

    Args:
        url: the backend's, without password.
        recovered: called after an outage: what is stored beside the queue may be gone with the
            server's last writes.
    """

    def __init__(self, crawler: Crawler, url: str, status: QueueStatus, recovered: Callable[[], None]) -> None:
        assert crawler.stats is not None
        self._crawler = crawler
        self._stats = crawler.stats
        self._url = url
        self._status = status
        self._recovered = recovered

    async def insist(self, call: Callable[[bool], Awaitable[T]]) -> T:
        """The answer of *call*, repeated until the backend gives one. Its argument says whether
        this is a repetition: the same call number and arguments, then.

        Raises:
            MocraError: the backend did not fail to answer, it refuses (a missing right, data that
                is not ours, an error of a script), and did so :data:`REFUSALS` times in a row.

        Cancelled with the task that awaits it; a worker that closes bounds it by
        ``MOCRA_STOP_TIMEOUT``.
        """
        pause, repeat, refusals = FIRST_PAUSE, False, 0
        while True:
            try:
                answer = await call(repeat)
            except MocraError as error:
                refusals = 0 if isinstance(error, BackendUnavailable) else refusals + 1
                if refusals >= REFUSALS:
                    raise
                self._away(error)
                repeat = True
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._back()
                return answer

    def _away(self, error: MocraError) -> None:
        if self._status.away_since is None:
            self._status.away_since = time.monotonic()
            logger.warning("Backend %s is away, the crawl pauses: %s", self._url, error)
            self._stats.inc_value("mocra/backend/outages")
            self._crawler.signals.send_catch_log(signals.backend_unavailable, spider=self._crawler.spider, error=error)
        elif not isinstance(error, BackendUnavailable):
            logger.error("The backend refuses: %s", error)

    def _back(self) -> None:
        if self._status.away_since is None:
            return
        seconds, self._status.away_since = time.monotonic() - self._status.away_since, None
        logger.info("Backend %s is back after %.1f s, the crawl goes on", self._url, seconds)
        total = self._stats.get_value("mocra/backend/outage_seconds", 0) + seconds
        self._stats.set_value("mocra/backend/outage_seconds", round(total, 3))
        self._recovered()
        self._crawler.signals.send_catch_log(signals.backend_available, spider=self._crawler.spider, seconds=seconds)
