"""A limit that was changed while the crawl runs, for a time or until its end."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from mocra_scrapy.models import LimitChange, SlotLimit


@dataclass(frozen=True, slots=True)
class Changed:
    """What was changed, and when that is over; infinite: with the run. *found*: an adaptation that
    counts when what people said is over.
    """

    change: LimitChange
    until: float = math.inf
    found: LimitChange | None = None

    @classmethod
    def after(cls, before: Changed | None, change: LimitChange, now: float) -> Changed:
        """*change* comes over what was there *before*."""
        if before is not None and now >= before.until:
            before = None if before.found is None else cls(before.found)
        by_people = before is not None and before.change.interval is not None and not before.change.adapted
        if before is not None and change.adapted and by_people:
            return replace(before, found=change)
        found = None
        if before is not None and change.interval is not None and not change.adapted:
            found = before.found if by_people else before.change if before.change.adapted else None
        until = math.inf if change.lasts is None else now + change.lasts
        return cls(replace(change, lasts=None), until, found)

    def without_people(self) -> Changed | None:
        """What is left of it when what people said is taken back."""
        found = self.change if self.change.adapted else self.found
        return None if found is None else Changed(replace(found, burst=None, concurrency=None))

    def over(self, limit: SlotLimit, now: float) -> SlotLimit:
        """What *limit* is with it. A longer interval ends with the change, so that nobody waits for
        the rest of an interval that is no longer in force.
        """
        later = limit if self.found is None else _changed(limit, self.found)
        if now >= self.until:
            return later
        changed = _changed(limit, self.change)
        if self.change.interval is not None and changed.interval > later.interval:
            changed = replace(changed, interval=max(later.interval, min(changed.interval, self.until - now)))
            if not math.isinf(self.until):  # the rest of a burst would wait for longer
                changed = replace(changed, burst=1)
        return changed

    def left(self, now: float) -> LimitChange:
        """What is still changed, and for how long."""
        if now >= self.until:
            return self.found or LimitChange()
        return self.change if math.isinf(self.until) else replace(self.change, lasts=self.until - now)


def _changed(limit: SlotLimit, change: LimitChange) -> SlotLimit:
    told: dict[str, Any] = {
        part: value for part in ("interval", "burst", "concurrency") if (value := getattr(change, part)) is not None
    }
    if "interval" in told and change.adapted:
        told["interval"] = max(told["interval"], limit.floor)
    return replace(limit, **told)
