"""How many requests a worker leases: what its downloader has room for, and some ahead, so that it never waits
for an exchange.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.models import Exchange
    from mocra_scrapy.settings.crawl import Options
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.slot_policy import SlotPolicy

logger = logging.getLogger(__name__)

#: Of what the downloader and the prefetch hold, so many times may wait in the inbox: with fewer a few
#: slow hosts fill it and the fast ones starve, with more a worker that dies takes much with it.
CROWDED = 4


class LeasingAhead:
    """Of one worker; nothing is leased ahead where the queue answers at once.

    What was leased ahead waits for a place of the downloader. If all of these are taken by downloads that
    hang, it would wait as long as they do, at worst for ``DOWNLOAD_TIMEOUT``, while other workers have
    nothing to do. So it goes back into the queue when nothing of it went out for ``MOCRA_IDLE_POLL``
    seconds, all places are taken, and the queue has nothing else to hand out. Then nothing is leased
    before a place is free: of two workers whose downloads hang each gives it back once, and it waits in
    the queue for whoever is first.

    Only answers of the queue are looked at, a page costs nothing. Leases come with answers, so between
    two without any nothing went out if as many wait after the second as after the first.
    """

    def __init__(
        self,
        status: QueueStatus,
        inbox: Inbox,
        *,
        policy: SlotPolicy,
        engine: EngineHooks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status, self._inbox, self._policy, self._engine, self._clock = status, inbox, policy, engine, clock
        self._suspended = False
        self._waiting = 0  # in the inbox after the last answer
        self._since = 0.0  # nothing went out, and all places were taken

    def want(self, options: Options) -> int:
        """How many to lease: room in the downloader and the prefetch, less what is here already."""
        if not self._status.leasing or self._engine.paused:
            return 0
        leased, free = self._inbox.leased, max(0, options.concurrency - self._engine.downloading)
        if not options.prefetch:
            return max(0, min(free, 1) - leased) if self._status.hungry else 0
        if self._suspended:
            if not free:
                return 0
            self._suspended = False
        # What waits for a slot that is full can't be fetched now: it doesn't count, so that slow
        # hosts don't starve the others.
        bound = CROWDED * (options.concurrency + options.prefetch) - leased
        return max(0, min(free + options.prefetch - self._policy.fetchable(self._inbox), bound))

    def answered(self, exchange: Exchange, options: Options) -> None:
        """The queue answered, and what it leased is in the inbox."""
        before, self._waiting = self._waiting, self._inbox.leased
        if not self._waiting:
            return
        now = self._clock()
        if exchange.leases or self._waiting != before or self._engine.downloading < options.concurrency:
            self._since = now
        elif now - self._since >= options.idle_poll and not exchange.size.pending and self._status.leasing:
            logger.debug(
                "Giving back what was leased ahead (%s): all downloads have been under way for %.1f s, and nothing else is"
                " pending",
                counted(self._waiting, "request"),
                now - self._since,
            )
            self._suspended = True
            self._waiting = 0
            self._inbox.give_back()
