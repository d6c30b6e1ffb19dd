"""The backstop: requests that reach the downloader without having been handed out by the queue are
polite, too.

Such are robots.txt, what media pipelines and ``engine.download_async`` fetch, and requests that
can't be stored. They book their departure on the state by which the queue hands out, and wait for
it here, which takes a place of the downloader.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from scrapy.exceptions import NotConfigured

from mocra_scrapy.engine.hooks import slot_of
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import Reservation
from mocra_scrapy.politeness.outage_share import OutageShare
from mocra_scrapy.runtime import Mocra

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: Seconds that a departure is booked ahead here: the rest of the crawl must not wait for one who
#: may not even be here any more.
AHEAD = 5.0
#: Seconds between two looks at how many workers there are, for the share of each during an outage.
COUNTED = 30.0


class ThrottleMiddleware:
    """Waits for the departure of what bypasses the queue. While the backend is away it does as
    ``MOCRA_THROTTLE_ON_OUTAGE`` says: waits for it, or goes on with this worker's share of the
    rate, never without a limit.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.mocra = Mocra.from_crawler(crawler)
        self._limits = self.mocra.options.limits
        if not self._limits.cluster or self.mocra.one_off:
            raise NotConfigured
        assert crawler.stats is not None
        self._stats = crawler.stats
        self._share = OutageShare()
        self._counted = -COUNTED

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_request(self, request: Request, spider: object = None) -> Awaitable[None] | None:
        """Nothing to do for what the queue handed out: it has waited there."""
        return None if self.mocra.worker_state.is_leased(request) else self._depart(request)

    async def _depart(self, request: Request) -> None:
        slot = slot_of(request)
        names = (slot, *self._limits.scopes_of(slot, request))
        while True:
            try:
                wait, booked = await self._book(names)
            except MocraError as error:
                wait, booked = self._without(names, error)
            if wait > 0:
                self._stats.inc_value("mocra/throttle/waited")
                total = self._stats.get_value("mocra/throttle/waited_seconds", 0.0) + min(wait, AHEAD)
                self._stats.set_value("mocra/throttle/waited_seconds", round(total, 3))
                await asyncio.sleep(wait if booked else min(wait, AHEAD))
            if booked:
                return

    async def _book(self, names: tuple[str, ...]) -> tuple[float, bool]:
        (booking,) = await self.mocra.limiter.reserve([Reservation(names, AHEAD)])
        await self._count()
        return booking.wait, booking.booked

    async def _count(self) -> None:
        now = time.monotonic()
        if now - self._counted >= COUNTED:
            self._counted = now
            self._share.workers = max(1, len(await self.mocra.queue.workers()))

    def _without(self, names: tuple[str, ...], error: MocraError) -> tuple[float, bool]:
        """The backend is away."""
        self._stats.inc_value("mocra/throttle/outages")
        if self._limits.on_outage == "wait":
            logger.debug("Waiting for the backend before the next request of %s: %s", names[0], error)
            return 1.0, False
        return self._share.book(names, [self._limits.of(name) for name in names]), True
