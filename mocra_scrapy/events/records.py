"""The events, as types. A reader finds the same in ``docs/reference/events``; a test compares them.

How to add one: write its class here, or in :mod:`~mocra_scrapy.events.crawl_records` (the docstring
says when it is sent), make it in :mod:`~mocra_scrapy.events.collector`, and add its row to the docs. A field
that is added leaves :data:`~mocra_scrapy.events.envelope.SCHEMA` as it is; one that is removed, or
means something else, makes it greater by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mocra_scrapy.events.crawl_records import (
    BackendAvailable,
    BackendUnavailable,
    CrawlBegan,
    CrawlFinished,
    Event,
    ItemDropped,
    ItemFailed,
    ItemScraped,
    RequestDead,
    RequestFetched,
    WorkerClosed,
    WorkerDied,
    WorkerLost,
    WorkerOpened,
    WorkerStateChanged,
)

__all__ = [
    "EVENTS",
    "BackendAvailable",
    "BackendUnavailable",
    "BreakerClosed",
    "BreakerOpened",
    "BreakerTripped",
    "CacheUsed",
    "CrawlBegan",
    "CrawlFinished",
    "CronEnded",
    "CronFailed",
    "CronMissed",
    "CronRecovered",
    "CronRun",
    "Event",
    "ItemDropped",
    "ItemFailed",
    "ItemScraped",
    "LeaderElected",
    "LeaderLost",
    "ProxyBack",
    "ProxyOut",
    "ProxySiteDown",
    "RequestDead",
    "RequestFetched",
    "SlotGivenUp",
    "SlotHeld",
    "SlotSlowed",
    "WorkerClosed",
    "WorkerDied",
    "WorkerLost",
    "WorkerOpened",
    "WorkerStateChanged",
]


@dataclass(frozen=True, slots=True)
class LeaderElected(Event):
    """A worker leads a role."""

    name: ClassVar[str] = "leader.elected"
    role: str
    term: int


@dataclass(frozen=True, slots=True)
class LeaderLost(Event):
    """It leads it no more."""

    name: ClassVar[str] = "leader.lost"
    role: str
    term: int


@dataclass(frozen=True, slots=True)
class CronRun(Event):
    """Fields of the four events of a cron run."""

    job: str
    run_id: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class CronEnded(CronRun):
    """A run of ``scrapy cron`` has ended, whatever its outcome. Told by the runner that leads."""

    name: ClassVar[str] = "cron.ended"


@dataclass(frozen=True, slots=True)
class CronFailed(CronRun):
    """It has gone wrong and is not retried."""

    name: ClassVar[str] = "cron.failed"


@dataclass(frozen=True, slots=True)
class CronMissed(CronRun):
    """An instant was missed."""

    name: ClassVar[str] = "cron.missed"


@dataclass(frozen=True, slots=True)
class CronRecovered(CronRun):
    """It succeeded, and the run before it had not."""

    name: ClassVar[str] = "cron.recovered"


@dataclass(frozen=True, slots=True)
class BreakerOpened(Event):
    """A slot failed too often and is held for ``hold`` seconds by all workers, for the ``times``-th
    time in a row.
    """

    name: ClassVar[str] = "breaker.opened"
    slot: str
    hold: float
    times: int
    failed: int
    total: int
    kinds: dict[str, int]


@dataclass(frozen=True, slots=True)
class BreakerClosed(Event):
    """It is as before."""

    name: ClassVar[str] = "breaker.closed"
    slot: str


@dataclass(frozen=True, slots=True)
class BreakerTripped(Event):
    """The crawl failed too often; this worker closes."""

    name: ClassVar[str] = "breaker.tripped"
    failed: int
    total: int
    kinds: dict[str, int]


@dataclass(frozen=True, slots=True)
class SlotHeld(Event):
    """A site asked this worker to wait; nobody asks it for so many seconds."""

    name: ClassVar[str] = "slot.held"
    slot: str
    seconds: float
    error: str


@dataclass(frozen=True, slots=True)
class SlotSlowed(Event):
    """A slot gets one request in ``interval`` seconds, because of what its site answered."""

    name: ClassVar[str] = "slot.slowed"
    slot: str
    interval: float


@dataclass(frozen=True, slots=True)
class SlotGivenUp(Event):
    """A slot does not recover; its requests become dead letters."""

    name: ClassVar[str] = "slot.given_up"
    slot: str
    error: str


@dataclass(frozen=True, slots=True)
class CacheUsed(Event):
    """What the HTTP cache did for a worker, when it ends; not where it was not asked. ``stale`` are part
    of the hits, ``validated`` pages were asked for and found unchanged. Bytes are of bodies; of
    ``stored_bytes`` as they are stored.
    """

    name: ClassVar[str] = "cache.used"
    hits: int
    misses: int
    validated: int
    stale: int
    stored_bytes: int
    saved_bytes: int
    saved_seconds: float


@dataclass(frozen=True, slots=True)
class ProxyOut(Event):
    """A proxy is out for ``site``, or (empty) for all, and why. ``proxy`` is its identity."""

    name: ClassVar[str] = "proxy.out"
    proxy: str
    site: str
    why: str


@dataclass(frozen=True, slots=True)
class ProxyBack(Event):
    """It is back."""

    name: ClassVar[str] = "proxy.back"
    proxy: str
    site: str


@dataclass(frozen=True, slots=True)
class ProxySiteDown(Event):
    """A site fails through all proxies; none is blamed for it."""

    name: ClassVar[str] = "proxy.site_down"
    slot: str


def _kinds(cls: type[Event]) -> dict[str, type[Event]]:
    found = {cls.name: cls} if cls.name else {}
    for kind in cls.__subclasses__():
        found |= _kinds(kind)
    return found


#: Name of a kind -> its class, in the order of this file.
EVENTS: dict[str, type[Event]] = _kinds(Event)
