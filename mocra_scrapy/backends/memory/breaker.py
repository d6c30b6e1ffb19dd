"""``MemoryBreaker``: the verbs of :class:`~mocra_scrapy.interfaces.IBreaker` over a
:class:`StoredCrawl` in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zope.interface import implementer

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.backends.embedded.judging import Judge
from mocra_scrapy.interfaces import IBreaker
from mocra_scrapy.models import BreakerRules, BreakerState, Outcome, QueueOptions, Verdict


@implementer(IBreaker)
class MemoryBreaker:
    """One crawl's circuits.

    Args:
        crawl: what is stored, shared by all tools of that name.
        rules, options: see the models.
        clock, wall: seconds, and seconds since the epoch.
        owner: kept alive as long as this breaker.
    """

    def __init__(
        self,
        crawl: StoredCrawl,
        rules: BreakerRules,
        options: QueueOptions,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        owner: object = None,
    ) -> None:
        self.rules = rules
        self._crawl = crawl
        self._options = options
        self._clock, self._wall = clock, wall
        self._owner = owner

    def _judge(self) -> Judge:
        return Judge(self._crawl, self.rules, self._options, now=self._clock(), wall=self._wall())

    async def report(self, outcomes: Sequence[Outcome]) -> Verdict:
        return self._judge().report(outcomes)

    async def look(self, slot: str) -> BreakerState:
        return self._judge().look(slot)

    async def tripped(self, limit: int = 100) -> Sequence[BreakerState]:
        return self._judge().tripped(limit)

    async def open(self, slot: str, seconds: float | None = None) -> bool:
        return self._judge().open(slot, seconds)

    async def reset(self, slot: str) -> bool:
        return self._judge().reset(slot)
