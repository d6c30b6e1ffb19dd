"""Which news of a value is news: a worker is told of its own changes, too."""

from __future__ import annotations

import math
from collections.abc import Callable

#: Seconds within which a worker is told of its own change.
LATEST = 5.0


class Echoes:
    """Of one value. A change of one's own is told before any that was made after it, and none is made
    before it that is not known (compare-and-set): so the first messages are its own, as many as it
    made.
    """

    __slots__ = ("_clock", "_expected", "_until")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._expected, self._until = clock, 0, -math.inf

    def sent(self) -> None:
        """A change is on its way."""
        self._expected, self._until = self._expected + 1, self._clock() + LATEST

    def refused(self) -> None:
        """It was not made."""
        self._expected = max(0, self._expected - 1)

    def forget(self) -> None:
        """Messages may be missing."""
        self._expected = 0

    def is_own(self) -> bool:
        """Whether the message that was just heard is of a change of one's own."""
        if self._expected and self._clock() < self._until:
            self._expected -= 1
            return True
        self._expected = 0
        return False
