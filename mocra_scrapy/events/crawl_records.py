"""Events of a crawl, its workers, requests and items; see :mod:`~mocra_scrapy.events.records`."""

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
