"""The proxies that this worker knows, and what it knows of each."""

from __future__ import annotations

import math
from typing import NamedTuple

from mocra_scrapy.models import ProxyRecord
from mocra_scrapy.proxies.proxy import Proxy
from mocra_scrapy.proxies.scoring import score


class Wish(NamedTuple):
    """What a request asks for. All *tags* are wanted; the others where they are not empty."""

    tags: frozenset[str] = frozenset()
    country: str = ""
    scheme: str = ""


ANY = Wish()


class Health:
    """How a proxy does at a site, or as a whole. Times are monotonic.

    Attributes:
        until: when it may be probed; 0: it is in.
        row: failures in a row of this worker since the store last told; ``local``: until when they
            keep it out, whatever the store says or doesn't.
        is_ours: whether this worker has its probe, which is not used yet.
    """

    __slots__ = ("is_ours", "latency", "local", "row", "success", "until", "why")

    def __init__(self) -> None:
        self.success, self.latency, self.until, self.local = 1.0, 0.0, 0.0, 0.0
        self.row, self.why, self.is_ours = 0, "", False

    def take(self, record: ProxyRecord, now: float) -> None:
        """What the store says."""
        self.success, self.latency, self.why = record.success, record.latency, record.why
        self.until = now + record.wait if record.is_half_open else 0.0
        self.row, self.local = 0, 0.0
        if not self.until:
            self.is_ours = False

    def is_out(self, now: float) -> bool:
        """Whether it is not to be used but for a probe."""
        return self.until > 0 or self.local > now

    def back_at(self, now: float) -> float:
        """When it may be tried again; *now*: at once."""
        if 0 < self.until <= now and not self.is_ours:
            return now + PROBED
        return max(now, self.until, self.local)


GOOD = Health()
#: Seconds after which a half-open proxy may be back: somebody probes it.
PROBED = 2.0


class Member:
    """One proxy.

    Attributes:
        cap: requests of all workers that go through it at a time; 0: any number.
        granted: permits that this worker has; ``in_use``: requests of this worker.
        denied: monotonic, until when there is no use in asking for more.
        used_at: when it was last taken or granted.
        is_gone: whether the provider doesn't give it any more.
    """

    __slots__ = (
        "cap",
        "denied",
        "granted",
        "identity",
        "in_use",
        "is_gone",
        "proxy",
        "sites",
        "used_at",
        "whole",
    )

    def __init__(self, identity: str, proxy: Proxy, cap: int) -> None:
        self.identity, self.proxy, self.cap = identity, proxy, cap
        self.whole, self.sites = Health(), dict[str, Health]()
        self.granted = self.in_use = 0
        self.used_at = self.denied = -math.inf
        self.is_gone = False

    def at(self, site: str) -> Health:
        """How it does at *site*; ``""``: as a whole."""
        if not site:
            return self.whole
        known = self.sites.get(site)
        if known is None:
            known = self.sites[site] = Health()
        return known

    def fits(self, wish: Wish) -> bool:
        proxy = self.proxy
        return (
            wish.tags <= proxy.tags
            and (not wish.country or wish.country == proxy.country or "{country}" in proxy.session)
            and (not proxy.scheme_only or not wish.scheme or proxy.scheme_only == wish.scheme)
        )

    def has_permit(self) -> bool:
        return not self.cap or self.granted > self.in_use

    def is_in(self, site: str, now: float) -> bool:
        """Whether it may be used for *site*, permits aside."""
        if self.is_gone or self.whole.is_out(now):
            return False
        known = self.sites.get(site)
        return known is None or not known.is_out(now)

    def back_at(self, site: str, now: float) -> float:
        """When it may be tried for *site*; *now*: at once."""
        known = self.sites.get(site, GOOD)
        return max(self.whole.back_at(now), known.back_at(now))

    def score(self, site: str) -> float:
        whole, known = self.whole, self.sites.get(site)
        success = whole.success if known is None else min(known.success, whole.success)
        latency = known.latency if known is not None and known.latency else whole.latency
        return score(success, latency, self.proxy.weight, self.in_use)
