"""Requests that are to wait: what ``meta`` may say, how long a retry waits, and those that wait in
this process.

A wish is taken out of ``meta`` when the request is scheduled, so neither what is stored nor a copy
(redirect, retry, ``meta=response.meta``) carries it on: each delay is waited for once.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.statscollectors import StatsCollector

logger = logging.getLogger(__name__)


def number(value: Any) -> float | None:
    """*value* as a float, those without end included; ``None``: it is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    return float(max(min(value, 1e300), -1e300))  # an int may be more than a float can hold


class RequestedDelays:
    """What ``mocra_delay`` and ``mocra_not_before`` ask for.

    A value that makes no sense is told, counted and ignored: the request goes at once, it is never
    lost. One beyond *longest* seconds is told, counted and shortened to that. What lies in the past
    is no wish at all.

    Args:
        longest: seconds, ``MOCRA_DELAY_MAX``.
        wall: seconds since the epoch.
    """

    def __init__(self, longest: float, stats: StatsCollector, wall: Callable[[], float] = time.time) -> None:
        self._longest = longest
        self._stats = stats
        self._wall = wall
        self._told: set[str] = set()

    def take(self, request: Request) -> float:
        """Seconds that *request* has to wait; its wish is gone afterwards. The later one, if there
        are two.
        """
        meta = request.meta
        if "mocra_delay" not in meta and "mocra_not_before" not in meta:
            return 0.0
        delay, instant = meta.pop("mocra_delay", None), meta.pop("mocra_not_before", None)
        wanted = [0.0]
        if delay is not None:
            wanted.append(self._delay(request, delay))
        if instant is not None:
            wanted.append(self._instant(request, instant))
        seconds = max(wanted)
        if seconds > self._longest:
            self._stats.inc_value("mocra/delay/shortened")
            self._tell(
                "far", "%s asks to wait for %g s; it waits for MOCRA_DELAY_MAX = %g s", request, seconds, self._longest
            )
            return self._longest
        return seconds

    def _delay(self, request: Request, value: Any) -> float:
        seconds = number(value)
        if seconds is None or seconds < 0:
            return self._bad(request, "mocra_delay", value, "Set a number of seconds, 0 or more")
        return seconds

    def _instant(self, request: Request, value: Any) -> float:
        fix = "Set seconds since the epoch, or a datetime with a time zone"
        if isinstance(value, datetime):
            if value.tzinfo is None:
                return self._bad(request, "mocra_not_before", value, f"It has no time zone. {fix}")
            return value.timestamp() - self._wall()
        instant = number(value)
        if instant is None:
            return self._bad(request, "mocra_not_before", value, fix)
        return instant - self._wall()

    def _bad(self, request: Request, key: str, value: Any, fix: str) -> float:
        self._stats.inc_value("mocra/delay/refused")
        self._tell(
            key, "%s: meta[%r] is %r, which is not a delay: it does not wait. %s", request, key, value, fix, error=True
        )
        return 0.0

    def _tell(self, kind: str, text: str, *args: Any, error: bool = False) -> None:
        """Once of a kind: a spider that is wrong is wrong a million times."""
        if kind not in self._told:
            self._told.add(kind)
            more = " (no more of these will be logged, see the stats mocra/delay/…)"
            logger.log(logging.ERROR if error else logging.WARNING, text + more, *args)
