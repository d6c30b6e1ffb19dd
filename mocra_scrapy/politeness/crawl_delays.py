"""``Crawl-delay`` of robots.txt: how far apart a site wants the requests of all workers to be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import scrapy

from mocra_scrapy.politeness.robots import origin_of
from mocra_scrapy.politeness.site_feedback import SiteFeedback

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.runtime import Mocra

#: Slots of which it is known what they asked for.
MOST = 100_000


class CrawlDelays:
    """Of one crawler, a component of its :class:`~mocra_scrapy.runtime.Mocra`.

    A slot may have several robots.txt files (ports, schemes): the longest delay holds. What one no
    longer asks for ends.

    Attributes:
        has_source: whether our own middleware reads robots.txt; else Scrapy's signal tells of it.
        wanted: whether anybody is to be told: ``MOCRA_THROTTLE_CRAWL_DELAY``, and limits hold for
            all workers together.
    """

    def __init__(self, mocra: Mocra) -> None:
        """Raises ConfigurationError: a setting is wrong."""
        stats = mocra.crawler.stats
        assert stats is not None
        self._feedback = mocra.component(SiteFeedback)
        self._stats, self._settings = stats, mocra.crawler.settings
        self._state = mocra.worker_state
        self._longest = self._feedback.options.crawl_delay
        self.wanted = self._feedback.options.cluster and self._longest > 0
        self.has_source = False
        self._asked: dict[str, dict[str, float]] = {}  # slot -> origin -> seconds
        self._told: dict[str, tuple[int, float]] = {}  # slot -> the run in which it was told last, seconds

    async def open(self) -> None:
        """Nothing is told before a robots.txt is read."""

    async def close(self) -> None:
        """What is told stands in the store."""

    async def hear(self, parser: Any, request: Request, slot: str) -> None:
        """*parser* read the robots.txt that *request*, of *slot*, is subject to. When this returns all
        workers keep to it, unless the backend is away.
        """
        if not self.wanted:
            return
        seconds = self._seconds(parser, request)
        if seconds is None:
            self._stats.inc_value("mocra/throttle/crawl_delay_malformed")
            return
        origin = origin_of(urlsplit(request.url))
        if not seconds and origin not in self._asked.get(slot, {}):
            return
        if seconds:
            self._stats.inc_value("mocra/throttle/crawl_delays")
        if slot not in self._asked and len(self._asked) >= MOST:
            oldest = next(iter(self._asked))
            del self._asked[oldest]
            self._told.pop(oldest, None)
        asked = self._asked.setdefault(slot, {})
        asked[origin] = min(seconds, self._longest)
        least = max(asked.values())
        await self._feedback.keep_distance(slot, least, "Crawl-delay in robots.txt")
        run = self._state.run
        told_run, told = self._told.get(slot, (run, 0.0))
        self._told[slot] = run, least
        if least:
            # What is booked by a shorter one would leave too soon: with a quota, which books without any, all at once.
            self._state.has_interval(slot, longer=told_run != run or least > told)

    def _seconds(self, parser: Any, request: Request) -> float | None:
        """What *parser* says to us; 0: nothing, ``None``: nothing that makes sense."""
        try:
            delay = _delay_of(parser, self._agent(request))
            seconds = 0.0 if delay is None else float(delay)
        except (TypeError, ValueError, OverflowError, AttributeError):
            return None
        return None if math.isnan(seconds) or seconds < 0 else seconds

    def _agent(self, request: Request) -> str:
        """Who we are, as Scrapy's own robots middleware finds out."""
        named: str | bytes | None = self._settings.get("ROBOTSTXT_USER_AGENT") or request.headers.get("User-Agent")
        named = named or self._settings.get("USER_AGENT") or f"Scrapy/{scrapy.__version__}"
        return named.decode("utf-8", "replace") if isinstance(named, bytes) else str(named)


def _delay_of(parser: Any, agent: str) -> Any:
    """Before 2.18 Scrapy's parsers don't tell, but what they wrap does."""
    told = getattr(parser, "crawl_delay", None)
    if told is None:
        wrapped = getattr(parser, "rp", None)
        told = getattr(wrapped, "crawl_delay", None) or getattr(wrapped, "get_crawl_delay", None)
    return None if told is None else told(agent)
