"""Who is there."""
# ruff: noqa: N805 - methods of zope interfaces have no self

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from mocra_scrapy.models import WorkerReport


class IWorkers(Interface):
    """Who is there: for people and for tools. No decision of the queue hangs on it."""

    async def announce(report: WorkerReport, ttl: float) -> None:
        """Say that this worker lives; it is listed for *ttl* seconds.
        [an_announced_worker_is_listed] [a_silent_worker_vanishes]
        """

    async def leave(worker: str) -> None:
        """Off the list at once. [a_leaving_worker_vanishes]"""

    async def workers(crawl: str | None = None) -> Sequence[WorkerReport]:
        """Everybody, or those of one crawl, by name. [workers_are_listed_by_crawl]"""
