"""What this process knows of fingerprints: those it saw lately, and those of URLs it met before."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from scrapy.utils.request import RequestFingerprinter

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler

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

    def __contains__(self, fingerprint: bytes | None) -> bool:
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

    Attributes:
        newest: URL -> fingerprint, of plain requests: ``GET``, without a body and ``verbatim_url``.
    """

    def __init__(self, fingerprint: Callable[[Request], bytes], size: int) -> None:
        self._fingerprint = fingerprint
        self._size = size
        self.newest: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}

    def __call__(self, request: Request) -> bytes:
        if request.method != "GET" or request.body or "verbatim_url" in request.meta:
            return self._fingerprint(request)
        url = request.url
        known = self.newest.get(url)
        if known is not None:
            return known
        known = self._old.get(url)
        if known is None:
            known = self._fingerprint(request)
        if len(self.newest) >= self._size:
            self.newest, self._old = {}, self.newest
        self.newest[url] = known
        return known


def fingerprint_function(crawler: Crawler, size: int = KNOWN_LINKS) -> Callable[[Request], bytes]:
    """The crawler's own fingerprinter, remembering what it said where that is safe."""
    fingerprinter = crawler.request_fingerprinter
    assert fingerprinter is not None
    if type(fingerprinter) is RequestFingerprinter:
        return KnownLinks(fingerprinter.fingerprint, size)
    return fingerprinter.fingerprint
