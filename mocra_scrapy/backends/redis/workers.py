"""``RedisWorkers``: a sorted set of workers by when they fall off the list, and a hash of what they
said last.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgpack
from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.election import milliseconds
from mocra_scrapy.interfaces import IWorkers
from mocra_scrapy.models import WorkerReport

ANNOUNCE, LEAVE, LIST = (load_script(f"registry_{verb}") for verb in ("announce", "leave", "list"))


def open_report(raw: bytes) -> WorkerReport | None:
    """A stored report; ``None``: nothing of ours."""
    try:
        worker, crawl, facts = msgpack.unpackb(raw)
        known = json.loads(facts)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    good = isinstance(worker, str) and isinstance(crawl, str) and isinstance(known, dict)
    return WorkerReport(worker, crawl, known) if good else None


@implementer(IWorkers)
class RedisWorkers:
    """See :class:`~mocra_scrapy.interfaces.IWorkers`."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._keys = [f"{prefix}:{{+workers}}:alive"]

    async def announce(self, report: WorkerReport, ttl: float) -> None:
        packed = msgpack.packb([report.worker, report.crawl, json.dumps(dict(report.facts))])
        await self._client.run(ANNOUNCE, self._keys, [report.worker, milliseconds(ttl), packed])

    async def leave(self, worker: str) -> None:
        await self._client.run(LEAVE, self._keys, [worker])

    async def workers(self, crawl: str | None = None) -> Sequence[WorkerReport]:
        raw = await self._client.run(LIST, self._keys, [])
        reports = [report for one in raw if one and (report := open_report(one)) is not None]
        return sorted((r for r in reports if crawl in (None, r.crawl)), key=lambda report: report.worker)
