"""Delays that depend on how long a site takes to respond (``delay_factor`` of ``MOCRA_THROTTLE``)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mocra_scrapy.models import LimitChange, SlotState

if TYPE_CHECKING:
    from mocra_scrapy.politeness.site_feedback import SiteFeedback
    from mocra_scrapy.settings.throttle_rules import Pace

LATE = 0.25  # s by which a response may take longer than expected
EVERY = 1.0  # s between two changes that one worker makes to a slot
MOST = 10_000  # slots that a worker knows of


@dataclass(slots=True)
class Taken:
    """What a worker saw of a slot since its last change: seconds that responses took, their number; the
    interval that it told then.
    """

    last: float = 0.0
    interval: float = 0.0
    seconds: float = 0.0
    number: int = 0


class ResponseDelays:
    """Of one crawler. The delay is the slot's interval, shared by all workers; each changes it at most once a
    second, to what the mean of the responses that it saw meanwhile says. A response that took longer than
    that expects (the next request is booked already) holds the slot for its own delay.
    """

    def __init__(self, feedback: SiteFeedback) -> None:
        self._feedback = feedback
        self._taken: dict[str, Taken] = {}

    def answered(self, slot: str, latency: object) -> None:
        """*slot* did, within *latency* seconds, as far as they were measured."""
        pace = self._feedback.pace(slot)
        if pace is None or not isinstance(latency, (int, float)):
            return
        if len(self._taken) >= MOST and slot not in self._taken:
            self._taken.clear()
        taken = self._taken.setdefault(slot, Taken(interval=pace.least))
        if pace.interval(latency) > taken.interval + LATE:
            self._feedback.hold(slot, pace.delay(latency), "it took long to respond")
        taken.seconds, taken.number = taken.seconds + latency, taken.number + 1
        now = time.monotonic()
        if now - taken.last >= EVERY:
            mean = taken.seconds / taken.number
            self._taken[slot] = Taken(now, pace.interval(mean))
            changer = self._changer(slot, pace, mean)
            self._feedback.change(slot, changer, "its response time")

    def _changer(self, slot: str, pace: Pace, latency: float) -> Callable[[SlotState], LimitChange | None]:
        def changer(state: SlotState) -> LimitChange | None:
            change = state.change
            if change.interval is not None and not change.adapted:
                return None  # somebody said it, while the crawl runs
            old = self._feedback.own(slot) if change.interval is None else change.interval
            least = max(self._feedback.spreads.get(slot, 0.0), change.least or 0.0, state.limit.floor)
            new = max(pace.interval(latency), least)
            if abs(new - old) < 0.001:
                return None
            return LimitChange(new, change.burst, change.concurrency, adapted=True)

        return changer
