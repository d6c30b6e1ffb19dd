"""``MemoryRateLimiter``: the verbs of :class:`~mocra_scrapy.interfaces.IRateLimiter` over a
:class:`StoredCrawl` in this process.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from zope.interface import implementer

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.backends.embedded.permits import come_down
from mocra_scrapy.backends.embedded.throttle import Throttle
from mocra_scrapy.interfaces import IRateLimiter
from mocra_scrapy.models import Booking, LimitChange, QueueOptions, Quota, Reservation, SlotState
from mocra_scrapy.models.rule_sets import smallest


@implementer(IRateLimiter)
class MemoryRateLimiter:
    """The limits of one crawl; see :class:`~mocra_scrapy.backends.memory.queue.MemoryRequestQueue`
    for the arguments.
    """

    def __init__(
        self, crawl: StoredCrawl, options: QueueOptions, *, clock: Callable[[], float], owner: object = None
    ) -> None:
        self._crawl = crawl
        self._own = options.rules
        self._clock = clock
        self._owner = owner

    async def reserve(self, wishes: Sequence[Reservation]) -> Sequence[Booking]:
        with self._throttle() as throttle:
            for wish in wishes:
                if wish.instead is not None:
                    self._crawl.slots.turns.sooner(wish.instead.names)
            return throttle.reserve(wishes, self._clock())

    @contextmanager
    def _throttle(self) -> Iterator[Throttle]:
        throttle = self._crawl.throttle
        with throttle.rules.beside(self._own):
            yield throttle

    async def hold(self, name: str, seconds: float) -> None:
        self._hold(name, self._clock() + seconds)

    async def pause(self, name: str) -> None:
        self._hold(name, math.inf)

    def _hold(self, name: str, until: float) -> None:
        with self._throttle() as throttle:
            throttle.hold(name, until, self._clock())
            self._crawl.circuits.held(name, until, throttle)
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
        with self._throttle() as throttle:
            measured = rate / throttle.part_of(name, worker)
            return throttle.slow_down(name, self._clock(), (floor, recovery, most, calm), measured)

    async def change(self, name: str, change: LimitChange) -> None:
        with self._throttle() as throttle:
            throttle.change(name, change, self._clock())
            come_down(self._crawl, self._clock(), [name])
        self._crawl.look_again()

    async def set_quotas(self, name: str, quotas: Sequence[Quota] | None) -> None:
        with self._throttle() as throttle:
            throttle.set_quotas(name, None if quotas is None else smallest(quotas))
        self._crawl.look_again()

    async def reset(self, name: str) -> None:
        crawl, now = self._crawl, self._clock()
        with self._throttle() as throttle:
            throttle.reset(name, now)
            come_down(crawl, now, [name])
            record = crawl.circuits.slots.get(name)
            if name in throttle.held and not (record and record.until == throttle.held[name]):
                throttle.lift(name, now)
                crawl.stalls.resumed(name, now)
        crawl.wake_holders(name)
        crawl.look_again()

    async def slots(self) -> Mapping[str, int]:
        crawl, throttle = self._crawl, self._crawl.throttle
        known = (
            throttle.permits,
            throttle.changes,
            throttle.slowed,
            throttle.held,
            throttle.quotas,
            crawl.circuits.slots,
        )
        found = dict.fromkeys((name for table in known for name in table), 0)
        found.update(dict.fromkeys((*crawl.stalls.failing, *crawl.stalls.given_up), 0))
        for name, n in crawl.slots.pending().items():
            found[name] = n
        return found

    async def look(self, name: str) -> SlotState:
        with self._throttle() as throttle:
            return throttle.look(name, self._clock(), self._crawl.slots.pending_in(name))
