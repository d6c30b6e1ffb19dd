"""The events, as types. A reader finds the same in ``docs/reference/events``; a test compares them.

How to add one: write its class here (the docstring says when it is sent), make it in
:mod:`~mocra_scrapy.events.collector`, and add its row to the docs. A field that is added leaves
:data:`~mocra_scrapy.events.envelope.SCHEMA` as it is; one that is removed, or means something else,
makes it greater by one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Event:
    """What happened. Its fields are what JSON can hold.

    Attributes:
        name: of the kind: ``breaker.opened``.
        bulk: whether there may be one for each page or item: these are dropped first where a sink is
            slow.
    """

    name: ClassVar[str] = ""
    bulk: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class CrawlBegan(Event):
    """On the worker that began a run of the crawl."""

    name: ClassVar[str] = "crawl.began"


@dataclass(frozen=True, slots=True)
class CrawlFinished(Event):
    """On one worker, when nothing is left on any."""

    name: ClassVar[str] = "crawl.finished"


@dataclass(frozen=True, slots=True)
class BackendUnavailable(Event):
    """An outage begins, for this worker."""

    name: ClassVar[str] = "backend.unavailable"
    error: str


@dataclass(frozen=True, slots=True)
class BackendAvailable(Event):
    """It is over, after so many seconds."""

    name: ClassVar[str] = "backend.available"
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerOpened(Event):
    """A worker begins to crawl."""

    name: ClassVar[str] = "worker.opened"
    host: str
    pid: int
    mocra: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class WorkerClosed(Event):
    """A worker has ended, with Scrapy's reason. ``seconds`` since it was opened."""

    name: ClassVar[str] = "worker.closed"
    reason: str
    pages: int
    items: int
    errors: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WorkerStateChanged(Event):
    """A worker runs, is paused, drains or stops."""

    name: ClassVar[str] = "worker.state"
    state: str


@dataclass(frozen=True, slots=True)
class WorkerLost(Event):
    """A worker was silent for too long; others have what it held."""

    name: ClassVar[str] = "worker.lost"


@dataclass(frozen=True, slots=True)
class WorkerDied(Event):
    """Another worker died; told by each that noticed. ``held``: requests that come back; ``null``
    where nobody knows.
    """

    name: ClassVar[str] = "worker.died"
    died: str
    held: int | None


@dataclass(frozen=True, slots=True)
class RequestFetched(Event):
    """A response goes to the spider. ``seconds``: from the wire until its headers; ``null`` where
    it came from a cache.
    """

    name: ClassVar[str] = "request.fetched"
    bulk: ClassVar[bool] = True
    url: str
    method: str
    status: int
    slot: str
    bytes: int
    seconds: float | None
    retries: int
    depth: int


@dataclass(frozen=True, slots=True)
class RequestDead(Event):
    """This worker gave a request up, or one of its items. ``record``: whether the page counts as
    done nevertheless.
    """

    name: ClassVar[str] = "request.dead"
    url: str
    slot: str
    reason: str
    kind: str
    record: bool
    error: str


@dataclass(frozen=True, slots=True)
class ItemScraped(Event):
    """An item has passed the pipelines. Its values are not told."""

    name: ClassVar[str] = "item.scraped"
    bulk: ClassVar[bool] = True
    url: str
    type: str


@dataclass(frozen=True, slots=True)
class ItemDropped(Event):
    """A pipeline dropped an item on purpose."""

    name: ClassVar[str] = "item.dropped"
    bulk: ClassVar[bool] = True
    url: str
    type: str
    error: str


@dataclass(frozen=True, slots=True)
class ItemFailed(Event):
    """A pipeline raised."""

    name: ClassVar[str] = "item.failed"
    url: str
    type: str
    error: str


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
