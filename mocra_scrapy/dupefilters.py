"""The local, bounded, synchronous memory of recent fingerprints, in front of the cluster's filter.

What this process stored, or was told to be known, is answered here and costs no message. The queue's filter has the last word.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from scrapy.dupefilters import BaseDupeFilter
from scrapy.utils.request import referer_str

from mocra_scrapy.options import read_options

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)


class RecentFingerprints:
    """Remembers up to *size* to twice *size* recent fingerprints, each for *ttl* seconds at most (``None``: for ever).

    Two generations of plain sets: no bookkeeping per look-up, unlike an LRU.
    """

    def __init__(self, size: int, ttl: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._size = size
        self._ttl = ttl
        self._clock = clock
        self._born = clock()
        self._new: set[bytes] = set()
        self._old: set[bytes] = set()

    def __contains__(self, fingerprint: bytes) -> bool:
        if self._ttl is not None and self._clock() - self._born >= self._ttl / 2:
            self._turn_over()
        return fingerprint in self._new or fingerprint in self._old

    def add(self, fingerprint: bytes) -> None:
        if len(self._new) >= self._size:
            self._turn_over()
        if self._size:
            self._new.add(fingerprint)

    def discard(self, fingerprint: bytes) -> None:
        self._new.discard(fingerprint)
        self._old.discard(fingerprint)

    def clear(self) -> None:
        self._new, self._old = set(), set()

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def _turn_over(self) -> None:
        now = self._clock()
        late = self._ttl is not None and now - self._born >= self._ttl
        self._new, self._old = set(), set() if late else self._new
        self._born = now


class RecentDupeFilter(BaseDupeFilter):
    """``DUPEFILTER_CLASS`` of the suite: Scrapy's :class:`~scrapy.dupefilters.RFPDupeFilter` with a bounded memory.

    Uses the crawler's own request fingerprinter. With another scheduler than ours it filters by itself, within its bound.
    """

    def __init__(self, crawler: Crawler) -> None:
        assert crawler.request_fingerprinter is not None
        self.fingerprint = crawler.request_fingerprinter.fingerprint
        options = read_options(crawler.settings, "")
        self.recent = RecentFingerprints(options.local_seen, options.queue.seen_ttl)
        self.debug = crawler.settings.getbool("DUPEFILTER_DEBUG")
        self._told = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def request_seen(self, request: Request) -> bool:
        fingerprint = self.fingerprint(request)
        if fingerprint in self.recent:
            return True
        self.recent.add(fingerprint)
        return False

    def log(self, request: Request, spider: Spider) -> None:
        """Log and count a filtered request, in Scrapy's words."""
        if self.debug:
            text = "Filtered duplicate request: %(request)s (referer: %(referer)s)"
            logger.debug(text, {"request": request, "referer": referer_str(request)}, extra={"spider": spider})
        elif not self._told:
            self._told = True
            text = (
                "Filtered duplicate request: %(request)s - no more duplicates will be shown"
                " (see DUPEFILTER_DEBUG to show all duplicates)"
            )
            logger.debug(text, {"request": request}, extra={"spider": spider})
        stats = spider.crawler.stats
        assert stats is not None
        stats.inc_value("dupefilter/filtered")
