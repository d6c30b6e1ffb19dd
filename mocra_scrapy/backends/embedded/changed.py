"""A limit that was changed while the crawl runs, for a time or until its end."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from mocra_scrapy.models import LimitChange, SlotLimit


@dataclass(frozen=True, slots=True)
class Changed:
    """What was changed, and when that is over; infinite: with the run. *found*: an adaptation that
    counts when what people said is over. *least*: seconds that the site asks for, see
    :class:`~mocra_scrapy.models.LimitChange`.
    """

    change: LimitChange
    until: float = math.inf
    found: LimitChange | None = None
    least: float = 0.0

    @classmethod
    def after(cls, before: Changed | None, change: LimitChange, now: float) -> Changed:
        """*change* comes over what was there *before*."""
        if before is not None and now >= before.until:
            before = cls(before.found or LimitChange(), least=before.least)
        least = (0.0 if before is None else before.least) if change.least is None else change.least
        if change.tells_least_only:
            return replace(before or cls(LimitChange()), least=least)
        by_people = before is not None and before.change.interval is not None and not before.change.adapted
        if before is not None and change.adapted and by_people:
            return replace(before, found=replace(change, least=None), least=least)
        found = None
        if before is not None and change.interval is not None and not change.adapted:
            found = before.found if by_people else before.change if before.change.adapted else None
        until = math.inf if change.lasts is None else now + change.lasts
        return cls(replace(change, lasts=None, least=None), until, found, least)

    def without_people(self) -> Changed | None:
        """What is left of it when what people said is taken back."""
        found = self.change if self.change.adapted else self.found
        if found is None and not self.least:
            return None
        return Changed(replace(found or LimitChange(), burst=None, concurrency=None), least=self.least)

    def over(self, limit: SlotLimit, now: float) -> SlotLimit:
        """What *limit* is with it. A longer interval ends with the change, so that nobody waits for
        the rest of an interval that is no longer in force.
        """
        later = _spaced(limit if self.found is None else _changed(limit, self.found), self.least)
        if now >= self.until:
            return later
        by_people = self.change.interval is not None and not self.change.adapted
        changed = _changed(limit, self.change)
        changed = _spaced(changed, changed.interval if by_people else self.least)
        if self.change.interval is not None and changed.interval > later.interval:
            changed = replace(changed, interval=max(later.interval, min(changed.interval, self.until - now)))
            if not math.isinf(self.until):  # the rest of a burst would wait for longer
                changed = replace(changed, burst=1)
        return changed

    def left(self, now: float) -> LimitChange:
        """What is still changed, and for how long."""
        change = self.found or LimitChange() if now >= self.until else self.change
        lasts = None if now >= self.until or math.isinf(self.until) else self.until - now
        return replace(change, lasts=lasts, least=self.least or None)


def _changed(limit: SlotLimit, change: LimitChange) -> SlotLimit:
    told: dict[str, Any] = {
        part: value for part in ("interval", "burst", "concurrency") if (value := getattr(change, part)) is not None
    }
    if "interval" in told and change.adapted:
        told["interval"] = max(told["interval"], limit.floor)
    return replace(limit, **told)


def _spaced(limit: SlotLimit, least: float) -> SlotLimit:
    """*limit* with *least* seconds between two departures, whatever is drawn by jitter."""
    interval = max(limit.interval, least)
    return replace(limit, interval=interval, jitter=min(limit.jitter, 1 - least / interval)) if interval else limit
