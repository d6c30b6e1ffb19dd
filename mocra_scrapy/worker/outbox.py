"""What this worker has to tell the queue, in the order in which it happened.

Order is what makes an acknowledgement safe: a prefix of this sequence is sent, all its pushes are
stored before its acks are applied, so no parent is ever acknowledged before its children are
stored, whoever they belong to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from scrapy import Request

from mocra_scrapy.models import Burial, Entry, Exchange, Lease
from mocra_scrapy.worker.failing_responses import AnsweredBurial
from mocra_scrapy.worker.pushes import Push

#: Operations and bytes of one exchange: keeps a script on the server near one millisecond.
BATCH, BATCH_BYTES = 200, 512 * 1024
#: Bytes of requests that are not stored yet above which callbacks and ``start()`` wait, however few
#: these are (``MOCRA_OUTBOX_MAX`` counts them).
MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Together:
    """What one call stores and settles, or nobody: children, and the end of their parent."""

    pushes: Sequence[Push]
    end: Lease | tuple[Burial, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """How far a source was read, all that was pushed before it included."""

    source: str
    position: bytes


#: In place of one that counts no more.
NO_PLACE = Place("", b"")


@dataclass(slots=True)
class Batch:
    """A prefix of the outbox, sorted by kind."""

    pushes: list[Push] = field(default_factory=list)
    acks: list[Lease] = field(default_factory=list)
    burials: list[Burial] = field(default_factory=list)
    releases: list[Lease] = field(default_factory=list)
    positions: dict[str, bytes] = field(default_factory=dict)

    async def pack(self) -> None:
        """Make it ready to be sent: what burials bring is packed now, not in the course of a callback."""
        for i, burial in enumerate(self.burials):
            if isinstance(burial, AnsweredBurial):
                self.burials[i] = await burial.packed()

    def tell(self, exchange: Exchange) -> None:
        """The queue answered: whoever offered responses hears whether they were kept."""
        for i, burial in enumerate(self.burials):
            if isinstance(burial, AnsweredBurial):
                burial.owner.answered(burial, exchange.buried[i], exchange.kept[i])

    def settle(self, end: Lease | tuple[Burial, ...]) -> int:
        """Acknowledge, or bury; bytes that this takes."""
        if isinstance(end, Lease):
            self.acks.append(end)
            return 0
        self.burials.extend(end)
        return sum(len(burial.detail) + burial.response_bytes for burial in end)

    def __bool__(self) -> bool:
        return bool(self.pushes or self.acks or self.burials or self.releases or self.positions)


class Outbox:
    """Pushes, acks and burials in order; releases beside them (nothing depends on these).

    ``len()`` counts what is not confirmed yet, batches under way included.
    """

    def __init__(self) -> None:
        self._ops: deque[Push | Together | Lease | Place | tuple[Burial, ...]] = deque()
        self._releases: list[Lease] = []
        self._sent = 0
        self.bytes = 0  # of requests that are not confirmed
        self._sent_bytes = 0
        self.put = 0  # operations ever put in, and…
        self.misplaced = 0  # batches whose positions the queue refused: another worker seeds
        self.confirmed = 0  # …ever confirmed: whoever noted `put` knows by this when all before it is stored

    def __len__(self) -> int:
        return len(self._ops) + len(self._releases) + self._sent

    def is_full(self, most: int) -> bool:
        """Whether more than *most* operations, or too many bytes, are not confirmed yet."""
        return len(self) > most or self.bytes > MOST_BYTES

    @property
    def waiting(self) -> int:
        """Operations that no batch has taken yet."""
        return len(self._ops) + len(self._releases)

    def push(self, entry: Entry, request: Request | None) -> None:
        self.bytes += len(entry.body)
        self._append(Push(entry, request))

    def ack(self, lease: Lease) -> None:
        self._append(lease)

    def bury(self, *burials: Burial) -> None:
        """Of one lease: they travel together, for the entry is gone with the first."""
        self._append(burials)

    def place(self, source: str, position: bytes) -> None:
        """*source* was read so far: travels with the pushes before it, or behind them."""
        self._append(Place(source, position))

    def together(self, pushes: Sequence[Push], end: Lease | tuple[Burial, ...]) -> None:
        """*pushes* and the end of what they are children of, in one call."""
        self.bytes += sum(len(push.entry.body) for push in pushes)
        self._append(Together(pushes, end))

    def forget_places(self) -> None:
        """What was said of sources until now, and no batch has taken yet, is of a reading that is over."""
        self._ops = deque(NO_PLACE if isinstance(op, Place) else op for op in self._ops)

    def _append(self, op: Push | Together | Lease | Place | tuple[Burial, ...]) -> None:
        self._ops.append(op)
        self.put += 1

    def release(self, leases: list[Lease]) -> None:
        self._releases.extend(leases)

    def take(self, most: int, most_bytes: int) -> Batch:
        """The longest prefix with at most *most* operations and about *most_bytes* of bodies; at
        least one operation. What goes together is not divided, however much it is.
        """
        batch = Batch(releases=self._releases[:most])
        del self._releases[:most]
        size = taken = ops = 0
        while self._ops and taken < most and size < most_bytes:
            op = self._ops[0]
            if isinstance(op, Push):
                batch.pushes.append(op)
                size += len(op.entry.body)
            elif isinstance(op, Place):
                if op is not NO_PLACE:
                    batch.positions[op.source] = op.position
            elif isinstance(op, Together):
                if taken and taken + len(op.pushes) >= most:
                    break
                batch.pushes.extend(op.pushes)
                size += sum(len(push.entry.body) for push in op.pushes) + batch.settle(op.end)
                taken += len(op.pushes)
            else:
                size += batch.settle(op)
            self._ops.popleft()
            taken += 1
            ops += 1
        self._sent = ops + len(batch.releases)
        self._sent_bytes = sum(len(push.entry.body) for push in batch.pushes)
        return batch

    def confirm(self, batch: Batch, *, positioned: bool) -> None:
        """The queue answered for *batch*, the last one taken. *positioned*: see
        :class:`~mocra_scrapy.models.Exchange`.
        """
        if batch.positions and not positioned:
            self.misplaced += 1
        self.confirmed += self._sent - len(batch.releases)
        self.bytes -= self._sent_bytes
        self._sent = self._sent_bytes = 0
