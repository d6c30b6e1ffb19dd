"""``MemoryRateLimiter``: the verbs of :class:`~mocra_scrapy.interfaces.IRateLimiter` over a
:class:`StoredCrawl` in this process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from zope.interface import implementer

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.interfaces import IRateLimiter
from mocra_scrapy.models import Booking, LimitChange, QueueOptions, Reservation, SlotLimit, SlotState


@implementer(IRateLimiter)
class MemoryRateLimiter:
    """The limits of one crawl; see :class:`~mocra_scrapy.backends.memory.queue.MemoryRequestQueue`
    for the arguments.
    """

    def __init__(
        self, crawl: StoredCrawl, options: QueueOptions, *, clock: Callable[[], float], owner: object = None
    ) -> None:
        self._crawl = crawl
        self._default = options.limit or SlotLimit()
        self._clock = clock
        self._owner = owner

    async def reserve(
        self, wishes: Sequence[Reservation], *, limits: Mapping[str, SlotLimit] | None = None
    ) -> Sequence[Booking]:
        throttle, now, answers = self._crawl.throttle, self._clock(), []
        throttle.limits.update(limits or {})
        for wish in wishes:
            due = throttle.departure(wish.names, self._default, now)
            booked = due - now <= wish.max_wait
            if booked:
                throttle.book(wish.names, due, self._default, now)
            answers.append(Booking(min(due - now, 3600.0), booked))  # paused: ask again in an hour
        return answers

    async def hold(self, name: str, seconds: float) -> None:
        self._hold(name, self._clock() + seconds)

    async def pause(self, name: str) -> None:
        self._hold(name, math.inf)

    def _hold(self, name: str, until: float) -> None:
        throttle = self._crawl.throttle
        throttle.hold(name, until, self._default, self._clock())
        self._wake(name)

    async def resume(self, name: str) -> None:
        self._crawl.throttle.lift(name, self._clock())
        self._crawl.circuits.half_open(name, self._clock())
        self._wake(name)
        self._stir()

    async def slow_down(self, name: str, *, floor: float, recovery: float, most: float, calm: float) -> float:
        return self._crawl.throttle.slow_down(name, self._default, self._clock(), (floor, recovery, most, calm))

    async def change(self, name: str, change: LimitChange) -> None:
        self._crawl.throttle.change(name, change, self._default, self._clock())
        self._stir()

    def _wake(self, name: str) -> None:
        """Those that have something of *name* are to hear of it."""
        for worker in self._crawl.throttle.permits.get(name, ()):
            self._crawl.wakeups.wake(worker)

    def _stir(self) -> None:
        """Limits changed: every list is looked at again, by those who found nothing."""
        self._crawl.slots.release(all_held=True)
        self._crawl.wakeups.wake_hungry()

    async def look(self, name: str) -> SlotState:
        return self._crawl.throttle.look(name, self._default, self._clock(), self._crawl.slots.pending_in(name))
