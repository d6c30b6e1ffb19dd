"""Slots that failures slowed down."""

from __future__ import annotations

from dataclasses import dataclass


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
