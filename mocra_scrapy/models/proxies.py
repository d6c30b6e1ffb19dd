"""What crosses the contract about proxies: what workers tell of them, and what they are told.

A *proxy* is known by its identity, which says nothing of its user name and password. A *site* is a
download slot. The record of a proxy at the site ``""`` is that of the proxy as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Kinds of failures: nobody gets through this proxy; it refuses our credentials; it or the site is at
#: fault; the site does not want it.
PROXY, CREDENTIALS, DOUBT, BAN = FAILURES = ("proxy", "credentials", "doubt", "ban")
#: Kinds that are the proxy's own fault, whatever the site.
HARD = frozenset((PROXY, CREDENTIALS))
#: Bits of :attr:`ProxyReport.probe`.
OF_PROXY, OF_SITE = 1, 2

#: What is left of a success rate after one more outcome.
KEEP = 0.8
#: Records that a pool keeps; beyond these the one goes that changed longest ago.
MOST_RECORDS = 200_000
#: Seconds after which a record that did not change is forgotten.
REMEMBER = 7 * 86_400.0
#: Records that one answer tells of, at most.
PAGE = 2000
#: Proxies that are remembered of a site that fails, at most.
WITNESSES = 30
#: What a witness counts whose own innocence is not proved, or who was refused by the site itself.
UNPROVED = 1 / 3
#: Seconds for which a pool counts as short of permits after somebody got fewer than it wanted.
SHORT = 5.0
#: Bindings that a pool keeps; beyond these the one goes that ends first.
MOST_BINDINGS = 100_000
#: Seconds for which a proxy stays out that a person took out.
BY_HAND = 10 * 365 * 86_400.0
#: Where a request carries the identity of the proxy that the pool chose for it.
MARK = "_mocra_proxy"


def place_of(address: str) -> str:
    """Host and port of ``scheme://host:port`` as an identity begins."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", address.rpartition("://")[2]).strip("-")[:60]


def is_of_pool(meta: Mapping[str, Any]) -> bool:
    """Whether the pool chose the proxy of *meta*. Meta that was copied from a response has the pool's mark,
    too, beside a proxy of the spider's own, or ``None``.
    """
    if MARK not in meta:
        return False
    proxy = meta.get("proxy", "")
    if not isinstance(proxy, str) or "@" in proxy:
        return False
    return not proxy or place_of(proxy) == str(meta[MARK]).rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class ProxyRules:
    """When a proxy is out, and for how long.

    Attributes:
        failures: in a row, after which a proxy is out, at a site or as a whole.
        cool_down: seconds for the first time; doubled for each further one.
        ban_cool_down: the same where the site refused it.
        cool_down_max: seconds, at most; at once where its credentials are refused.
        probe: seconds after which a probe is over of which nobody told.
        several: proxies that failed at a site, which make it the site's fault.
        site_down: seconds for which a site counts as down after its last failure.
        sticky: seconds for which a binding is kept after its last use.
    """

    failures: int = 3
    cool_down: float = 30.0
    ban_cool_down: float = 300.0
    cool_down_max: float = 3600.0
    probe: float = 180.0
    several: int = 3
    site_down: float = 60.0
    sticky: float = 1800.0


@dataclass(slots=True)
class ProxyReport:
    """What one worker saw of a proxy at a site since its last report.

    Attributes:
        good: answers that came through; ``bad``: failures of *kind*.
        row: failures since the last of the good ones.
        latency: seconds, mean of the good ones; 0: unknown.
        age: seconds since the last of the good ones.
        probe: bits of what it was the probe of; with neither good nor bad the probe was not used.
    """

    proxy: str
    site: str
    good: int = 0
    bad: int = 0
    row: int = 0
    kind: str = ""
    latency: float = 0.0
    age: float = 0.0
    probe: int = 0


@dataclass(frozen=True, slots=True)
class PermitWish:
    """How many permits of a proxy a worker wants to hold in all, where it may have *cap* at a time."""

    proxy: str
    number: int
    cap: int


@dataclass(frozen=True, slots=True)
class Binding:
    """A sticky key that is to have *proxy*; *instead* of that one, where it has it now."""

    key: str
    proxy: str
    instead: str = ""


@dataclass(frozen=True, slots=True)
class ProxyTurn:
    """What a worker says in one call.

    Attributes:
        worker: its name, which no other run of any process has.
        number: greater than that of its last call.
        lease: seconds for which it counts as alive.
        permits: of all proxies with a cap that it uses or wants to use; others it gives back.
        probes: ``(proxy, site)`` that it would try.
        since: the version up to which it knows the records.
    """

    worker: str
    number: int
    lease: float
    reports: Sequence[ProxyReport] = ()
    permits: Sequence[PermitWish] = ()
    probes: Sequence[tuple[str, str]] = ()
    bindings: Sequence[Binding] = ()
    since: int = 0


@dataclass(frozen=True, slots=True)
class ProxyRecord:
    """How a proxy does at a site, or (without a proxy) how a site does.

    Attributes:
        success: part of attempts that succeed, from 0 to 1, the latest counting most.
        latency: seconds; 0: unknown.
        row: failures in a row.
        times: how often in a row it was taken out.
        wait: seconds for which it is out; of a site: for which it counts as down.
        is_half_open: it was out, and comes back with the next probe that succeeds.
        why: kind of the failure with which it went out; ``hand``: a person took it out.
    """

    proxy: str
    site: str
    success: float = 1.0
    latency: float = 0.0
    row: int = 0
    times: int = 0
    wait: float = 0.0
    is_half_open: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class ProxyAnswer:
    """What a worker is told.

    Attributes:
        stale: the call was older than one that was heard already, and changed nothing.
        version: up to which *records* tell; *more*: there are further ones.
        granted: proxy -> permits that the worker holds now, in all.
        probes: for each that was asked for, whether this worker has it.
        bound: sticky key -> the proxy that it has.
        is_short: somebody wants permits that others hold.
        refresh: grows when providers are to be read again.
        out, back: ``(proxy, site)`` that this call took out, and that it brought back.
        down: sites of which this call found out that they are down.
    """

    stale: bool = False
    version: int = 0
    more: bool = False
    records: Sequence[ProxyRecord] = ()
    granted: Mapping[str, int] = field(default_factory=dict)
    probes: Sequence[bool] = ()
    bound: Mapping[str, str] = field(default_factory=dict)
    is_short: bool = False
    refresh: int = 0
    out: Sequence[tuple[str, str]] = ()
    back: Sequence[tuple[str, str]] = ()
    down: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ProxyUse:
    """Permits of a pool: proxy -> worker -> how many."""

    permits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
