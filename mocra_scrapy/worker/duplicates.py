"""The local, bounded, synchronous memory of recent fingerprints, in front of the cluster's filter.

What this process stored, or was told to be known, is answered here and costs no message. The
queue's filter has the last word.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from scrapy.dupefilters import BaseDupeFilter, RFPDupeFilter
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.misc import build_from_crawler, load_object
from scrapy.utils.request import referer_str

from mocra_scrapy.settings.crawl import read_options
from mocra_scrapy.worker.recent_fingerprints import RecentFingerprints, fingerprint_function

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self

logger = logging.getLogger(__name__)
#: Of what Scrapy's own filter would say: projects know it by this name.
SCRAPYS = logging.getLogger("scrapy.dupefilters")


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
            SCRAPYS.debug(text, {"request": request, "referer": referer_str(request)}, extra={"spider": spider})
        elif not self.told:
            self.told = True
            text = (
                "Filtered duplicate request: %(request)s - no more duplicates will be shown"
                " (see DUPEFILTER_DEBUG to show all duplicates)"
            )
            SCRAPYS.debug(text, {"request": request}, extra={"spider": spider})

    def count(self, filtered: int) -> None:
        """Count requests that were filtered."""
        assert self._stats is not None
        self._stats.inc_value("dupefilter/filtered", filtered)


class Filter(Protocol):
    """What this process says of a request before it is stored."""

    fingerprint: Callable[[Request], bytes] | None  #: as the cluster's filter knows it; None: off

    def look(self, request: Request, spider: Spider | None) -> tuple[bool, bytes | None]:
        """``(whether it is a duplicate, which is counted; its fingerprint for the queue)``."""

    def is_known(self, request: Request, spider: Spider | None) -> bool:
        """Whether it is a duplicate for sure, without remembering it; it is counted then."""

    def remember(self, fingerprint: bytes | None) -> None:
        """It was taken in."""

    def forget(self) -> bool:
        """A new run has begun. ``False``: it has no word for that, and goes on to know what it knew."""

    def forget_one(self, fingerprint: bytes) -> None:
        """What was taken in was not stored, and is welcome later."""

    def dropped(self, request: Request, spider: Spider) -> None:
        """The queue knew it."""

    async def open(self) -> None: ...

    async def close(self, reason: str) -> None: ...


class ClusterFilter:
    """The queue's filter decides, behind a memory of what this process knows.

    A new link is asked about as it leaves its callback, before the engine sends signals for it, and
    when it is taken in. Its fingerprint is worked out once: the last request that was asked about
    is remembered with it, by identity. Nobody who could change what a duplicate is comes between
    (see :func:`mocra_scrapy.worker.early_duplicates.answer_early`).
    """

    def __init__(self, recent: RecentDupeFilter) -> None:
        self.recent = recent
        self.fingerprint: Callable[[Request], bytes] | None = recent.fingerprint
        self._asked: Request | None = None
        self._name = b""

    def is_seen(self, request: Request) -> bool:
        """Whether it is a duplicate for sure; not counted."""
        if request.dont_filter:
            return False
        try:
            fingerprint = self.recent.fingerprint(request)
        except Exception:
            return False  # a project's own fingerprinter may raise: told where the request is taken in
        if fingerprint in self.recent.recent:
            return True
        self._asked, self._name = request, fingerprint
        return False

    def is_known(self, request: Request, spider: Spider | None) -> bool:
        if request is self._asked or not self.is_seen(request):
            return False
        self._count(request, spider)
        return True

    def look(self, request: Request, spider: Spider | None) -> tuple[bool, bytes | None]:
        if request.dont_filter:
            return False, None
        if request is self._asked:
            fingerprint, self._asked = self._name, None
        else:
            fingerprint = self.recent.fingerprint(request)
        if fingerprint not in self.recent.recent:
            return False, fingerprint
        self._count(request, spider)
        return True, fingerprint

    def _count(self, request: Request, spider: Spider | None) -> None:
        self.recent.tell(request, spider)
        self.recent.count(1)

    def remember(self, fingerprint: bytes | None) -> None:
        if fingerprint is not None:
            self.recent.recent.add(fingerprint)

    def forget(self) -> bool:
        self.recent.recent.clear()
        return True

    def forget_one(self, fingerprint: bytes) -> None:
        self.recent.recent.discard(fingerprint)

    def dropped(self, request: Request, spider: Spider) -> None:
        self.recent.log(request, spider)

    async def open(self) -> None:
        """Nothing to open: the memory is this process's own."""

    async def close(self, reason: str) -> None:
        """Nothing to close."""


class ForeignFilter:
    """A ``DUPEFILTER_CLASS`` of somebody else: it decides alone, in each worker for itself."""

    fingerprint: Callable[[Request], bytes] | None = None

    def __init__(self, df: BaseDupeFilter) -> None:
        self._df = df

    def look(self, request: Request, spider: Spider | None) -> tuple[bool, bytes | None]:
        if request.dont_filter or not self._df.request_seen(request):
            return False, None
        assert spider is not None
        self._df.log(request, spider)
        return True, None

    def is_known(self, request: Request, spider: Spider | None) -> bool:
        return False  # to ask is to remember, there

    def remember(self, fingerprint: bytes | None) -> None:
        """It has, when it was asked."""

    def forget(self) -> bool:
        return type(self._df) is BaseDupeFilter  # that one knows nothing

    def forget_one(self, fingerprint: bytes) -> None:
        """It has no word for that."""

    def dropped(self, request: Request, spider: Spider) -> None:
        self._df.log(request, spider)

    async def open(self) -> None:
        if (opened := self._df.open()) is not None:
            await maybe_deferred_to_future(opened)

    async def close(self, reason: str) -> None:
        if (closed := self._df.close(reason)) is not None:
            await maybe_deferred_to_future(closed)


def filter_of(crawler: Crawler) -> Filter:
    """What ``DUPEFILTER_CLASS`` asks for."""
    cls = load_object(crawler.settings["DUPEFILTER_CLASS"])
    if cls in (RFPDupeFilter, RecentDupeFilter):
        return ClusterFilter(RecentDupeFilter.from_crawler(crawler))
    foreign = build_from_crawler(cls, crawler)
    if cls is not BaseDupeFilter:
        logger.warning(
            'DUPEFILTER_CLASS = "%s.%s": it decides alone, in each worker for itself; the cluster\'s filter is off. Delete'
            " that line to filter over the whole cluster; to say what a duplicate is, set REQUEST_FINGERPRINTER_CLASS",
            cls.__module__,
            cls.__qualname__,
        )
    return ForeignFilter(foreign)
