"""When, by this process's clock, it is what the store says.

An answer tells how long a departure has to wait, counted from when the store gave it. It is read later: the
network takes its time, and a callback that blocks the event loop for three seconds leaves it unread for
as long. Counted from when it is read, departures would come three seconds late, unnoticed, together with punctual
ones of other workers.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mocra_scrapy.models import Departure

T = TypeVar("T")

#: Answers of one shard that are compared: the one that was read soonest says how its clock differs from ours.
COMPARED = 16
#: Seconds that an answer may take for it to say how the clocks differ, or so many times the quickest exchange; and how
#: many that took longer have to agree that the network is like this. One that was read late can't be told from them.
SURE, SLOWER, FEW = 0.1, 3, 3


class StoreClock:
    """Of one worker. Shards may be on servers whose clocks differ.

    Attributes:
        asked, read: when the last exchange was sent, and its answer read (monotonic).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # shard -> (our clock minus the store's, asked, seconds that the answer took) each
        self._behind: dict[int, deque[tuple[float, float, float]]] = {}
        self._quickest = 0.0  # exchange, in seconds
        self.asked, self.read = 0.0, math.nan  # none was read yet

    async def sent(self, call: Awaitable[T]) -> T:
        """*call*, an exchange, is sent now; its answer."""
        self.asked = self._clock()
        answer = await call
        self.read = self._clock()  # it may be taken in later: dictionaries are fetched first
        took = self.read - self.asked
        if not 0 < self._quickest < took:
            self._quickest = took
        return answer

    def at_once(self) -> None:
        """An exchange is sent now, and answered now."""
        self.asked = self.read = self._clock()

    def instant(self, wait: float, departure: Departure | None, shard: int, asked: float | None = None) -> float:
        """When one departs that was to wait for *wait* seconds (monotonic): not before what was asked at *asked* could
        have been answered, and not later than if the answer were fresh. It may have gone by; so it has for who can't
        know it yet, and books again where it leaves.
        """
        now = self._clock() if asked is not None or math.isnan(self.read) else self.read
        asked = self.asked if asked is None else asked
        if departure is None:
            return now + wait
        known = self._behind.get(shard)
        if known is None:
            known = self._behind[shard] = deque(maxlen=COMPARED)
        if not known or known[-1][1] != asked:  # one answer has many leases
            known.append((now - (departure.at - wait), asked, now - asked))
        behind, _, took = min(known)
        if took > max(SURE, SLOWER * self._quickest) and len(known) < FEW:
            return now - 2 * SURE
        at = departure.at + behind
        return min(now + wait, max(at, asked + wait))
