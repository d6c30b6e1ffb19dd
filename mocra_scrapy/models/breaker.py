"""What crosses the contract of the circuit breaker: thresholds, outcomes, what they brought about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

#: Parts that a window is divided into: what is older than the window leaves it part by part.
BUCKETS = 10
#: What slow downloads are called among the kinds of failures, of which they are none.
SLOW = "slow"


class Circuit(Enum):
    """How a slot stands with the breaker.

    ``CLOSED``: as usual. ``OPEN``: nothing departs. ``HALF_OPEN``: the hold is over, and one
    request at a time tries the site.
    """

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2


@dataclass(frozen=True, slots=True)
class Threshold:
    """When failures are too many. It is passed when either of the two numbers is reached.

    Attributes:
        window: seconds in which outcomes are counted; they leave it in :data:`BUCKETS` parts.
        failures: so many of them; 0: any number.
        share: so large a part of all downloads, 0 to 1; 0: any part.
        least: downloads in the window below which no share is looked at.
        kinds: the kinds of failure that count.
        slow: seconds from which a download is slow, be it a success; 0: none is. Of slots only.
        slow_share: so large a part of all downloads is slow, 0 to 1.
    """

    window: float
    failures: int = 0
    share: float = 0.0
    least: int = 10
    kinds: frozenset[str] = frozenset()
    slow: float = 0.0
    slow_share: float = 0.0

    def passed(self, total: int, failed: int, slow: int = 0) -> bool:
        enough = total >= self.least
        by_share = self.share > 0 and enough and failed >= self.share * total
        by_time = self.slow > 0 and enough and slow >= max(1, self.slow_share * total)
        return by_share or by_time or (self.failures > 0 and failed >= self.failures)


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """What a crawl wants of its breaker.

    Attributes:
        slot: when a slot opens; ``None``: never.
        crawl: when the whole crawl is stopped; ``None``: never.
        hold: seconds for which a slot that opens is held; doubled each time that a probe fails.
        longest: seconds of a hold, at most.
        probes: successes of a half-open slot after which it closes.
        ramp: seconds after closing in which the slot's rate and concurrency grow from a tenth to the
            whole; 0: at once.
        openings: openings in a row, the first one included, with which a slot is given up, see
            :class:`~mocra_scrapy.interfaces.IStalls`; 0: never.
    """

    slot: Threshold | None = None
    crawl: Threshold | None = None
    hold: float = 30.0
    longest: float = 600.0
    probes: int = 3
    openings: int = 0
    ramp: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How requests of a slot ended, *count* of them.

    Attributes:
        kind: of the failure, ``mocra_scrapy.models.failure_kinds`` has the list; empty: it was
            downloaded.
        age: seconds since the youngest of them departed.
        slow: whether they took as long as :attr:`Threshold.slow` of slots.
        download: whether it tells of downloads. What goes wrong later, in a callback or a pipeline,
            is told beside the download's own.
    """

    slot: str
    kind: str = ""
    count: int = 1
    age: float = 0.0
    download: bool = True
    slow: bool = False


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """A slot opened (``after`` is ``OPEN``), for *hold* seconds, the *times*-th time in a row; or
    it closed. *given_up*: why it was given up, in place of being held.
    """

    slot: str
    before: Circuit
    after: Circuit
    hold: float = 0.0
    times: int = 0
    failed: int = 0
    total: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)
    given_up: str = ""


@dataclass(frozen=True, slots=True)
class Trip:
    """The last time that the crawl's own threshold was passed. *at*: server clock, seconds since
    the epoch.
    """

    at: float
    failed: int
    total: int
    kinds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a report: what this report changed, and the crawl's last trip, whoever caused
    it.
    """

    changes: Sequence[BreakerChange] = ()
    trip: Trip | None = None


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A slot as the breaker knows it; *wait*: seconds until an open one is tried again; counts are
    of the window.
    """

    slot: str
    circuit: Circuit = Circuit.CLOSED
    wait: float = 0.0
    times: int = 0
    successes: int = 0
    failed: int = 0
    total: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Tally:
    """The outcomes of one slot (or all of them) under one threshold; ages in seconds, infinite:
    there is none.
    """

    slot: str
    total: int = 0
    failed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    good_age: float = float("inf")
    failed_age: float = float("inf")

    def add(self, outcome: Outcome, threshold: Threshold) -> None:
        if outcome.download:
            self.total += outcome.count
        if outcome.kind and outcome.kind in threshold.kinds:
            self.failed += outcome.count
            self.kinds[outcome.kind] = self.kinds.get(outcome.kind, 0) + outcome.count
            self.failed_age = min(self.failed_age, outcome.age)
        elif outcome.slow and threshold.slow:
            self.kinds[SLOW] = self.kinds.get(SLOW, 0) + outcome.count
            self.failed_age = min(self.failed_age, outcome.age)
        elif outcome.download:
            self.good_age = min(self.good_age, outcome.age)


def tally(outcomes: Iterable[Outcome], rules: BreakerRules) -> tuple[list[Tally], Tally | None]:
    """*outcomes* as the thresholds count them: one tally a slot, and that of the crawl."""
    slots: dict[str, Tally] = {}
    crawl = Tally("")
    for outcome in outcomes:
        if rules.slot is not None:
            slots.setdefault(outcome.slot, Tally(outcome.slot)).add(outcome, rules.slot)
        if rules.crawl is not None:
            crawl.add(outcome, rules.crawl)
    found = [one for one in slots.values() if one.total or one.failed]
    return found, crawl if rules.crawl is not None and (crawl.total or crawl.failed) else None
