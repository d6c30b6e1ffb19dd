"""``Summary``: what a worker did, told once at its end; and what the whole crawl did, told by the
worker that ends it.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import time
from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.exceptions import NotConfigured
from scrapy.settings import SETTINGS_PRIORITIES

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.engine.depth_limit import count_too_deep
from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.redaction import redact_url
from mocra_scrapy.models.wording import counted
from mocra_scrapy.politeness.not_crawled import examples
from mocra_scrapy.politeness.skipped import SkippedRequests, SkippedTables
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.runtime.figures import added, figures_of, lines
from mocra_scrapy.runtime.run_totals import RunTotals, WorkerTotal, working_time
from mocra_scrapy.settings.reports import read_reports

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from typing_extensions import Self

    from mocra_scrapy.models import CrawlState, QueueSize
    from mocra_scrapy.politeness.not_crawled import Table

logger = logging.getLogger(__name__)

#: Reasons for not crawling that stats only count.
UNNAMED = ("duplicates", "status", "lost")


class Summary:
    """Reads the stats when the engine has stopped; nothing is counted for it before.

    While the crawl runs this worker leaves its figures for the others every ``MOCRA_HEARTBEAT``
    seconds, where a server is shared. ``MOCRA_SUMMARY = False``: not at all.
    """

    def __init__(self, mocra: Mocra) -> None:
        self._mocra = mocra
        shared = mocra.backend.shared
        self._totals = RunTotals(mocra.backend, mocra.crawl, mocra.worker) if shared else None
        self._skipped = mocra.component(SkippedRequests)
        self._tables = SkippedTables(mocra.backend, mocra.crawl) if shared else None
        self._table: Table = {}
        self._began, self._began_at = time.monotonic(), time.time()
        self._tasks: list[asyncio.Task[None]] = []
        self._state: CrawlState | None = None
        self._size: QueueSize | None = None
        self._of_crawl: list[WorkerTotal] = []
        self._still_there: set[str] = set()
        self._reason = ""
        connect = mocra.crawler.signals.connect
        connect(self._spider_closed, signals.spider_closed)
        connect(self._engine_stopped, signals.engine_stopped)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        if not read_reports(crawler.settings).summary:
            raise NotConfigured("MOCRA_SUMMARY is false")
        return Mocra.from_crawler(crawler).extension(cls)

    async def open(self) -> None:
        self._began, self._began_at = time.monotonic(), time.time()
        crawler = self._mocra.crawler
        assert crawler.stats is not None
        count_too_deep(EngineHooks(crawler).spider_middlewares, crawler.stats)
        if self._totals is not None:
            self._mocra.worker_state.when_attached(self._begin)

    def _begin(self) -> None:
        self._tasks = [asyncio.create_task(self._report(), name="mocra figures")]

    async def _report(self) -> None:
        while True:
            try:
                await self._tell(final=False)
            except MocraError as error:
                logger.debug("The figures of %s were not stored: %s", self._mocra.worker, error)
            await asyncio.sleep(self._mocra.coordination.heartbeat)

    async def _tell(self, *, final: bool) -> None:
        state = self._mocra.worker_state.crawl_state
        if self._totals is not None and state is not None:
            figures = self._figures()
            await self._totals.tell(state, self._began_at, figures, final=final)
            for reason in UNNAMED:
                self._skipped.count(reason, int(figures.get(f"skip/{reason}", 0)))
            if self._tables is not None:
                await self._tables.tell(state, self._mocra.worker, self._skipped)

    def _figures(self) -> dict[str, float]:
        assert self._mocra.crawler.stats is not None
        return figures_of(self._mocra.crawler.stats.get_stats())

    async def close(self) -> None:
        """The backend is still there: leave the last figures, and take those of the others."""
        await end_tasks(self._tasks)
        flow, stats = self._mocra.worker_state, self._mocra.crawler.stats
        assert stats is not None
        self._state, self._size = flow.crawl_state, flow.size
        if self._totals is None or self._state is None:
            return
        try:
            await self._tell(final=True)
            if stats.get_value("mocra/crawl/finished_here"):
                self._of_crawl, self._still_there = await self._totals.at_the_end(self._state)
                await self._totals.forget(self._state, self._still_there)
                if self._tables is not None:
                    self._table = await self._tables.all()
        except MocraError as error:
            logger.debug("The last figures of %s were not stored: %s", self._mocra.worker, error)
        await self._totals.close()
        if self._tables is not None:
            await self._tables.close()

    # ------------------------------------------------------------------ told

    def _spider_closed(self, reason: str) -> None:
        self._reason = reason

    def _engine_stopped(self) -> None:
        if self._state is None:
            return  # it never began
        mocra, state = self._mocra, self._state
        who = f"Crawl {mocra.crawl!r}, run {state.run}"
        seconds = time.monotonic() - self._began
        finished_here = self._mocra.crawler.stats is not None and self._mocra.crawler.stats.get_value(
            "mocra/crawl/finished_here"
        )
        others = len(self._of_crawl) > 1
        if finished_here and not others:
            head = f"{who}: finished by one worker"
        else:
            head = f"{who}: what worker {mocra.worker} did (closed: {self._reason or 'unknown'})"
        told = [
            head,
            *lines(self._figures(), seconds, self._letters(), self._examples(self._skipped.table)),
            *self._left(bool(finished_here)),
        ]
        logger.info("%s", "\n".join(told))
        if others:
            logger.info("%s", "\n".join(self._whole(who)))

    def _whole(self, who: str) -> list[str]:
        totals = self._of_crawl
        figures = added(total.figures for total in totals)
        told = [
            f"{who}: finished, by {counted(len(totals), 'worker')}",
            *lines(figures, working_time(totals), self._letters(), self._examples(self._table)),
        ]
        closing = [total for total in totals if not total.final and total.worker in self._still_there]
        if closing:
            told.append(f"  still closing, counted with what they last reported: {_silent(closing)}")
        gone = [total for total in totals if not total.final and total.worker not in self._still_there]
        if gone:
            told += [
                f"  did not sign off, counted with what they last reported: {_silent(gone)}.",
                "  Pages of theirs that were not acknowledged were fetched again and may be counted twice; what they did",
                "  after that report is not counted.",
            ]
        return told

    def _left(self, finished_here: bool) -> list[str]:
        """What an interrupted worker leaves behind."""
        if finished_here or self._size is None or self._state is None or self._state.finished:
            return []
        left = self._size.pending + self._size.delayed
        waiting = f"  not done     {counted(left, 'request')}"
        if not self._mocra.backend.durable:
            return [f"{waiting} {'was' if left == 1 else 'were'} waiting, gone with this process"]
        return [f"{waiting} waiting in the queue, as last seen; the next run resumes"]

    def _examples(self, table: Table) -> list[str]:
        more = [f"more: scrapy mocra skipped {self._words()}"] if table and self._mocra.backend.shared else []
        return examples(table) + more

    def _letters(self) -> str:
        if not self._mocra.backend.shared:
            return f"{self._mocra.backend.url} keeps none of them after this process"
        return f"see them: scrapy mocra dead list {self._words()}"

    def _words(self) -> str:
        """What names the crawl to a command."""
        mocra = self._mocra
        settings, spider = mocra.settings, str(getattr(mocra.crawler.spidercls, "name", ""))
        by_spider = settings.get("MOCRA_CRAWL") is None and mocra.crawl.endswith(f":{spider}")
        words = [str(spider)] if by_spider else ["--crawl", mocra.crawl]
        for name in ("MOCRA_BACKEND", "MOCRA_QUEUE_BACKEND", "MOCRA_STATE_BACKEND"):
            if (settings.getpriority(name) or 0) >= SETTINGS_PRIORITIES["spider"] and settings.get(name):
                words += ["-s", f"{name}={redact_url(settings.get(name))}"]  # the command reads the project's
        return shlex.join(words)


def _silent(totals: list[WorkerTotal]) -> str:
    """Who, and for how long; ten of them."""
    now = time.time()
    named = ", ".join(f"{one.worker} ({max(0.0, now - one.told):.0f} s ago)" for one in totals[:10])
    return named + (f" and {len(totals) - 10} more" if len(totals) > 10 else "")
