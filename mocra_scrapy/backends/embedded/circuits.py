"""What the breaker knows of one crawl: outcomes by parts of the window, and who is open since when."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field, replace

from mocra_scrapy.backends.embedded.throttle import Throttle
from mocra_scrapy.models import BUCKETS, Tally, Threshold, Trip

#: Seconds after a reset in which downloads that departed before it may still fail.
SETTLED = 600.0
#: Seconds for which the crawl's last trip is told.
TOLD = 3600.0


@dataclass(slots=True)
class Record:
    """What is known of a slot, or of the crawl.

    Attributes:
        buckets: part of the window -> ``[downloads, failures, {kind: failures}]``.
        opened, until: when it was opened and until when it is held; ``until`` 0: it is closed.
        times: openings in a row.
        successes: probes that went well.
        since: when it was reset: what departed before says nothing any more.
        expires: when it is forgotten.
        longest: seconds for which it may be tried before.
    """

    buckets: dict[int, tuple[int, int, dict[str, int]]] = field(default_factory=dict)
    until: float = 0.0
    times: int = 0
    successes: int = 0
    since: float = -math.inf
    expires: float = math.inf
    longest: float = 0.0

    def count(self, one: Tally, threshold: Threshold, now: float) -> None:
        part = int(now / (threshold.window / BUCKETS))
        self.buckets = {n: bucket for n, bucket in self.buckets.items() if n > part - BUCKETS}
        total, failed, kinds = self.buckets.get(part, (0, 0, {}))
        self.buckets[part] = (total + one.total, failed + one.failed, _added(kinds, one.kinds))
        self.expires = max(now + threshold.window, self.since + SETTLED)

    def summed(self, threshold: Threshold | None, now: float) -> tuple[int, int, dict[str, int]]:
        first = -math.inf if threshold is None else int(now / (threshold.window / BUCKETS)) - BUCKETS
        total, failed, kinds = 0, 0, dict[str, int]()
        for n, bucket in self.buckets.items():
            if n > first:
                total, failed, kinds = total + bucket[0], failed + bucket[1], _added(kinds, bucket[2])
        return total, failed, kinds


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {kind: one.get(kind, 0) + other.get(kind, 0) for kind in (*one, *other)}


@dataclass(slots=True)
class Circuits:
    """Of one crawl, shared by all its breakers. ``slots`` may be a mapping of rows: a record that
    changed is stored anew.
    """

    run: int = 0
    slots: MutableMapping[str, Record] = field(default_factory=dict)
    crawl: Record = field(default_factory=Record)
    trip: Trip | None = None
    tripped_at: float = -math.inf

    def half_open(self, slot: str, now: float) -> None:
        """Its hold was ended by hand: what departs from now on tries the site."""
        record = self.slots.get(slot)
        if record is not None and record.until > now:
            self.slots[slot] = replace(record, until=now)

    def held(self, slot: str, until: float, throttle: Throttle) -> None:
        """Somebody else holds *slot*: a circuit that is not closed is not forgotten meanwhile."""
        record = self.slots.get(slot)
        if record is not None and record.until:
            record = self.slots[slot] = replace(record)
            self.outlast(record, until)
            throttle.probing[slot] = record.expires

    def outlast(self, record: Record, until: float) -> None:
        """*record* is kept for as long as it may be tried after *until*."""
        if not math.isinf(until):
            record.expires = max(record.expires, until + record.longest)

    def drop(self, slot: str, throttle: Throttle, now: float) -> None:
        """*slot* is as if it had never failed; its hold ends, any other hold stays."""
        record = self.slots.pop(slot, None)
        throttle.probing.pop(slot, None)
        if record is not None and record.until and throttle.held.get(slot) == record.until:
            throttle.lift(slot, now)

    def forget(self, run: int, now: float) -> None:
        """What an older run met, what is unheard of, a trip that was told for long enough."""
        if self.run != run:
            self.run, self.crawl, self.trip = run, Record(), None
            self.slots.clear()
        for name in [name for name, record in self.slots.items() if record.expires <= now]:
            del self.slots[name]
        if now > self.tripped_at + TOLD:
            self.trip = None
