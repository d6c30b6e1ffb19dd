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
        throttle = self._crawl.throttle
        throttle.limits.update(limits or {})
        return throttle.reserve(wishes, self._default, self._clock())

    async def hold(self, name: str, seconds: float) -> None:
        self._hold(name, self._clock() + seconds)

    async def pause(self, name: str) -> None:
        self._hold(name, math.inf)

    def _hold(self, name: str, until: float) -> None:
        self._crawl.throttle.hold(name, until, self._default, self._clock())
        self._crawl.circuits.held(name, until, self._crawl.throttle)
        self._crawl.wake_holders(name)

    async def resume(self, name: str) -> None:
        self._crawl.throttle.lift(name, self._clock())
        self._crawl.circuits.half_open(name, self._clock())
        self._crawl.stalls.resumed(name, self._clock())
        self._crawl.wake_holders(name)
        self._crawl.look_again()

    async def slow_down(
        self,
        name: str,
        *,
        floor: float,
        recovery: float,
        most: float,
        calm: float,
        rate: float = 0.0,
        worker: str = "",
    ) -> float:
        throttle = self._crawl.throttle
        measured = rate / throttle.part_of(name, worker)
        rule = (floor, recovery, most, calm)
        return throttle.slow_down(name, self._default, self._clock(), rule, measured)

    async def change(self, name: str, change: LimitChange) -> None:
        self._crawl.throttle.change(name, change, self._default, self._clock())
        self._crawl.look_again()

    async def look(self, name: str) -> SlotState:
        return self._crawl.throttle.look(name, self._default, self._clock(), self._crawl.slots.pending_in(name))
