"""What sites tell this worker, on its way to the shared limits: one task, one note a slot, nothing
that waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mocra_scrapy import signals
from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import LimitChange, SlotState
from mocra_scrapy.settings.feedback import FeedbackOptions, read_feedback

if TYPE_CHECKING:
    from mocra_scrapy.runtime import Mocra
    from mocra_scrapy.settings.throttle_rules import Pace

T = TypeVar("T")

logger = logging.getLogger(__name__)

MOST = 10_000  # slots with something to tell; beyond these the oldest note goes
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # s between two attempts while the backend is away
QUIET = 30.0  # s between two log lines about the same slot

#: Works out a change of a slot's limit from how it stands; ``None``: nothing is to be changed.
Changer = Callable[[SlotState], "LimitChange | None"]


@dataclass(slots=True)
class PendingFeedback:
    """What is to be told of one slot.

    *until*: of a hold, on the monotonic clock. *slower*: seconds between two requests where neither
    a limit nor a rate is known; 0: not to be slowed down. *rate*: of this worker, departures a
    second. *least*: seconds that the site asks for, see :class:`~mocra_scrapy.models.LimitChange`.
    """

    until: float = 0.0
    slower: float = 0.0
    rate: float = 0.0
    least: float | None = None
    change: Changer | None = None
    why: str = ""

    def absorb(self, newer: PendingFeedback) -> None:
        self.until = max(self.until, newer.until)
        self.slower = max(self.slower, newer.slower)
        self.rate = max(self.rate, newer.rate)
        self.least = self.least if newer.least is None else newer.least
        self.change = newer.change or self.change
        self.why = newer.why or self.why


class SiteFeedback:
    """The notes of one crawler, a part of its :class:`~mocra_scrapy.runtime.Mocra`:
    ``mocra.component(SiteFeedback)``.

    A note takes no place of the downloader and no time of anybody: it waits here until the backend
    takes it, together with what comes after it for the same slot. What the backend did not take
    when the worker leaves is lost, and counted.

    Attributes:
        spreads: slot -> interval below which no adaptation goes, for as long as the site advertises a limit
            that lasts with it.
    """

    def __init__(self, mocra: Mocra) -> None:
        """Raises ConfigurationError: a setting is wrong."""
        stats = mocra.crawler.stats
        assert stats is not None
        self.options: FeedbackOptions = read_feedback(mocra.crawler.settings)
        self._mocra, self._stats = mocra, stats
        self._notes: dict[str, PendingFeedback] = {}
        self._there = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._told: dict[str, float] = {}  # slot -> when it was last logged
        self._held: dict[str, float] = {}  # slot -> until when it is held
        self._slowed: dict[str, tuple[float, float]] = {}  # slot -> when it was slowed down, its interval
        self._idle = asyncio.Event()
        self.spreads: dict[str, float] = {}

    # ------------------------------------------------------------------ from outside

    async def open(self) -> None:
        """The backend is there: begin to tell."""
        if self.options.cluster:
            self._task = asyncio.create_task(self._run(), name="mocra site feedback")

    def hold(self, slot: str, seconds: float, why: str) -> None:
        """Nobody departs for so long. Nothing is told when a hold that was told before lasts about
        as long.
        """
        until = time.monotonic() + seconds
        if until > self._held.get(slot, 0.0) + 0.25:
            self._put(slot, PendingFeedback(until=until, why=why))

    def slow_down(self, slot: str, floor: float, rate: float = 0.0) -> None:
        """Halve the rate of all workers together, of which this one has *rate* departures a second;
        to one request in *floor* seconds, if neither that (0) nor a limit is known.

        Within ``calm`` seconds the store would do nothing, so it isn't asked.
        """
        if time.monotonic() >= self._slowed.get(slot, (0.0, 0.0))[0] + self.options.calm:
            self._put(slot, PendingFeedback(slower=max(floor, 0.001), rate=rate))

    def own(self, slot: str) -> float:
        """The interval that the settings give *slot*."""
        return self._mocra.options.limits.of(slot).interval

    def pace(self, slot: str) -> Pace | None:
        """How the delay of *slot* depends on its response times; ``None``: it does not."""
        return self._mocra.options.limits.pace_of(slot)

    def spread(self, slot: str, interval: float) -> None:
        """What is left of a limit of *slot* lasts with one request in *interval* seconds; 0: it advertises
        none any more.
        """
        if interval:
            self._remember(self.spreads, slot, interval)
        else:
            self.spreads.pop(slot, None)

    async def keep_distance(self, slot: str, least: float, why: str) -> None:
        """The site asks for *least* seconds between two requests of all workers; 0: it does no more.
        It counts when this returns, unless the backend is away: then as soon as that is back.
        """
        note = PendingFeedback(least=least, why=why)
        try:
            await self._tell_least(slot, note)
        except MocraError as error:
            logger.debug("Slot %s: the backend did not store the site's interval yet: %s", slot, error)
            self._put(slot, note)

    def change(self, slot: str, changer: Changer, why: str = "") -> None:
        self._put(slot, PendingFeedback(change=changer, why=why))

    def _put(self, slot: str, note: PendingFeedback) -> None:
        known = self._notes.pop(slot, None)
        if known is not None:
            known.absorb(note)
            note = known
        self._notes[slot] = note
        if len(self._notes) > MOST:
            del self._notes[next(iter(self._notes))]
            self._stats.inc_value("mocra/throttle/feedback_lost")
        self._idle.clear()
        self._there.set()

    async def close(self) -> None:
        """Tell what is left, for a moment; never raises."""
        if self._task is None:
            return
        if self._notes:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._idle.wait(), self.options.flush)
        await end_tasks([self._task])
        if self._notes:
            self._stats.inc_value("mocra/throttle/feedback_lost", len(self._notes))

    # ------------------------------------------------------------------ the task

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            if not self._notes:
                self._idle.set()
                self._there.clear()
                await self._there.wait()
            slot = next(iter(self._notes))
            note = self._notes[slot]
            try:
                await self._tell(slot, note)
            except MocraError as error:
                # Anything may have come in meanwhile: what was not told yet joins it.
                logger.debug("Slot %s: the backend did not store the feedback: %s", slot, error)
                self._stats.inc_value("mocra/throttle/feedback_repeated")
                await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
            except Exception:
                logger.exception("Slot %s: feedback can't be sent", slot)
                self._notes.pop(slot, None)
                self._stats.inc_value("mocra/throttle/feedback_lost")
            else:
                pause = FIRST_PAUSE

    async def _tell(self, slot: str, note: PendingFeedback) -> None:
        """Part by part; what was told is taken off the note, so that a failure repeats only the
        rest.
        """
        limiter, options = self._mocra.limiter, self.options
        if note.until:
            until = note.until
            left = until - time.monotonic()
            if left > 0:
                await limiter.hold(slot, left)
                self._stats.inc_value("mocra/throttle/holds")
                self._log("Slot %s is held for %.1f s: %s", slot, left, note.why)
                self._send(signals.slot_held, slot=slot, seconds=left, why=note.why)
                self._remember(self._held, slot, until)
            if note.until == until:
                note.until = 0.0
        if note.slower:
            floor, rate, note.slower, note.rate = note.slower, note.rate, 0.0, 0.0
            try:
                interval = await limiter.slow_down(
                    slot,
                    floor=floor,
                    recovery=options.recovery,
                    most=options.most,
                    calm=options.calm,
                    rate=rate,
                    worker=self._mocra.worker,
                )
            except MocraError:
                note.slower, note.rate = max(floor, note.slower), max(rate, note.rate)
                raise
            if interval != self._slowed.get(slot, (0.0, 0.0))[1]:
                self._stats.inc_value("mocra/throttle/slowed")
                self._log("Slot %s is slowed down to one request every %.2f s", slot, interval)
                self._send(signals.slot_slowed, slot=slot, interval=interval)
            self._remember(self._slowed, slot, (time.monotonic(), interval))
        if note.least is not None:
            await self._tell_least(slot, note)
        if note.change is not None:
            changer, note.change = note.change, None
            try:
                change = changer(await limiter.look(slot))
                if change is not None:
                    await limiter.change(slot, change)
            except MocraError:
                note.change = note.change or changer
                raise
            if change is not None and change.interval is not None:
                self._stats.inc_value("mocra/throttle/changed")
                self._log("Slot %s gets one request every %.2f s from now on: %s", slot, change.interval, note.why)
        if not note.until and not note.slower and note.change is None and note.least is None:
            self._notes.pop(slot, None)

    async def _tell_least(self, slot: str, note: PendingFeedback) -> None:
        least = note.least
        assert least is not None
        await self._mocra.limiter.change(slot, LimitChange(least=least, adapted=True))
        if note.least == least:
            note.least = None
        self._stats.inc_value("mocra/throttle/changed")
        if least:
            self._log("Slot %s gets one request every %.2f s at most from now on: %s", slot, least, note.why)

    def _send(self, signal: object, **arguments: object) -> None:
        crawler = self._mocra.crawler
        crawler.signals.send_catch_log(signal, spider=crawler.spider, **arguments)

    def _log(self, text: str, slot: str, *arguments: object) -> None:
        """One line a slot now and then; the rest for who debugs."""
        now = time.monotonic()
        level = logging.INFO if now - self._told.get(slot, -QUIET) >= QUIET else logging.DEBUG
        if level == logging.INFO:
            self._remember(self._told, slot, now)
        logger.log(level, text, slot, *arguments)

    @staticmethod
    def _remember(table: dict[str, T], slot: str, value: T) -> None:
        if len(table) >= MOST:
            table.clear()
        table[slot] = value
