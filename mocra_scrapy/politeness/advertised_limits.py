"""What this worker makes of the limits that a site advertises in its responses."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from scrapy.http import Headers

from mocra_scrapy.models import LimitChange, SlotState
from mocra_scrapy.politeness.rate_limit_headers import Left, Malformed, left_of_limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.http import Response
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.politeness.site_feedback import SiteFeedback

logger = logging.getLogger(__name__)

#: One of these is there where a limit is advertised, as Scrapy spells them.
NAMES = frozenset(
    Headers(dict.fromkeys(("RateLimit", "RateLimit-Remaining", "X-RateLimit-Remaining", "X-Rate-Limit-Remaining"), ""))
)
EVERY = 1.0  # s between two changes that one worker makes to a slot
MOST = 10_000  # slots of which it is known what was told


class AdvertisedLimits:
    """Of one crawler, ``MOCRA_THROTTLE_RATE_LIMIT_HEADERS``:

    ``"hold"``
        Nothing is left: the slot is held until there is more.
    ``"spread"``
        The same; and what is left is spread over the time that it has to last: an adaptation of the
        interval, never below that of the settings.
    """

    def __init__(self, feedback: SiteFeedback, stats: StatsCollector) -> None:
        self._feedback, self._stats = feedback, stats
        self._mode = feedback.options.rate_limit_headers
        self._told: dict[str, tuple[float, float]] = {}  # slot -> when it was told, which interval

    def seen(self, slot: str, response: Response) -> float:
        """Of *slot*, which answered; seconds for which it is held now, 0: it is not."""
        if self._mode == "off":
            return 0.0
        left = None if NAMES.isdisjoint(response.headers) else self._left(slot, response)
        if left is not None and left.remaining < 1 and left.reset > 0:
            seconds = min(left.reset, self._feedback.options.retry_after)
            self._stats.inc_value("mocra/throttle/rate_limit_exhausted")
            self._feedback.hold(slot, seconds, "nothing is left of the limit that it advertises")
            return seconds
        if self._mode == "spread" and (left is not None or slot in self._told):
            self._spread(slot, left)
        return 0.0

    def _left(self, slot: str, response: Response) -> Left | None:
        def header(name: str) -> str | None:
            values = response.headers.getlist(name)
            return b",".join(values).decode("latin-1") if values else None

        try:
            return left_of_limits(header, time.time())
        except Malformed as error:
            self._stats.inc_value("mocra/throttle/rate_limit_malformed")
            logger.debug("Slot %s: %s can't be understood", slot, error)
            return None

    def _spread(self, slot: str, left: Left | None) -> None:
        now = time.monotonic()
        interval = 0.0 if left is None else min(left.interval, self._feedback.options.retry_after)
        at, told = self._told.get(slot, (now - EVERY, 0.0))
        if now - at < EVERY or abs(interval - told) <= 0.05 * told:
            return
        if left is None:
            del self._told[slot]
        else:
            if len(self._told) >= MOST:
                self._told.clear()
            self._told[slot] = (now, interval)
        self._feedback.spread(slot, interval)
        if self._feedback.pace(slot) is None:  # else its delay is worked out with each response
            changer = spreading(interval, self._feedback.own(slot), told)
            self._feedback.change(slot, changer, "the limit that it advertises")


def spreading(interval: float, own: float, before: float) -> Callable[[SlotState], LimitChange | None]:
    """Changes a slot's interval to *interval*, but not below its *own*. What people said stays, and so does what
    something else found that is longer (AutoThrottle): *before* is what was said here last.
    """

    def changer(state: SlotState) -> LimitChange | None:
        change = state.change
        if change.interval is not None and not change.adapted:
            return None
        least = max(own, state.limit.floor, change.least or 0.0)
        old, new = own if change.interval is None else change.interval, max(interval, least)
        if abs(new - old) < 0.001 or (new < old and old > max(before, least) + 0.001):
            return None
        return LimitChange(new, change.burst, change.concurrency, adapted=True)

    return changer
