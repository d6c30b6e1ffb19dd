"""A plain, slow, obvious queue that says what an answer may be. Everything is looked up in one list
of records.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mocra_scrapy.models import Entry, Exchange, Lease, QueueOptions, QueueSize

PENDING, DELAYED, LEASED, DEAD, GONE = "pending", "delayed", "leased", "dead", "gone"


@dataclass(eq=False)
class Record:
    entry: Entry
    state: str
    place: float  # within its slot and rank: smaller is next
    lost: int = 0
    due: float = 0.0
    owner: str = ""
    token: str = ""
    handed: int = 0  # the how-manieth hand-out of all it was

    @property
    def rank(self) -> int:
        return 2 * self.entry.priority + (0 if self.entry.start else 1)


@dataclass
class Known:
    """A worker."""

    expires: float
    lost: bool = False
    gone: bool = False  # reclaimed; comes back with its next call


@dataclass
class Model:
    options: QueueOptions
    now: float = 0.0
    records: list[Record] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)
    workers: dict[str, Known] = field(default_factory=dict)
    steps: int = 0

    def step(self) -> int:
        self.steps += 1
        return self.steps

    def of(self, state: str) -> list[Record]:
        return [r for r in self.records if r.state == state]

    def held(self, worker: str) -> list[Record]:
        return sorted((r for r in self.of(LEASED) if r.owner == worker), key=lambda r: r.handed)

    def size(self) -> QueueSize:
        return QueueSize(*(len(self.of(s)) for s in (PENDING, DELAYED, LEASED, DEAD)), len(self.seen))

    def suspect(self, record: Record) -> bool:
        return record.lost >= self.options.isolate_after

    def find(self, worker: str, lease: Lease) -> Record | None:
        return next((r for r in self.held(worker) if r.token == lease.token), None)

    # ------------------------------------------------------------------ what calls do

    def line_up(self, record: Record) -> None:
        at = self.step()
        record.state = PENDING
        record.place = -at if self.options.lifo and not record.entry.start else at

    def give_back(self, records: Sequence[Record]) -> None:
        """The first of *records* will be the next."""
        for record in reversed(records):
            record.state, record.owner, record.place = PENDING, "", -self.step()

    def call(self, worker: str) -> bool:
        """Renews; whether it lost something since its last call."""
        known = self.workers.setdefault(worker, Known(0))
        known.expires, known.gone = self.now + self.options.lease, False
        lost, known.lost = known.lost, False
        return lost

    def push(self, entries: Sequence[Entry]) -> list[bool]:
        stored = []
        for entry in entries:
            new = entry.fingerprint is None or entry.fingerprint not in self.seen
            stored.append(new)
            if new:
                self.seen |= {entry.fingerprint} - {None}  # type: ignore[operator]
                record = Record(entry, DELAYED, self.step(), due=self.now + entry.delay)
                self.records.append(record)
                if not entry.delay:
                    self.line_up(record)
        return stored

    def pass_time(self, caller: str) -> tuple[int, int]:
        """Promote and reclaim, as a call of *caller* does; how many were reclaimed and given up."""
        for record in sorted(self.of(DELAYED), key=lambda r: (r.due, r.place)):
            if record.due <= self.now:
                self.line_up(record)
        back = up = 0
        for name, known in sorted(self.workers.items(), key=lambda item: item[1].expires):
            if name == caller or known.gone or known.expires >= self.now:
                continue
            held = self.held(name)
            known.lost, known.gone = known.lost or bool(held), True
            for record in reversed(held):
                record.lost += 1
                if record.lost >= self.options.max_deliveries:
                    record.state, up = DEAD, up + 1
                else:
                    self.give_back([record])
                    back += 1
        return back, up

    # ------------------------------------------------------------------ what may be leased

    def line(self, slot: str) -> list[Record]:
        records = [r for r in self.of(PENDING) if r.entry.slot == slot and not self.suspect(r)]
        return sorted(records, key=lambda r: (-r.rank, r.place))

    def check_leases(self, worker: str, answer: Exchange, want: int, full: Sequence[str], per_slot: int) -> None:
        leases = list(answer.leases)
        assert len(leases) <= want
        suspects = [r for r in self.of(PENDING) if self.suspect(r)]
        fit = [r for r in suspects if r.entry.slot not in full]
        alone = not any(self.suspect(r) for r in self.held(worker))
        given: dict[str, int] = {}
        got_suspect = 0
        for lease in leases:
            record = next((r for r in suspects if r.entry.body == lease.body), None)
            if record is None:
                record = self.line(lease.slot)[0]
            else:
                assert alone, "a second suspect"
                alone, got_suspect = False, 1
            assert lease.slot not in full
            self._hand(worker, record, lease)
            given[lease.slot] = given.get(lease.slot, 0) + 1
        if want and fit and len(fit) == len(suspects) and not got_suspect:
            assert not alone, "a suspect was kept back"
        assert not per_slot or all(n <= per_slot for n in given.values())
        if len(leases) < want:  # then everything else is kept back for a reason
            for slot in {r.entry.slot for r in self.of(PENDING) if not self.suspect(r)} - set(full):
                assert per_slot, f"{slot} was passed over"
                assert given.get(slot, 0) == per_slot

    def _hand(self, worker: str, record: Record, lease: Lease) -> None:
        entry = record.entry
        assert (lease.body, lease.slot, lease.priority, lease.start) == (
            entry.body,
            entry.slot,
            entry.priority,
            entry.start,
        )
        assert lease.deliveries == record.lost + 1
        assert (lease.first_lost_at is None) == (record.lost == 0)
        record.state, record.owner, record.token, record.handed = LEASED, worker, lease.token, self.step()
