"""``MemoryWorkers``: who is there, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from zope.interface import implementer

from mocra_scrapy.interfaces import IWorkers
from mocra_scrapy.models import WorkerReport


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a worker said last; ``until`` is by the monotonic clock."""

    report: WorkerReport
    until: float


class Listed(Protocol):
    """The part of the store that is used here."""

    workers: dict[str, Heartbeat]


@implementer(IWorkers)
class MemoryWorkers:
    """See :class:`~mocra_scrapy.interfaces.IWorkers`."""

    def __init__(self, store: Listed, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    async def announce(self, report: WorkerReport, ttl: float) -> None:
        now = self._clock()
        for gone in [name for name, seen in self._store.workers.items() if seen.until <= now]:
            del self._store.workers[gone]
        facts = json.loads(json.dumps(dict(report.facts)))  # what other backends make of it, and a copy
        self._store.workers[report.worker] = Heartbeat(replace(report, facts=facts), now + ttl)

    async def leave(self, worker: str) -> None:
        self._store.workers.pop(worker, None)

    async def workers(self, crawl: str | None = None) -> Sequence[WorkerReport]:
        now = self._clock()
        live = [seen.report for seen in self._store.workers.values() if seen.until > now]
        return sorted((r for r in live if crawl in (None, r.crawl)), key=lambda report: report.worker)
