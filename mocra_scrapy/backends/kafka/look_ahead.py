"""What was read of a log and not taken yet. No I/O; a thread puts, another one takes.

It is bounded: a partition that has enough, or any where all of them have too many bytes, is *full* until
half of that is taken. Whoever reads pauses the full ones.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from mocra_scrapy.backends.kafka.log_message import read_message, ready_at
from mocra_scrapy.backends.kafka.log_names import DELAYS, TIERS, LogPartition
from mocra_scrapy.backends.kafka.log_values import LogBatch, LogRecord, Raw, Start, Unreadable
from mocra_scrapy.models.log import LogOptions

#: Bytes that a message takes in memory beside its own, roughly.
AROUND = 500
#: Nobody deletes single messages of a log, but clients have lost their place: a seek that came while they
#: looked up another offset, a pause that put them back. So what seems to be missing is looked for this often, and
#: told when it is passed over. The end of a transaction, which only others write, has an offset of its own.
SURE = 2


@dataclass(slots=True)
class _Ahead:
    """Of one partition.

    Attributes:
        start: of the next batch. *read*: behind the last message that was read, or is to be skipped.
        jumps: how often something came that was not *read*.
    """

    given: Start
    start: int
    read: int
    messages: deque[Raw] = field(default_factory=deque)
    size: int = 0
    full: bool = False
    jumps: int = 0

    def follows(self, offset: int) -> bool:
        """Whether what is at *offset*, or begins there, is next. Only the third time where something
        seems to be missing.
        """
        if self.is_jump(offset) and self.jumps < SURE:
            self.jumps += 1
            return False
        self.jumps = 0
        return True

    def is_jump(self, offset: int) -> bool:
        """Whether something seems to be missing before *offset*."""
        return offset > self.given.skip.after(self.read)


class LookAhead:
    """Of the partitions that were begun. *most*: messages of each; *most_bytes*: of all."""

    def __init__(self, options: LogOptions) -> None:
        self._most, self._most_bytes = options.ahead, options.ahead_bytes
        self._weights = {tier: options.weights.get(tier, options.weights.get("normal", 1)) for tier in TIERS}
        self._ahead: dict[LogPartition, _Ahead] = {}
        self._size = 0
        self._credit = dict.fromkeys(TIERS, 0)
        self._heavy = False
        self._missing: list[tuple[LogPartition, int, int]] = []
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ who reads

    def begin(self, partition: LogPartition, start: Start) -> None:
        """What is there of it is dropped."""
        with self._lock:
            self._drop(partition)
            self._ahead[partition] = _Ahead(start, start.offset, start.skip.after(start.offset))

    def drop(self, partitions: Iterable[LogPartition]) -> None:
        with self._lock:
            for partition in partitions:
                self._drop(partition)

    def _drop(self, partition: LogPartition) -> None:
        ahead = self._ahead.pop(partition, None)
        if ahead is not None:
            self._size -= ahead.size

    def put(self, partition: LogPartition, messages: Iterable[Raw]) -> bool:
        """What was not begun, or was put before, is passed over. ``False``: something is missing, as it
        seems; read from :meth:`expected` on.
        """
        with self._lock:
            ahead = self._ahead.get(partition)
            for message in messages if ahead is not None else ():
                assert ahead is not None
                if message.offset < ahead.read:
                    continue
                if not self._goes_on(partition, ahead, message.offset):
                    return False
                ahead.read = message.offset + 1
                if message.offset not in ahead.given.skip:
                    ahead.messages.append(message)
                    ahead.size += message.size + AROUND
                    self._size += message.size + AROUND
        return True

    def at_end(self, partition: LogPartition, offset: int) -> bool:
        """There is nothing before *offset* that was not read. ``False``: as with :meth:`put`."""
        with self._lock:
            ahead = self._ahead.get(partition)
            if ahead is not None and offset > ahead.read:
                if not self._goes_on(partition, ahead, offset):
                    return False
                ahead.read = offset
        return True

    def _goes_on(self, partition: LogPartition, ahead: _Ahead, offset: int) -> bool:
        is_jump = ahead.is_jump(offset)
        follows = ahead.follows(offset)
        if is_jump and follows:
            self._missing.append((partition, ahead.read, offset))
        return follows

    def take_missing(self) -> list[tuple[LogPartition, int, int]]:
        """What was passed over at last since the last call: from an offset on, up to the one before another."""
        with self._lock:
            found, self._missing = self._missing, []
            return found

    def is_sure(self, partition: LogPartition) -> bool:
        """Whether what is missing now is passed over the next time."""
        with self._lock:
            ahead = self._ahead.get(partition)
            return ahead is not None and ahead.jumps >= SURE

    def expected(self, partition: LogPartition) -> int | None:
        """The offset that is to be put next; ``None``: it was not begun."""
        with self._lock:
            ahead = self._ahead.get(partition)
            return None if ahead is None else ahead.read

    def full(self) -> set[LogPartition]:
        """Those that are not to be read for the moment."""
        with self._lock:
            self._heavy = self._size > self._most_bytes // (2 if self._heavy else 1)
            for ahead in self._ahead.values():
                count = len(ahead.messages)
                ahead.full = count >= (self._most // 2 + 1 if ahead.full else self._most)
            # Where bytes are short, a partition without anything may still have something: or it would starve.
            return {
                partition
                for partition, ahead in self._ahead.items()
                if ahead.full or (self._heavy and (ahead.messages or self._size > 2 * self._most_bytes))
            }

    # ------------------------------------------------------------------ who takes

    def take(
        self,
        limit: int,
        now: float,
        skip: Collection[LogPartition] = (),
        limits: Mapping[LogPartition, int] | None = None,
    ) -> list[LogBatch]:
        """Up to *limit* messages, by the weights of their tiers; of a partition not more than *limits*
        says. Those of tiers of delay that have waited long enough by *now*.

        So that none starves, a tier that was passed over goes first at last, also from one call to the
        next; within a tier partitions take turns.
        """
        limits = limits or {}
        with self._lock:
            ready: dict[str, deque[LogPartition]] = {}
            left, taken = {}, dict[LogPartition, list[Raw]]()
            for partition, ahead in self._ahead.items():
                left[partition] = limits.get(partition, limit)
                if partition in skip or left[partition] <= 0:
                    continue
                if self._is_ready(partition, ahead, now):
                    ready.setdefault(partition.tier, deque()).append(partition)
                elif not ahead.messages and ahead.read > ahead.start:
                    taken[partition] = []  # all that was there is to be skipped
            while limit > 0 and ready:
                tier = self._next_tier(ready)
                partition = ready[tier].popleft()
                ahead = self._ahead[partition]
                message = ahead.messages.popleft()
                ahead.size -= message.size + AROUND
                self._size -= message.size + AROUND
                taken.setdefault(partition, []).append(message)
                limit, left[partition] = limit - 1, left[partition] - 1
                if left[partition] > 0 and self._is_ready(partition, ahead, now):
                    ready[tier].append(partition)
                if not ready[tier]:
                    del ready[tier]
            found = [(partition, messages, *self._moved(partition, messages)) for partition, messages in taken.items()]
            # Who was served now is last the next time.
            for partition in taken:
                self._ahead[partition] = self._ahead.pop(partition)
        return [_batch(partition, messages, start, end, now) for partition, messages, start, end in found]

    def _is_ready(self, partition: LogPartition, ahead: _Ahead, now: float) -> bool:
        return bool(ahead.messages) and ready_at(partition, ahead.messages[0].written) <= now

    def _next_tier(self, ready: Collection[str]) -> str:
        """Smooth weighted round robin, as nginx has it."""
        for tier in ready:
            self._credit[tier] += self._weights[tier]
        best = max(ready, key=lambda tier: (self._credit[tier], -TIERS.index(tier)))
        self._credit[best] -= sum(self._weights[tier] for tier in ready)
        return best

    def _moved(self, partition: LogPartition, messages: list[Raw]) -> tuple[int, int]:
        """From where to where its batch goes: over what is to be skipped behind the last message, too."""
        ahead = self._ahead[partition]
        start = ahead.start
        ahead.start = ahead.messages[0].offset if ahead.messages else ahead.read
        return start, ahead.start

    def next_due(self, now: float) -> float | None:
        """Seconds until the first head of a tier of delay may be taken; ``None``: none waits."""
        with self._lock:
            waiting = [
                ready_at(partition, ahead.messages[0].written) - now
                for partition, ahead in self._ahead.items()
                if partition.tier in DELAYS and ahead.messages
            ]
        return max(0.0, min(waiting)) if waiting else None

    def has_some(self, now: float) -> bool:
        """Whether :meth:`take` would give anything."""
        with self._lock:
            return any(
                self._is_ready(partition, ahead, now) or (not ahead.messages and ahead.read > ahead.start)
                for partition, ahead in self._ahead.items()
            )


def _batch(partition: LogPartition, messages: list[Raw], start: int, end: int, now: float) -> LogBatch:
    found = [read_message(partition, raw, now) for raw in messages]
    return LogBatch(
        partition,
        start,
        end,
        tuple(one for one in found if isinstance(one, LogRecord)),
        tuple(one for one in found if isinstance(one, Unreadable)),
    )
