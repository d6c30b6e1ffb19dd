"""Slots that failures slowed down, and slots that the breaker lets grow again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mocra_scrapy.models import SlotLimit

#: What counts as the concurrency of a slot without a limit, while it grows again.
RAMPED = 16


@dataclass(frozen=True, slots=True)
class Slowed:
    """An interval that failures have brought about: halved rate, since when, the part it recovers a
    minute, the least one.
    """

    interval: float
    since: float
    recovery: float
    floor: float

    def now(self, now: float, own: float) -> float:
        """What is left of it; 0: it has recovered to the limit's own interval."""
        left = self.interval * (1 - self.recovery) ** ((now - self.since) / 60)
        return left if left > max(own, self.floor / 2) else 0.0


def ramped(limit: SlotLimit, now: float, since: float, ramp: float) -> SlotLimit:
    """What *limit* is while it grows from a tenth to the whole, for *ramp* seconds from *since* on."""
    part = max(0.1, (now - since) / ramp)
    if part >= 1:
        return limit
    concurrency = max(1, int((limit.concurrency or RAMPED) * part))
    return replace(limit, interval=limit.interval / part, burst=1, concurrency=concurrency)
