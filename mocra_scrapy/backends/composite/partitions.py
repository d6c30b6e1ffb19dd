"""How far a partition is that this worker reads. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mocra_scrapy.backends.kafka import metadata
from mocra_scrapy.backends.kafka.log_names import DELAYS, LogPartition
from mocra_scrapy.backends.kafka.log_values import Commit
from mocra_scrapy.backends.kafka.offsets import Finished, Runs
from mocra_scrapy.models import Fed, Feed, Offsets

#: Requests of one slot in the window, from which on more of them don't keep others from being read.
SHARE = 100
#: Of its share of the window a partition has a LEAST-th part in any case, and MOST times that at most.
LEAST, MOST = 20, 5


@dataclass(slots=True)
class Reading:
    """Of one partition.

    Args:
        position: up to where the window was fed.
        finished: what is finished, as the group and the window say.
        committed: what the group has; ``None``: nothing.

    Attributes:
        skip: what need not be fed, as was committed.
        noted: notes of the window that it was not told to forget yet.
    """

    position: int
    finished: Finished
    committed: Commit | None = None
    skip: Runs = field(default_factory=Runs)
    noted: set[Offsets] = field(default_factory=set)
    _slots: dict[int, str] = field(default_factory=dict)  # of what this worker fed, by offset
    _counts: Counter[str] = field(default_factory=Counter)
    _crowding: int = 0

    def fed(self, offset: int, slot: str) -> None:
        """The request at *offset* is in the window."""
        if offset not in self._slots:
            self._slots[offset] = slot
            self._counts[slot] += 1
            self._crowding += self._counts[slot] > SHARE

    def _gone(self, offset: int) -> None:
        slot = self._slots.pop(offset, None)
        if slot is not None:
            self._crowding -= self._counts[slot] > SHARE
            self._counts[slot] -= 1
            if not self._counts[slot]:
                del self._counts[slot]

    def note(self, notes: Iterable[Offsets]) -> None:
        """These are finished, says the window."""
        for one in notes:
            self.noted.add(one)
            self.finished.note(*one)
            if one[1] - one[0] == 1:  # what was passed over has no slot
                self._gone(one[0])

    @property
    def outstanding(self) -> int:
        """Requests that were fed and are not finished."""
        return max(0, self.position - self.finished.offset - self.finished.ahead.clipped(0, self.position).count)

    @property
    def useful(self) -> int:
        """The same without what slots have beyond :data:`SHARE`: that waits for its slot's turn, and
        must not keep others from being read.
        """
        return self.outstanding - self._crowding

    @property
    def is_full(self) -> bool:
        """Whether no more may get out of order, see :data:`metadata.CAREFUL`."""
        return metadata.fill(self.finished.offset, self.finished.ahead) >= metadata.CAREFUL

    def commit(self) -> Commit | None:
        """What the group is to know; ``None``: it does."""
        offset, ahead = self.finished.offset, self.finished.ahead
        kept = _fitting(offset, ahead)
        wanted = Commit(offset, kept)
        return None if wanted == self.committed else wanted

    def confirmed(self, commit: Commit) -> Sequence[Offsets]:
        """The group has *commit*: the notes that the window may forget."""
        self.committed = commit
        gone = [
            (first, end)
            for first, end in self.noted
            if end <= commit.offset or (first in commit.finished and end - 1 in commit.finished)
        ]
        self.noted.difference_update(gone)
        return gone


class Readings:
    """Of all partitions that this worker reads. *window*: requests in it at most; *least*: of one partition,
    as its share.
    """

    def __init__(self, window: int, least: int) -> None:
        self._of: dict[LogPartition, Reading] = {}
        self._window, self._least = window, least
        self.room = window

    def __contains__(self, partition: LogPartition) -> bool:
        return partition in self._of

    def __iter__(self) -> Iterator[LogPartition]:
        return iter(self._of)

    def get(self, partition: LogPartition) -> Reading | None:
        return self._of.get(partition)

    def update(self, readings: Mapping[LogPartition, Reading]) -> None:
        self._of.update(readings)

    def drop(self, partitions: Iterable[LogPartition]) -> None:
        for partition in partitions:
            self._of.pop(partition, None)

    @property
    def is_waiting(self) -> bool:
        """Whether something is in the window that is going to be finished."""
        return any(reading.outstanding for reading in self._of.values())

    # ------------------------------------------------------------------ how much may be fed

    @property
    def _share(self) -> int:
        """Requests of one partition that may be in the window."""
        return max(self._least, self._window // max(1, sum(partition.tier not in DELAYS for partition in self._of)))

    def limits(self) -> dict[LogPartition, int]:
        """How many more of each may be in the window: its share while there is room, a few in any case, so
        that what waits for slow sites does not keep the log from being read. In all a multiple of that.
        """
        share = self._share
        now = share if self.room > 0 else share // LEAST
        return {
            partition: 0 if reading.is_full else max(0, min(now - reading.useful, MOST * share - reading.outstanding))
            for partition, reading in self._of.items()
        }

    # ------------------------------------------------------------------ what happened

    def take_in(self, fed: Fed) -> None:
        """The window's answer to a feed."""
        self.room = self._window - fed.size.pending
        for name, position in fed.positions.items():
            reading = self._of.get(LogPartition.parse(name))
            if reading is not None and position is not None:
                reading.position = max(reading.position, position)
        for name, notes in fed.finished.items():
            reading = self._of.get(LogPartition.parse(name))
            if reading is not None:
                reading.note(notes)

    def are_fed(self, feeds: Iterable[Feed]) -> None:
        """These are in the window."""
        for feed in feeds:
            reading = self._of.get(LogPartition.parse(feed.partition))
            for offset, entry in feed.entries if reading is not None else ():
                assert reading is not None
                reading.fed(offset, entry.slot)

    def commits(self, partitions: Iterable[LogPartition]) -> dict[LogPartition, Commit]:
        """What the group is to know of *partitions*."""
        found = {}
        for partition in partitions:
            reading = self._of.get(partition)
            commit = None if reading is None else reading.commit()
            if commit is not None:
                found[partition] = commit
        return found

    def confirmed(self, commits: Mapping[LogPartition, Commit]) -> dict[str, Sequence[Offsets]]:
        """The group has *commits*: what the window may forget."""
        found = {}
        for partition, commit in commits.items():
            reading = self._of.get(partition)
            if reading is not None:
                found[str(partition)] = reading.confirmed(commit)
        return found


def _fitting(offset: int, ahead: Runs) -> Runs:
    """The runs that find room in a commit: the first ones."""
    if metadata.fill(offset, ahead) <= 1.0:
        return ahead
    kept = list(ahead)
    while kept and metadata.fill(offset, Runs(kept)) > 1.0:
        del kept[-max(1, len(kept) // 20) :]
    return Runs(kept)
