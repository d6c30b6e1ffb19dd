"""The local, bounded, synchronous memory of recent fingerprints, in front of the cluster's filter.

What this process stored, or was told to be known, is answered here and costs no message. The
queue's filter has the last word.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from scrapy.dupefilters import BaseDupeFilter, RFPDupeFilter
from scrapy.utils.misc import build_from_crawler, load_object
from scrapy.utils.request import RequestFingerprinter, referer_str

from mocra_scrapy.settings.crawl import read_options

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)

#: URLs of which the fingerprint is remembered, up to twice as many: about 200 bytes each.
KNOWN_LINKS = 20_000


class RecentFingerprints:
    """Remembers up to *size* to twice *size* recent fingerprints, each for *ttl* seconds at most
    (``None``: for ever).

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


class KnownLinks:
    """Fingerprints by URL: most links of a page were seen before, and to work one out costs 10–20
    µs (canonical form, JSON, SHA-1).

    Only for Scrapy's own fingerprinter, of which it is known what it looks at: method, URL, body,
    and ``meta["verbatim_url"]``. For any other one :func:`fingerprint_function` uses that one as it
    is.
    """

    def __init__(self, fingerprint: Callable[[Request], bytes], size: int) -> None:
        self._fingerprint = fingerprint
        self._size = size
        self._new: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}

    def __call__(self, request: Request) -> bytes:
        if request.method != "GET" or request.body or "verbatim_url" in request.meta:
            return self._fingerprint(request)
        url = request.url
        known = self._new.get(url)
        if known is not None:
            return known
        known = self._old.get(url)
        if known is None:
            known = self._fingerprint(request)
        if len(self._new) >= self._size:
            self._new, self._old = {}, self._new
        self._new[url] = known
        return known


def fingerprint_function(crawler: Crawler, size: int = KNOWN_LINKS) -> Callable[[Request], bytes]:
    """The crawler's own fingerprinter, remembering what it said where that is safe."""
    fingerprinter = crawler.request_fingerprinter
    assert fingerprinter is not None
    if type(fingerprinter) is RequestFingerprinter:
        return KnownLinks(fingerprinter.fingerprint, size)
    return fingerprinter.fingerprint


class RecentDupeFilter(BaseDupeFilter):
    """``DUPEFILTER_CLASS`` of the suite: Scrapy's :class:`~scrapy.dupefilters.RFPDupeFilter` with a
    bounded memory.

    Uses the crawler's own request fingerprinter. With another scheduler than ours it filters by
    itself, within its bound.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.fingerprint = fingerprint_function(crawler)
        options = read_options(crawler.settings, "")
        self.recent = RecentFingerprints(options.local_seen, options.queue.seen_ttl)
        self.debug = crawler.settings.getbool("DUPEFILTER_DEBUG")
        self.told = False
        self._stats = crawler.stats

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
        self.tell(request, spider)
        self.count(1)

    def tell(self, request: Request, spider: Spider | None) -> None:
        """Log a filtered request: each of them (``DUPEFILTER_DEBUG``) or the first."""
        if self.debug:
            text = "Filtered duplicate request: %(request)s (referer: %(referer)s)"
            logger.debug(text, {"request": request, "referer": referer_str(request)}, extra={"spider": spider})
        elif not self.told:
            self.told = True
            text = (
                "Filtered duplicate request: %(request)s - no more duplicates will be shown"
                " (see DUPEFILTER_DEBUG to show all duplicates)"
            )
            logger.debug(text, {"request": request}, extra={"spider": spider})

    def count(self, filtered: int) -> None:
        """Count requests that were filtered."""
        assert self._stats is not None
        self._stats.inc_value("dupefilter/filtered", filtered)


def choose_dupefilter(crawler: Crawler) -> tuple[BaseDupeFilter, RecentDupeFilter | None, bool]:
    """``(filter, our own one or None, whether a foreign one decides)``, by ``DUPEFILTER_CLASS``."""
    cls = load_object(crawler.settings["DUPEFILTER_CLASS"])
    if cls in (RFPDupeFilter, RecentDupeFilter):
        ours = RecentDupeFilter.from_crawler(crawler)
        return ours, ours, False
    foreign = build_from_crawler(cls, crawler)
    if cls is not BaseDupeFilter:
        logger.warning(
            "DUPEFILTER_CLASS is %s: it decides alone, in each worker for itself; the cluster's filter is off. "
            "Take it out to filter over the whole cluster, or set REQUEST_FINGERPRINTER_CLASS to say what a duplicate is",
            cls.__qualname__,
        )
    return foreign, None, True
