"""Which slots let one request out before all others: robots.txt of a host comes before its pages."""

from __future__ import annotations

import time
from collections.abc import Callable


class SlotGate:
    """Slots of which one request at a time goes out, until what comes before all others is there:
    their robots.txt. Who fetches that has one request waiting for it, and the others wait in the
    queue, for whoever can send them.

    =========  =================================================  =====================
    a slot is  when                                               requests that are out
    =========  =================================================  =====================
    unknown    nothing of it went by yet                          one
    shut       something waits for what comes first               one; none before that can be had
    open       that is there, or something went by without it     as many as may be
    =========  =================================================  =====================

    Attributes:
        watched: whether anybody shuts it; else all slots are open.
        shut: slots that are, and before when (monotonic) what they need can't be had.
    """

    #: Slots that are remembered as open, and as shut; of more than that some are unknown again.
    MOST = 100_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.watched = False
        self._clock = clock
        self.shut: dict[str, float] = {}
        self._open: dict[str, None] = {}

    def admits(self, slot: str, out: int) -> bool:
        """Whether one more request of *slot* may go out, beside *out* that are."""
        if slot in self._open:
            return True
        until = self.shut.get(slot)
        return not out and (until is None or until <= self._clock())

    def close(self, slot: str, seconds: float = 0.0) -> None:
        """Something of *slot* waits; *seconds*: for at least so long."""
        self._open.pop(slot, None)
        self.shut[slot] = self._clock() + seconds
        if len(self.shut) > self.MOST:
            del self.shut[next(iter(self.shut))]

    def open(self, slot: str) -> None:
        """What it waited for is there."""
        self.shut.pop(slot, None)
        self._open[slot] = None
        if len(self._open) > self.MOST:
            del self._open[next(iter(self._open))]

    def ready(self, slot: str) -> None:
        """What it waited for is there: it is open when the one that waited has passed, so that this is
        booked before the others.
        """
        self.shut.pop(slot, None)

    def passed(self, slot: str) -> bool:
        """A request of *slot* leaves, or is done with; whether that opened it: unless something has to
        wait, nothing has to.
        """
        if slot in self._open or slot in self.shut:
            return False
        self.open(slot)
        return True
