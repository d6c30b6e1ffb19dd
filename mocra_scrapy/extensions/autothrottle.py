"""``AutoThrottle``: Scrapy's adaptation, with Scrapy's settings, for all workers together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from scrapy import Request
from scrapy import signals as scrapy_signals
from scrapy.exceptions import NotConfigured

from mocra_scrapy.models import LimitChange, SlotState
from mocra_scrapy.politeness.site_feedback import SiteFeedback
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.identity import one_off_command

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

logger = logging.getLogger(__name__)

EVERY = 1.0  # s between two changes that one worker makes to a slot
MOST = 10_000  # slots that a worker knows of


@dataclass(slots=True)
class LatencySample:
    """What a worker saw of a slot since its last change: latencies of good answers and of all,
    their numbers, the last answer's size.
    """

    last: float = 0.0
    good: float = 0.0
    goods: int = 0
    all: float = 0.0
    alls: int = 0
    size: int = 0


class AutoThrottle:
    """In the place of :class:`scrapy.extensions.throttle.AutoThrottle`, which would give each
    process a delay of its own.

    Scrapy's rule: the target is latency / ``AUTOTHROTTLE_TARGET_CONCURRENCY``; the delay goes half
    the way to it, or all of it when that is longer, between ``DOWNLOAD_DELAY`` and
    ``AUTOTHROTTLE_MAX_DELAY``; only answers with status 200 make it shorter. An interval of
    ``MOCRA_THROTTLE`` or ``DOWNLOAD_SLOTS`` is a floor, and what somebody changes while the crawl
    runs stays.

    Here the delay is the slot's interval, shared by the workers. Each worker applies the rule at
    most once a second to the interval that is in force, with the mean latency that it saw
    meanwhile. So the interval follows a moving average over all workers, and the target concurrency
    is that of the cluster, however many workers there are. A slot begins with
    ``AUTOTHROTTLE_START_DELAY``.
    """

    def __init__(self, crawler: Crawler) -> None:
        """Raises NotConfigured: ``AUTOTHROTTLE_ENABLED`` is false, or as Scrapy does."""
        settings = crawler.settings
        if not settings.getbool("AUTOTHROTTLE_ENABLED") or one_off_command() is not None:
            raise NotConfigured
        self.target_concurrency: float = settings.getfloat("AUTOTHROTTLE_TARGET_CONCURRENCY")
        if self.target_concurrency <= 0.0:
            raise NotConfigured(f"AUTOTHROTTLE_TARGET_CONCURRENCY ({self.target_concurrency!r}) must be higher than 0.")
        self.debug: bool = settings.getbool("AUTOTHROTTLE_DEBUG")
        self.mindelay: float = settings.getfloat("DOWNLOAD_DELAY")
        self.maxdelay: float = settings.getfloat("AUTOTHROTTLE_MAX_DELAY")
        self._feedback = Mocra.from_crawler(crawler).component(SiteFeedback)
        self._seen: dict[str, LatencySample] = {}
        crawler.signals.connect(self._downloaded, scrapy_signals.response_downloaded)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def _downloaded(self, response: Response, request: Request, spider: Spider) -> None:
        slot, latency = request.meta.get("download_slot"), request.meta.get("download_latency")
        if slot is None or latency is None or request.meta.get("autothrottle_dont_adjust_delay", False) is True:
            return
        if self._feedback.pace(slot) is not None:  # a rule of its own
            return
        if urlsplit(request.url).path == "/robots.txt":  # it may be about to say how slow we have to be
            return
        if len(self._seen) >= MOST and slot not in self._seen:
            self._seen.clear()
        seen = self._seen.setdefault(slot, LatencySample())
        seen.all, seen.alls, seen.size = seen.all + latency, seen.alls + 1, len(response.body)
        if response.status == 200:
            seen.good, seen.goods = seen.good + latency, seen.goods + 1
        now = time.monotonic()
        if now - seen.last >= EVERY:
            self._seen[slot] = LatencySample(last=now)
            self._feedback.change(slot, self._changer(slot, seen), "AutoThrottle")

    def _changer(self, slot: str, seen: LatencySample) -> Callable[[SlotState], LimitChange | None]:
        def changer(state: SlotState) -> LimitChange | None:
            if state.change.interval is not None and not state.change.adapted:
                return None  # somebody said it, while the crawl runs
            old = self._feedback.own(slot) if state.change.interval is None else state.change.interval
            latency = seen.good / seen.goods if seen.goods else seen.all / seen.alls
            least = max(state.change.least or 0.0, self._feedback.spreads.get(slot, 0.0), state.limit.floor)
            new = self.adjusted(old, latency, good=seen.goods > 0, least=least)
            if self.debug:
                logger.info(
                    "slot: %s | permits:%2d | delay:%5d ms (%+d) | latency:%5d ms | size:%6d bytes",
                    slot,
                    state.permits,
                    new * 1000,
                    (new - old) * 1000,
                    latency * 1000,
                    seen.size,
                )
            if abs(new - old) < 0.001 and state.change.interval is not None:
                return None
            return LimitChange(new, state.change.burst, state.change.concurrency, adapted=True)

        return changer

    def adjusted(self, old: float, latency: float, *, good: bool, least: float = 0.0) -> float:
        """The delay after *old*, in seconds, when answers take *latency* seconds."""
        target = latency / self.target_concurrency
        new = max(target, (old + target) / 2)
        new = min(max(self.mindelay, new), self.maxdelay)
        if not good and new <= old:
            return old
        return max(new, least)
