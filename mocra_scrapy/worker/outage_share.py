"""What one worker may do by itself while nobody can ask the store."""

from __future__ import annotations

import time

from mocra_scrapy.models import SlotLimit


class OutageShare:
    """This worker's share of each rate, by its own clock: for outages only.

    Attributes:
        workers: among how many a rate is shared, as far as was known last.
    """

    #: Of slots without a rate, departures a second of the whole cluster while nobody can ask.
    CAREFUL = 1.0

    def __init__(self) -> None:
        self.workers = 1
        self._next: dict[str, float] = {}

    def book(self, names: tuple[str, ...], limits: list[SlotLimit]) -> float:
        """Seconds until one of all *names* may go."""
        now = time.monotonic()
        at = max([now, *(self._next.get(name, now) for name in names)])
        for name, limit in zip(names, limits, strict=True):
            # What is left of a quota is unknown: it is spread over its window.
            spread = max((quota.window / quota.most for quota in limit.quotas), default=0.0)
            self._next[name] = at + self.workers * max(limit.interval or 1 / self.CAREFUL, spread)
        return at - now
