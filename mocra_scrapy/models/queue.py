"""What crosses :class:`~mocra_scrapy.interfaces.IRequestQueue`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from mocra_scrapy.models.budgets import Withdrawn
from mocra_scrapy.models.rule_sets import RuleSet
from mocra_scrapy.models.throttle import Departure

#: Bounds of :attr:`Entry.priority`. Beyond them a double (a sorted set's score) can't tell
#: neighbours apart.
MIN_PRIORITY = -(2**51)
MAX_PRIORITY = 2**51
#: Bytes of the bodies that one exchange leases at most, but for a single one that is larger: on a slow
#: link an answer must arrive before its caller gives it up and asks once more.
LEASED_BYTES = 2**20


class Seeding(str, Enum):
    """Where a run of a crawl stands with its ``start()``."""

    OPEN = "open"  #: nobody runs it; the first worker that claims it may
    CLAIMED = "claimed"  #: a living worker runs it
    DONE = "done"  #: it was exhausted (or failed for good) and all it gave is stored


class Finish(str, Enum):
    """The answer of :meth:`~mocra_scrapy.interfaces.IRequestQueue.finish`."""

    BUSY = "busy"  #: there is work somewhere, or seeding is not complete
    WON = "won"  #: the run is finished, and it was this call that ended it
    FINISHED = "finished"  #: the run was finished before


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """How one crawl's queue behaves. All workers of a crawl must agree on ``shards``; the backend
    checks it.

    Attributes:
        lease: seconds without an exchange after which a worker counts as dead and loses all it
            holds.
        max_deliveries: hand-outs after which an entry is a dead letter, 1 or more.
        isolate_after: an entry that was lost with this many workers is handed out to a worker only
            while that worker holds no other such *suspect*, so that the one page that kills
            processes is told from its neighbours.
        lifo: whether the newest entry of a priority is handed out first. Start entries are always
            first in, first out.
        seen_ttl: seconds for which a fingerprint is remembered at least (and 1.25 times that at
            most); ``None``: as long as the run.
        keep_seen: whether a new run keeps the fingerprints of the finished one.
        shards: parts that a crawl is spread over; ``None``: the backend's own choice at the first
            join.
        max_dead: dead letters kept; the oldest go first.
        dead_ttl: seconds for which a dead letter is kept; ``None``: without limit.
        dead_bodies: responses kept beside dead letters, of each kind of failure; 0: none.
        dead_bodies_bytes: bytes of all of these as they are stored, at most.
        rules: the limits that a worker of these options brings with it; ``None``: hand-out to it
            knows no limits, and ``full`` and ``per_slot`` bound it.
        scopes: whether entries may have scopes: then the whole crawl is on one shard.
        lookahead: seconds that departures are booked ahead, so that a fast slot needs no call for
            each.
    """

    lease: float = 60.0
    max_deliveries: int = 5
    isolate_after: int = 2
    lifo: bool = False
    seen_ttl: float | None = None
    keep_seen: bool = False
    shards: int | None = None
    max_dead: int = 100_000
    dead_ttl: float | None = None
    dead_bodies: int = 3
    dead_bodies_bytes: int = 32 * 2**20
    rules: RuleSet | None = None
    lookahead: float = 0.25
    scopes: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A request on its way into the queue.

    Attributes:
        body: the request, encoded; opaque to the queue.
        slot: Scrapy's download slot; hand-out is fair between slots.
        priority: higher is handed out sooner within its slot, as in
            :attr:`scrapy.Request.priority`; from :data:`MIN_PRIORITY` to :data:`MAX_PRIORITY`.
        fingerprint: any bytes; an entry whose fingerprint was stored before is not stored again.
            ``None``: never filtered.
        start: whether it comes from ``start()``: within a priority these come last, and first in,
            first out.
        delay: seconds before it may be handed out, 0 or more.
        scopes: whose limits it counts for beside its slot's, each beginning with ``@``.
        budgets: names of budgets that it counts for, see :mod:`mocra_scrapy.models.budgets`.
        again: whether it was accepted before and comes back: no budget counts or refuses it as new.
        parent: the lease in whose course it was made, if it is worth nothing without it; ``None``: it is
            stored in any case.
    """

    body: bytes
    slot: str = ""
    priority: int = 0
    fingerprint: bytes | None = None
    start: bool = False
    delay: float = 0.0
    scopes: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    again: bool = False
    parent: Lease | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of one worker to process one entry, for as long as the worker keeps calling.

    Attributes:
        token: opaque; names this hand-out and no other of its shard, over all of the worker's life.
            With the worker's name it is the fencing token: it is worth nothing once the entry was
            taken away.
        body, slot, priority, start: as they were pushed.
        deliveries: 1 on the first hand-out, one more after each worker that died (not: released)
            holding it.
        first_lost_at: server clock when it was first taken back from a dead worker; ``None``:
            never.
        shard: where it is stored.
        wait: seconds after this answer before it may depart.
        scopes: as they were pushed.
        probe: whether it tries a slot that the breaker had opened: its failure is none of its own.
        departure: what is booked for it; ``None``: it has no interval to keep.
        budgets: as they were pushed.
    """

    token: str
    body: bytes = field(repr=False)
    slot: str = ""
    priority: int = 0
    start: bool = False
    deliveries: int = 1
    first_lost_at: float | None = None
    shard: int = 0
    wait: float = 0.0
    scopes: tuple[str, ...] = ()
    probe: bool = False
    departure: Departure | None = None
    budgets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueSize:
    """How many entries are in which state, and how many fingerprints are remembered."""

    pending: int = 0
    delayed: int = 0
    leased: int = 0
    dead: int = 0
    seen: int = 0

    @property
    def unfinished(self) -> int:
        """Entries that somebody must still process: pending + delayed + leased."""
        return self.pending + self.delayed + self.leased

    def __add__(self, other: QueueSize) -> QueueSize:
        return QueueSize(
            self.pending + other.pending,
            self.delayed + other.delayed,
            self.leased + other.leased,
            self.dead + other.dead,
            self.seen + other.seen,
        )


@dataclass(frozen=True, slots=True)
class Audit:
    """What is counted of a crawl, and what is there.

    Attributes:
        pending, leased: as they are counted.
        found_pending, found_leased: as they were found.
        lists: lists with entries that no turn of a slot would reach.
        workers: workers that hold something (requests, permits), and whose death nobody would
            notice.
        names: slots that are said to have something, and have nothing.
        settled: whether nobody worked meanwhile, so that the counts can be compared.
        repaired: whether the counts were set to what was found.
    """

    pending: int = 0
    leased: int = 0
    found_pending: int = 0
    found_leased: int = 0
    lists: int = 0
    workers: int = 0
    names: int = 0
    settled: bool = True
    repaired: bool = True

    @property
    def differs(self) -> bool:
        """Whether anything is wrong, for sure."""
        counts = (self.pending, self.leased) != (self.found_pending, self.found_leased)
        return bool(self.lists or self.workers or self.names) or (self.settled and counts)

    def __add__(self, other: Audit) -> Audit:
        return Audit(
            self.pending + other.pending,
            self.leased + other.leased,
            self.found_pending + other.found_pending,
            self.found_leased + other.found_leased,
            self.lists + other.lists,
            self.workers + other.workers,
            self.names + other.names,
            self.settled and other.settled,
            self.repaired and other.repaired,
        )


@dataclass(frozen=True, slots=True)
class CrawlState:
    """Where a crawl stands.

    Attributes:
        run: 1 for the first run of a crawl, one more for each fresh start.
        finished: whether this run has ended.
        seeding: see :class:`Seeding`.
        resumed: (answer of ``join`` only) whether the run had begun before.
        born: tells the crawl's record from one that took its place, after somebody deleted it or
            the server came back empty; 0: there is none.
        others: (answer of ``join`` only) how many other workers live.
    """

    run: int
    finished: bool = False
    seeding: Seeding = Seeding.OPEN
    resumed: bool = False
    born: int = field(default=0, compare=False)
    others: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Exchange:
    """The answer to one :meth:`~mocra_scrapy.interfaces.IRequestQueue.exchange`.

    Attributes:
        stored: for each push, whether it was new (``False``: its fingerprint was known, nothing was
            stored).
        acked, released, buried: for each of these, whether the entry was still this worker's.
        leases: at most as many as were wanted, in the order in which they should be processed.
        size: counts after this call.
        next_due: seconds until something may become leasable without anybody's call (a delay that
            ends, a worker that dies); ``None``: nothing is waiting.
        state: where the crawl stands.
        lost: whether this worker had been declared dead since its last call, so that what it held
            was taken away.
        reclaimed: entries that this call took from dead workers and gave back.
        given_up: entries that this call took from dead workers and made dead letters.
        kept: for each burial, whether its response was kept beside the letter.
        stalled: entries of slots that were given up, see
            :class:`~mocra_scrapy.interfaces.IStalls`, that this call made dead letters.
        permits: slots and scopes of which this worker has another number of permits now, and how
            many: more, or (others ask for some) fewer, which it confirms by ``keep`` as soon as no
            more are in use.
        crowded: slots that have something for this worker but no place: others have them all.
        held: slots and scopes of which this worker has something that nobody may start for so many
            seconds; 0: this has been lifted. Told once.
        silence: seconds for which nobody called before this call, where that was so long that all
            leases were extended by it.
        rules: version of the rules in force, which grows with each change.
        rule_sets: how many different ones the living workers have.
        refused: place of a push -> the budget that is used up; it was not stored, and is not known
            to the filter.
        withdrawn: what waited and is gone, because a budget of it is used up.
        positioned: whether the call's positions moved, see :class:`~mocra_scrapy.interfaces.seeding.ISeeding`.
        stale: places of pushes whose parent was not this worker's any more; they were not stored, and
            are not known to the filter.
    """

    stored: Sequence[bool]
    acked: Sequence[bool]
    released: Sequence[bool]
    buried: Sequence[bool]
    leases: Sequence[Lease]
    size: QueueSize
    next_due: float | None
    state: CrawlState
    lost: bool = False
    reclaimed: int = 0
    given_up: int = 0
    permits: Mapping[str, int] = field(default_factory=dict)
    crowded: Sequence[str] = ()
    held: Mapping[str, float] = field(default_factory=dict)
    silence: float = 0.0
    stalled: int = 0
    rules: int = 0
    rule_sets: int = 1
    refused: Mapping[int, str] = field(default_factory=dict)
    withdrawn: Sequence[Withdrawn] = ()
    kept: Sequence[bool] = ()
    positioned: bool = False
    stale: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """A worker as the queue knows it: ``expires_in`` seconds of its lease are left (negative: it is
    dead).
    """

    name: str
    expires_in: float
    held: int
