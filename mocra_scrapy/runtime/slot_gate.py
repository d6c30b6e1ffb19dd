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

    A slot may have several origins (ports), each with a file of its own: it opens when nobody waits for any of them. What
    can't be had keeps a slot shut until somebody may ask again, not those that don't need it for ever.

    Attributes:
        watched: whether anybody shuts it; else all slots are open.
        shut: slots that are, and before when (monotonic) what they need can't be had.
        awaited: slot -> how many of it wait right now.
    """

    #: Slots that are remembered as open, and as shut; of more than that some are unknown again.
    MOST = 100_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.watched = False
        self._clock = clock
        self.shut: dict[str, float] = {}
        self.awaited: dict[str, int] = {}
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

    def enter(self, slot: str) -> None:
        """Something of *slot* waits, until :meth:`leave`."""
        self.close(slot)
        self.awaited[slot] = self.awaited.get(slot, 0) + 1

    def leave(self, slot: str) -> None:
        """It does no more, whether what it waited for is there or not."""
        left = self.awaited.pop(slot) - 1
        if left:
            self.awaited[slot] = left

    def open(self, slot: str) -> None:
        """What it waited for is there, unless something else is awaited."""
        if slot in self.awaited:
            return
        self.shut.pop(slot, None)
        self._open[slot] = None
        if len(self._open) > self.MOST:
            del self._open[next(iter(self._open))]

    def ready(self, slot: str) -> None:
        """What it waited for is there: it is open when the one that waited has passed, so that this is
        booked before the others.
        """
        if slot not in self.awaited:
            self.shut.pop(slot, None)

    def passed(self, slot: str) -> bool:
        """A request of *slot* leaves, or is done with; whether that opened it: unless something has to
        wait, nothing has to.
        """
        until = self.shut.get(slot)
        if slot in self._open or (until is not None and (slot in self.awaited or until > self._clock())):
            return False
        self.open(slot)
        return True
