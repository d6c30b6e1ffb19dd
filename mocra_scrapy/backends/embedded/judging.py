"""The rules of :class:`~mocra_scrapy.interfaces.IBreaker`: when a slot opens, is tried, and closes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mocra_scrapy.backends.embedded.circuits import SETTLED, Record
from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.models import (
    BreakerChange,
    BreakerRules,
    BreakerState,
    Circuit,
    Outcome,
    QueueOptions,
    Tally,
    Threshold,
    Trip,
    Verdict,
    tally,
)
from mocra_scrapy.models.breaker import SLOW
from mocra_scrapy.models.failure_kinds import PROXY
from mocra_scrapy.models.stalls import why_opened


class Judge:
    """What one call makes of one crawl's circuits.

    Args:
        crawl: what is stored.
        rules, options: see the models.
        now, wall: the backend's clock, and seconds since the epoch.
    """

    def __init__(
        self, crawl: StoredCrawl, rules: BreakerRules, options: QueueOptions, *, now: float, wall: float
    ) -> None:
        self.rules = rules
        self._crawl = crawl
        self._now, self._wall = now, wall
        self._known = crawl.circuits
        self._known.forget(crawl.run, now)

    def report(self, outcomes: Sequence[Outcome]) -> Verdict:
        """Count *outcomes*, and change what they change."""
        if self._crawl.finished or not self._crawl.run:
            return Verdict()
        slots, everything = tally(outcomes, self.rules)
        changes = [change for one in slots if (change := self._judge(one)) is not None]
        if everything is not None and self.rules.crawl is not None:
            self._judge_crawl(everything, self.rules.crawl)
        return Verdict(tuple(changes), self._known.trip)

    def _judge(self, one: Tally) -> BreakerChange | None:
        record = self._known.slots.get(one.slot) or Record()
        threshold = self.rules.slot
        assert threshold is not None
        change = self._try(one, record) if record.until else self._count(one, record, threshold)
        if change is not None and change.given_up:
            return change
        closed = change is not None and change.after is Circuit.CLOSED
        self._known.slots[one.slot] = Record(expires=self._now + threshold.window) if closed else record
        if closed:
            self._let_go(one.slot)
        return change

    def _try(self, one: Tally, record: Record) -> BreakerChange | None:
        """Of a slot that is open: downloads after its hold are probes."""
        now = self._now
        over = now - record.until  # since when it may be tried
        if over >= one.failed_age and (one.failed or one.kinds.get(SLOW)):
            return self._open(one.slot, record, Circuit.HALF_OPEN, (one.failed, one.total, dict(one.kinds)))
        if over < one.good_age:
            return None
        record.successes += max(0, one.total - one.failed)
        record.expires = self._crawl.throttle.probing[one.slot] = now + self.rules.longest
        self._crawl.throttle.next_probe(one.slot, now)
        self._crawl.look_again()
        if record.successes < self.rules.probes:
            return None
        return BreakerChange(one.slot, Circuit.HALF_OPEN, Circuit.CLOSED, total=record.successes)

    def _count(self, one: Tally, record: Record, threshold: Threshold) -> BreakerChange | None:
        """Of a slot that is closed."""
        now = self._now
        if one.failed and now - one.failed_age < record.since:
            return None
        record.count(one, threshold, now)
        total, failed, kinds = record.summed(threshold, now)
        if not threshold.passed(total, failed, kinds.get(SLOW, 0)):
            return None
        return self._open(one.slot, record, Circuit.CLOSED, (failed, total, kinds))

    def _open(
        self, slot: str, record: Record, before: Circuit, counts: tuple[int, int, Mapping[str, int]]
    ) -> BreakerChange:
        rules, now = self.rules, self._now
        record.times += 1
        failed, total, kinds = counts
        if 0 < rules.openings <= record.times and not slot.startswith(PROXY):
            why = why_opened(record.times)
            self._crawl.give_up(slot, why, now)
            return BreakerChange(slot, before, Circuit.OPEN, 0.0, record.times, failed, total, kinds, why)
        hold = min(rules.longest, rules.hold * 2.0 ** min(record.times - 1, 40))
        self._hold(slot, record, now + hold)
        return BreakerChange(slot, before, Circuit.OPEN, hold, record.times, failed, total, kinds)

    def _hold(self, slot: str, record: Record, until: float) -> None:
        rules, now, throttle = self.rules, self._now, self._crawl.throttle
        record.buckets, record.successes = {}, 0
        record.until, record.longest = until, rules.longest
        record.expires = record.until + rules.longest
        throttle.next_probe(slot, now)
        throttle.hold(slot, record.until, now)
        self._known.outlast(record, throttle.held[slot])
        throttle.probe(slot, record.expires)
        self._crawl.look_again()  # lists that wait for the next probe wait for the end of the hold now
        self._crawl.wake_holders(slot)

    def open(self, slot: str, seconds: float | None) -> bool:
        """A person opens *slot*; ``False``: the run is over."""
        if self._crawl.finished or not self._crawl.run:
            return False
        record = replace(self._known.slots.get(slot) or Record())
        record.times = max(1, record.times)
        hold = self.rules.hold if seconds is None else seconds
        self._hold(slot, record, max(record.until, self._now + hold))
        self._known.slots[slot] = record
        return True

    def _let_go(self, slot: str) -> None:
        if self.rules.ramp:
            self._crawl.throttle.ramps[slot] = (self._now, self.rules.ramp)
        self._crawl.throttle.next_probe(slot, self._now)
        self._crawl.throttle.probing.pop(slot, None)
        self._crawl.look_again()

    def _judge_crawl(self, one: Tally, threshold: Threshold) -> None:
        known, now = self._known, self._now
        known.crawl.count(one, threshold, now)
        total, failed, kinds = known.crawl.summed(threshold, now)
        if threshold.passed(total, failed):
            known.trip, known.tripped_at = Trip(self._wall, failed, total, kinds), now
            known.crawl = Record()

    def look(self, slot: str) -> BreakerState:
        """How *slot* stands."""
        record, now = self._known.slots.get(slot), self._now
        if record is None:
            return BreakerState(slot)
        total, failed, kinds = record.summed(self.rules.slot, now)
        if not record.until:
            return BreakerState(slot, failed=failed, total=total, kinds=kinds)
        wait = max(0.0, record.until - now)
        circuit = Circuit.OPEN if wait else Circuit.HALF_OPEN
        return BreakerState(slot, circuit, wait, record.times, record.successes, failed, total, kinds)

    def tripped(self, limit: int = 100) -> Sequence[BreakerState]:
        """Slots that are open or half-open."""
        names = sorted(name for name, record in self._known.slots.items() if record.until)
        return [self.look(name) for name in names[:limit]]

    def reset(self, slot: str) -> bool:
        """Close *slot*; ``False``: it was not open."""
        known = self._known
        record = known.slots.get(slot)
        if record is None or not record.until:
            return False
        throttle, now = self._crawl.throttle, self._now
        known.slots[slot] = Record(since=now, expires=now + SETTLED)
        if throttle.held.get(slot) == record.until:
            throttle.lift(slot, now)
            self._crawl.wake_holders(slot)
        self._let_go(slot)
        return True
