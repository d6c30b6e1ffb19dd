"""``MemoryStalls``: the verbs of :class:`~mocra_scrapy.interfaces.IStalls` over a
:class:`StoredCrawl` in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from zope.interface import implementer

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.interfaces import IStalls
from mocra_scrapy.models import Attempts, QueueOptions, StallRules, StallState


@implementer(IStalls)
class MemoryStalls:
    """One crawl's failing slots.

    Args:
        crawl: what is stored, shared by all tools of that name.
        rules, options: see the models.
        clock: seconds.
        owner: kept alive as long as this object.
    """

    def __init__(
        self,
        crawl: StoredCrawl,
        rules: StallRules,
        options: QueueOptions,
        *,
        clock: Callable[[], float],
        owner: object = None,
    ) -> None:
        self.rules = rules
        self._crawl = crawl
        self._options = options
        self._clock = clock
        self._owner = owner

    async def report(self, attempts: Sequence[Attempts]) -> Sequence[StallState]:
        crawl, now = self._crawl, self._clock()
        out: list[StallState] = []
        if crawl.finished or not crawl.run:
            return out
        for one in attempts:
            if not one.failed:
                crawl.open_again(one.slot, self._options.lifo)
                continue
            quota = max((state.wait for state in crawl.throttle.quota_states(one.slot, now)), default=0.0)
            told = replace(one, hold=max(one.hold, quota))  # nobody can try until then
            why = crawl.stalls.count(told, self.rules, now, crawl.is_idle)
            if why:
                known = crawl.stalls.failing[one.slot]
                crawl.give_up(one.slot, why, now)
                out.append(StallState(one.slot, known.attempts, known.clock, why))
        return out

    async def look(self, slot: str) -> StallState:
        return self._crawl.stalls.look(slot)

    async def reset(self, slot: str) -> bool:
        return self._crawl.open_again(slot, self._options.lifo)
