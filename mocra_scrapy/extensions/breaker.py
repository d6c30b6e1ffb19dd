"""``BreakerExtension``: tells the cluster's breaker how requests ended, and does what it decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from scrapy import signals as scrapy_signals
from scrapy.exceptions import NotConfigured

from mocra_scrapy import signals
from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.exceptions import CallbackTimeout, MocraError
from mocra_scrapy.models.failure_kinds import CALLBACK_TIMEOUT, PARSE, PIPELINE
from mocra_scrapy.models.wording import counted
from mocra_scrapy.politeness.download_outcomes import DownloadOutcomes
from mocra_scrapy.politeness.stall_watch import tell_given_up
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.settings.reader import touched

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from typing_extensions import Self

    from mocra_scrapy.interfaces import IBreaker
    from mocra_scrapy.models import BreakerChange, Outcome, Trip, Verdict

logger = logging.getLogger(__name__)

#: The reason with which a spider closes when the crawl's threshold was passed.
REASON = "mocra_error_threshold"
GATHER, SOON = 0.25, 0.05  # s that outcomes wait for company; when there is a failure among them
LISTEN = 2.0  # s between two reports of a worker that has nothing to tell: it hears of the crawl's end there
AWAY = 1.0  # s after a report that nobody took
MOST = 1000  # slots in one report


class BreakerExtension:
    """See ``docs/guides/failing-sites``; ``MOCRA_BREAKER`` has the rules.

    Each attempt of a download counts once, a retry is another one; exceptions of callbacks and
    pipelines count beside it. Outcomes are told in bulk by a task of its own. A report that nobody
    took is not repeated: it counted once or not at all.

    Attributes:
        breaker: of this crawl, for looks and resets.
    """

    def __init__(self, mocra: Mocra) -> None:
        """Raises ConfigurationError: the setting is wrong; NotConfigured: there is none."""
        crawler = mocra.crawler
        if not touched(crawler.settings, "MOCRA_BREAKER"):
            raise NotConfigured  # and nothing of it is imported
        from mocra_scrapy.settings.breaker import read_breaker

        rules = read_breaker(crawler.settings)
        if rules is None or mocra.one_off:
            raise NotConfigured
        assert crawler.stats is not None
        self.crawler, self.stats, self.rules = crawler, crawler.stats, rules
        self._outcomes, self._crawl = mocra.component(DownloadOutcomes), mocra.crawl
        self.breaker: IBreaker = mocra.backend.breaker(mocra.crawl, rules, mocra.options.queue)
        self._waiting: dict[
            tuple[str, str, bool, bool], tuple[int, float]
        ] = {}  # -> how many, when the youngest departed
        self._slow = 0.0 if rules.slot is None else rules.slot.slow
        self._there, self._bad = asyncio.Event(), asyncio.Event()  # something waits to be told; a failure does
        self._task: asyncio.Task[None] | None = None
        self._trip: float | None = None  # the last one when we came; None: not known yet
        crawler.signals.connect(self._parse_failed, scrapy_signals.spider_error)
        crawler.signals.connect(self._item_failed, scrapy_signals.item_error)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return Mocra.from_crawler(crawler).component(cls)

    async def open(self) -> None:
        """Begin to listen and to report."""
        self._engine = EngineHooks(self.crawler)
        if not self._outcomes.has_source:
            logger.warning("MOCRA_BREAKER counts no downloads: FeedbackMiddleware is not in DOWNLOADER_MIDDLEWARES")
        self._outcomes.listen(self._downloaded)
        self._task = asyncio.create_task(self._run(), name="mocra breaker")

    async def close(self) -> None:
        """What was not told is dropped: nobody is left who would do anything about it."""
        if self._task is not None:
            await end_tasks([self._task])

    # ------------------------------------------------------------------ outcomes

    def _downloaded(self, slot: str, kind: str, age: float) -> None:
        slow = self._slow > 0 and not kind and age >= self._slow
        self._count(slot, kind, time.monotonic() - age, download=True, slow=slow)

    def _parse_failed(self, failure: Any, response: Response | None, spider: Spider) -> None:
        self._count_later(response, CALLBACK_TIMEOUT if failure.check(CallbackTimeout) else PARSE)

    def _item_failed(self, item: Any, response: Response | None, spider: Spider, failure: Any) -> None:
        self._count_later(response, PIPELINE)

    def _count_later(self, response: Response | None, kind: str) -> None:
        request: Request | None = getattr(response, "request", None)
        slot = "" if request is None else self._engine.slot_of(request)
        self._count(slot, kind, time.monotonic(), download=False)

    def _count(self, slot: str, kind: str, departed: float, *, download: bool, slow: bool = False) -> None:
        if kind:
            self.stats.inc_value(f"mocra/breaker/failures/{kind}")
            self._bad.set()
        elif slow:
            self.stats.inc_value("mocra/breaker/slow")
            self._bad.set()
        key = (slot, kind, download, slow)
        count, youngest = self._waiting.get(key, (0, departed))
        self._waiting[key] = (count + 1, max(youngest, departed))
        self._there.set()

    def _take(self) -> list[Outcome]:
        from mocra_scrapy.models import Outcome

        now, keys = time.monotonic(), list(self._waiting)[:MOST]
        taken = [(key, self._waiting.pop(key)) for key in keys]
        return [Outcome(slot, kind, n, max(0.0, now - at), *rest) for (slot, kind, *rest), (n, at) in taken]

    # ------------------------------------------------------------------ the task

    async def _run(self) -> None:
        while True:
            pause = SOON
            self._bad.clear()
            try:
                self._apply(await self.breaker.report(self._take()))
            except MocraError as error:
                logger.debug("The breaker did not accept a report: %s", error)
                self.stats.inc_value("mocra/breaker/reports_lost")
                pause = AWAY
            except Exception:
                logger.exception("A report to the breaker failed")
                self.stats.inc_value("mocra/breaker/reports_lost")
                pause = AWAY
            await asyncio.sleep(pause)
            if not self._waiting:
                self._there.clear()
                await _wait(self._there, LISTEN)
            await _wait(self._bad, GATHER - SOON)

    def _apply(self, verdict: Verdict) -> None:
        for change in verdict.changes:
            self._changed(change)
        at = 0.0 if verdict.trip is None else verdict.trip.at
        if self._trip is None:
            self._trip = at  # what happened before we came is no reason to go
        elif verdict.trip is not None and at > self._trip:
            self._trip = at
            self._tripped(verdict.trip)

    def _changed(self, change: BreakerChange) -> None:
        from mocra_scrapy.models import Circuit

        spider = self.crawler.spider
        if change.given_up:
            tell_given_up(self.crawler, self._crawl, change.slot, change.given_up)
            return
        if change.after is Circuit.CLOSED:
            logger.info("Slot %s answers again, the breaker closes it", change.slot)
            self.stats.inc_value("mocra/breaker/closed")
            self.crawler.signals.send_catch_log(signals.breaker_closed, spider=spider, slot=change.slot)
            return
        why = "a probe failed" if change.before is Circuit.HALF_OPEN else "it failed too often"
        logger.warning(
            "Slot %s is held for %.1f s by all workers, %s: %s (%s), %s",
            change.slot,
            change.hold,
            why,
            counted(change.failed, "failure"),
            described(change.kinds),
            counted(change.total, "download"),
        )
        self.stats.inc_value("mocra/breaker/opened")
        self.crawler.signals.send_catch_log(
            signals.breaker_opened,
            spider=spider,
            slot=change.slot,
            hold=change.hold,
            times=change.times,
            failed=change.failed,
            total=change.total,
            kinds=dict(change.kinds),
        )

    def _tripped(self, trip: Trip) -> None:
        logger.error(
            "The crawl failed too often: %s (%s), %s; all workers close. The next run resumes it",
            counted(trip.failed, "failure"),
            described(trip.kinds),
            counted(trip.total, "download"),
        )
        self.stats.inc_value("mocra/breaker/tripped")
        self.crawler.signals.send_catch_log(
            signals.breaker_tripped,
            spider=self.crawler.spider,
            failed=trip.failed,
            total=trip.total,
            kinds=dict(trip.kinds),
        )
        self._engine.close_spider(REASON)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def described(kinds: Any) -> str:
    """``7 http_5xx, 3 timeout``, the most frequent first."""
    return ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])))
