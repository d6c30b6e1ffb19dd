"""Requests that can't be stored: they stay with this worker, in memory, and their parent waits for
them.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from mocra_scrapy.worker.delays import Waiting

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.exceptions import UnserializableRequest
    from mocra_scrapy.worker.deliveries import Deliveries
    from mocra_scrapy.worker.inbox import Inbox, Local

logger = logging.getLogger(__name__)


class LocalRequests:
    """Puts such requests into the inbox, at once or when their delay has passed. ``len()``: those
    that wait for that.

    Args:
        require: ``MOCRA_REQUIRE_SERIALIZABLE``.
    """

    def __init__(self, crawler: Crawler, inbox: Inbox, deliveries: Deliveries, require: bool) -> None:
        assert crawler.stats is not None
        self._crawler = crawler
        self._stats = crawler.stats
        self._inbox, self._deliveries = inbox, deliveries
        self._require = require
        self._told = False
        self._later = Waiting(self._ready)
        self.engine: EngineHooks | None = None

    def __len__(self) -> int:
        return len(self._later)

    def keep(self, local: Local, error: UnserializableRequest, delay: float) -> None:
        """*local*'s parent is the delivery that caused it.

        Raises:
            UnserializableRequest: *error*, if such requests are not wanted.
        """
        if self._require:
            raise error
        if not self._told or self._crawler.settings.getbool("SCHEDULER_DEBUG"):
            self._told = True
            logger.warning(
                "Unable to serialize request: %s - reason: %s - it stays with this worker, in memory; no more such requests"
                " will be logged (stats are collected as mocra/scheduler/unserializable)",
                local.request,
                error,
                extra={"spider": self._crawler.spider},
            )
        self._stats.inc_value("mocra/scheduler/unserializable")
        self._stats.inc_value("scheduler/enqueued/memory")
        self._stats.inc_value("scheduler/enqueued")
        local = replace(local, parent=self._deliveries.adopt(local.parent))
        if delay > 0:
            self._later.add(local, delay)
        else:
            self._ready(local)

    def stop(self) -> None:
        """The worker closes: nothing becomes ready any more."""
        self._later.stop()

    def _ready(self, local: Local) -> None:
        self._inbox.add_local(local)
        if self.engine is not None:
            self.engine.wake()
