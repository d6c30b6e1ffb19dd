"""``StallWatch``: tells the store which slots fail, and says which of them are given up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from mocra_scrapy import signals
from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import Attempts, StallRules
from mocra_scrapy.models.redaction import redact
from mocra_scrapy.settings.failures import read_failure_options

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from mocra_scrapy.interfaces import IStalls
    from mocra_scrapy.runtime import Mocra

logger = logging.getLogger(__name__)

GATHER = 0.5  # s that outcomes wait for company
LOOKS = 15.0  # s between two reports of successes, at most; a tenth of MOCRA_STALL_MAX where that is less
AWAY = 1.0  # s after a report that nobody took
MOST = 1000  # slots in one report
MANY = 20_000  # slots that wait to be told; beyond these the oldest goes


def tell_given_up(crawler: Crawler, crawl: str, slot: str, why: str) -> None:
    """A report of this worker gave *slot* up: one worker says so, for all."""
    assert crawler.stats is not None
    crawler.stats.inc_value("mocra/stall/given_up")
    crawler.signals.send_catch_log(signals.slot_given_up, spider=crawler.spider, slot=slot, why=why)
    logger.error(
        "Slot %s is given up by all workers: %s. Its requests become dead letters (reason: stalled); when it works"
        " again: scrapy mocra dead replay --crawl %s --reason stalled --slot %s",
        slot,
        why,
        crawl,
        slot,
    )


class StallWatch:
    """Of one crawler, a component of its :class:`~mocra_scrapy.runtime.Mocra`.

    A success costs a page nothing but its slot's name: a slot that fails here is told at once that
    it does not any more; of others all that succeeded lately are told together now and then, since
    they may fail for another worker.

    Attributes:
        stalls: of this crawl, for looks and resets.
    """

    def __init__(self, mocra: Mocra) -> None:
        """Raises ConfigurationError: a setting is wrong."""
        stats = mocra.crawler.stats
        assert stats is not None
        options = read_failure_options(mocra.crawler.settings)
        self.rules = StallRules(options.stall_max, options.stall_attempts)
        self.stalls: IStalls = mocra.backend.stalls(mocra.crawl, self.rules, mocra.options.queue)
        self._mocra, self._stats = mocra, stats
        self._looks = min(LOOKS, options.stall_max / 10)
        self._bad: dict[
            str, tuple[float, float, str]
        ] = {}  # slot -> youngest departure, end of a wait (monotonic), why
        self._failing: dict[str, None] = {}  # slots of which the last that was told is a failure
        self._recovered: dict[str, None] = {}
        self._good: dict[str, None] = {}  # slots that succeeded since the last report of these
        self._good_told = time.monotonic()
        self._since = time.monotonic()  # since when this worker can try
        self._could = True
        self._there = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """The backend is there: begin to tell."""
        self._since = time.monotonic()
        if self.rules.longest:
            self._task = asyncio.create_task(self._run(), name="mocra stall watch")

    async def close(self) -> None:
        """What was not told is lost: the next failures say the same."""
        if self._task is not None:
            await end_tasks([self._task])

    # ------------------------------------------------------------------ what happens

    def succeeded(self, slot: str) -> None:
        """The site of *slot* answered, and not that it can't."""
        if not self.rules.longest:
            return
        self._good[slot] = None
        if slot in self._failing or slot in self._bad:
            self._bad.pop(slot, None)
            self._recovered[slot] = None
            self._there.set()

    def failed(self, slot: str, sent_at: float, hold: float, why: str) -> None:
        """An attempt failed that was sent at *sent_at* (monotonic).

        Args:
            hold: seconds from now for which the site asked to be left alone; 0: it did not.
            why: one line for a person.
        """
        if not self.rules.longest:
            return
        now = time.monotonic()
        until = now + hold if hold > 0 else 0.0
        known = self._bad.pop(slot, None)
        self._bad[slot] = (
            (sent_at, until, why) if known is None else (max(sent_at, known[0]), max(until, known[1]), why)
        )
        self._good.pop(slot, None)
        if len(self._bad) > MANY:
            del self._bad[next(iter(self._bad))]
        self._there.set()

    # ------------------------------------------------------------------ the task

    async def _run(self) -> None:
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._there.wait(), max(self._looks, 0.05))
            self._look_at_worker()
            await asyncio.sleep(min(GATHER, self._looks))
            self._look_at_worker()
            self._there.clear()
            told = self._take()
            if not told:
                continue
            try:
                for state in await self.stalls.report(told):
                    tell_given_up(self._mocra.crawler, self._mocra.crawl, state.slot, state.given_up)
            except MocraError as error:
                logger.debug("The backend did not count failures: %s", error)
                self._stats.inc_value("mocra/stall/reports_lost")
                await asyncio.sleep(AWAY)
            except Exception:
                logger.exception("Failures of slots can't be told")
                self._stats.inc_value("mocra/stall/reports_lost")
                await asyncio.sleep(AWAY)

    def _look_at_worker(self) -> None:
        """While it is paused or the backend is away nothing can be tried."""
        state = self._mocra.worker_state
        can = not state.paused and not state.away
        if not can or not self._could:
            self._since = time.monotonic()
        self._could = can

    def _take(self) -> list[Attempts]:
        now = time.monotonic()
        if now - self._good_told >= self._looks:
            self._good_told = now
            self._recovered.update(self._good)
            self._good.clear()
        good = list(self._recovered)[:MOST]
        bad = [slot for slot in self._bad if slot not in self._recovered][: MOST - len(good)]
        told = []
        for slot in good:
            del self._recovered[slot]
            self._failing.pop(slot, None)
            told.append(Attempts(slot, failed=False))
        for slot in bad:
            sent_at, until, why = self._bad.pop(slot)
            told.append(
                Attempts(
                    slot, True, max(0.0, now - sent_at), max(0.0, until - now), now - self._since, redact(why)[:200]
                )
            )
            if len(self._failing) >= MANY:
                self._failing.clear()
            self._failing[slot] = None
        if self._bad or self._recovered:
            self._there.set()
        return told
