"""``MemoryBreaker``: the rules of :class:`~mocra_scrapy.interfaces.IBreaker` over a :class:`StoredCrawl`
in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zope.interface import implementer

from mocra_scrapy.backends.embedded.circuits import SETTLED, Circuits, Record
from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.interfaces import IBreaker
from mocra_scrapy.models import (
    BreakerChange,
    BreakerRules,
    BreakerState,
    Circuit,
    Outcome,
    QueueOptions,
    SlotLimit,
    Tally,
    Threshold,
    Trip,
    Verdict,
    tally,
)

#: Seconds for which the crawl's last trip is told.
TOLD = 3600.0


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
        self._default = options.limit or SlotLimit()
        self._clock, self._wall = clock, wall
        self._owner = owner

    def _known(self) -> Circuits:
        known, now = self._crawl.circuits, self._clock()
        if known.run != self._crawl.run:  # what an older run met is over
            known.run, known.crawl, known.trip = self._crawl.run, Record(), None
            known.slots.clear()
        for name in [name for name, record in known.slots.items() if record.expires <= now]:
            del known.slots[name]
        if now > known.tripped_at + TOLD:
            known.trip = None
        return known

    async def report(self, outcomes: Sequence[Outcome]) -> Verdict:
        known = self._known()
        if self._crawl.finished or not self._crawl.run:
            return Verdict()
        slots, everything = tally(outcomes, self.rules)
        changes = [change for one in slots if (change := self._judge(one, known)) is not None]
        if everything is not None and self.rules.crawl is not None:
            self._judge_crawl(everything, self.rules.crawl, known)
        return Verdict(tuple(changes), known.trip)

    def _judge(self, one: Tally, known: Circuits) -> BreakerChange | None:
        threshold, now = self.rules.slot, self._clock()
        assert threshold is not None
        record = known.slots.setdefault(one.slot, Record())
        if not record.until:
            return self._count(one, record, threshold)
        over = now - record.until  # since when it may be tried
        if over >= one.failed_age and one.failed:
            return self._open(one.slot, record, Circuit.HALF_OPEN, (one.failed, one.total, dict(one.kinds)))
        if over < one.good_age:
            return None
        record.successes += max(0, one.total - one.failed)
        record.expires = self._crawl.throttle.probing[one.slot] = now + self.rules.longest
        if record.successes < self.rules.probes:
            return None
        known.slots[one.slot] = Record(expires=now + threshold.window)
        self._let_go(one.slot)
        return BreakerChange(one.slot, Circuit.HALF_OPEN, Circuit.CLOSED, total=record.successes)

    def _count(self, one: Tally, record: Record, threshold: Threshold) -> BreakerChange | None:
        """Of a slot that is closed."""
        now = self._clock()
        if one.failed and now - one.failed_age < record.since:
            return None
        record.count(one, threshold, now)
        total, failed, kinds = record.summed(threshold, now)
        if not threshold.passed(total, failed):
            return None
        return self._open(one.slot, record, Circuit.CLOSED, (failed, total, kinds))

    def _open(
        self, slot: str, record: Record, before: Circuit, counts: tuple[int, int, Mapping[str, int]]
    ) -> BreakerChange:
        rules, now, throttle = self.rules, self._clock(), self._crawl.throttle
        record.times += 1
        hold = min(rules.longest, rules.hold * 2.0 ** min(record.times - 1, 40))
        record.buckets, record.successes = {}, 0
        record.until, record.expires = now + hold, now + hold + rules.longest
        throttle.hold(slot, record.until, self._default, now)
        throttle.probe(slot, record.expires)
        for worker in throttle.permits.get(slot, ()):
            self._crawl.wakeups.wake(worker)
        failed, total, kinds = counts
        return BreakerChange(slot, before, Circuit.OPEN, hold, record.times, failed, total, kinds)

    def _let_go(self, slot: str) -> None:
        self._crawl.throttle.probing.pop(slot, None)
        self._crawl.slots.release(all_held=True)
        self._crawl.wakeups.wake_hungry()

    def _judge_crawl(self, one: Tally, threshold: Threshold, known: Circuits) -> None:
        now = self._clock()
        known.crawl.count(one, threshold, now)
        total, failed, kinds = known.crawl.summed(threshold, now)
        if threshold.passed(total, failed):
            known.trip, known.tripped_at = Trip(self._wall(), failed, total, kinds), now
            known.crawl = Record()

    async def look(self, slot: str) -> BreakerState:
        record, now = self._known().slots.get(slot), self._clock()
        if record is None:
            return BreakerState(slot)
        total, failed, kinds = record.summed(self.rules.slot, now)
        if not record.until:
            return BreakerState(slot, failed=failed, total=total, kinds=kinds)
        wait = max(0.0, record.until - now)
        circuit = Circuit.OPEN if wait else Circuit.HALF_OPEN
        return BreakerState(slot, circuit, wait, record.times, record.successes, failed, total, kinds)

    async def tripped(self, limit: int = 100) -> Sequence[BreakerState]:
        names = sorted(name for name, record in self._known().slots.items() if record.until)
        return [await self.look(name) for name in names[:limit]]

    async def reset(self, slot: str) -> bool:
        known = self._known()
        record = known.slots.get(slot)
        if record is None or not record.until:
            return False
        throttle, now = self._crawl.throttle, self._clock()
        known.slots[slot] = Record(since=now, expires=now + SETTLED)
        if throttle.held.get(slot) == record.until:
            throttle.lift(slot, now)
            for worker in throttle.permits.get(slot, ()):
                self._crawl.wakeups.wake(worker)
        self._let_go(slot)
        return True
