"""``StoredCache``: one namespace of the cache, and the steps that change it. Names and members are the
bytes that are stored, instants are milliseconds of one clock.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence

#: An entry: a value's name, or a sorted set's.
Entry = tuple[str, bytes]
VALUE, SET = "v", "s"


class StoredCache:
    """Values and sorted sets, when each ends, and how much that is."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.sets: dict[bytes, dict[bytes, float]] = {}
        self.ends: dict[Entry, int] = {}
        self.bytes = self.members = 0
        self._order: list[tuple[int, Entry]] = []  # a heap; what changed since is passed over
        self._names: list[bytes] | None = []  # sorted; None: to be sorted anew

    def left(self, entry: Entry, now: int) -> int | None:
        """Milliseconds until *entry* ends; ``None``: it is not there."""
        ends = self.ends.get(entry)
        if ends is not None and ends > now:
            return ends - now
        if ends is not None:
            self.drop(entry)
        return None

    def drop(self, entry: Entry) -> None:
        kind, name = entry
        del self.ends[entry]
        if kind == VALUE:
            self.bytes -= len(name) + len(self.values.pop(name))
            self._names = None
        else:
            gone = self.sets.pop(name)
            self.members -= len(gone)
            self.bytes -= len(name) + sum(map(len, gone))

    def hold(self, entry: Entry, ends: int) -> None:
        self.ends[entry] = ends
        heapq.heappush(self._order, (ends, entry))
        if len(self._order) > 2 * len(self.ends) + 64:
            self._order = [(at, one) for one, at in self.ends.items()]
            heapq.heapify(self._order)

    def _first(self, kept: frozenset[Entry]) -> Entry | None:
        """What ends first, but for *kept*."""
        passed: list[tuple[int, Entry]] = []
        found = None
        while self._order and found is None:
            ends, entry = self._order[0]
            if self.ends.get(entry) == ends and entry not in kept:
                found = entry
                break
            heapq.heappop(self._order)
            if entry in kept and self.ends.get(entry) == ends:
                passed.append((ends, entry))
        for one in passed:
            heapq.heappush(self._order, one)
        return found

    def is_full(self, entries: int, size: int, limits: tuple[int, int]) -> bool:
        return len(self.values) + self.members + entries > limits[0] or self.bytes + size > limits[1]

    def make_room(self, entries: int, size: int, limits: tuple[int, int], now: int, *kept: Entry) -> int:
        """What is over goes, then what ends first, until so much has room; how many went before
        their end.
        """
        went, these = 0, frozenset(kept)
        while (first := self._first(these)) is not None:
            over = self.ends[first] <= now
            if not over and not self.is_full(entries, size, limits):
                break
            self.drop(first)
            went += not over
        return went

    def store(self, name: bytes, value: bytes, ends: int, limits: tuple[int, int], now: int) -> int:
        """Store it; how many had to go."""
        entry, old = (VALUE, name), self.values.get(name)
        needs = len(value) - (-len(name) if old is None else len(old))
        went = self.make_room(int(old is None), needs, limits, now, entry)
        self.replace(name, value)
        self.hold(entry, ends)
        return went

    def replace(self, name: bytes, value: bytes) -> None:
        """Another value under the same name; when it ends stays what it is."""
        old = self.values.get(name)
        if old is None:
            self._names = None
        self.bytes += len(value) - (-len(name) if old is None else len(old))
        self.values[name] = value

    def names(self, prefix: bytes, after: bytes, most: int, now: int) -> list[bytes]:
        if self._names is None:
            self._names = sorted(self.values)
        known = self._names
        at = bisect_right(known, after) if after >= prefix else bisect_left(known, prefix)
        found: list[bytes] = []
        over: list[bytes] = []
        while at < len(known) and len(found) < most and known[at].startswith(prefix):
            (found if self.ends[VALUE, known[at]] > now else over).append(known[at])
            at += 1
        for name in over:
            self.drop((VALUE, name))
        return found

    # ------------------------------------------------------------------ sorted sets

    def add_members(
        self, name: bytes, members: Mapping[bytes, float], ends: int, limits: tuple[int, int], now: int
    ) -> tuple[int, int]:
        """How many are new, how many had to go."""
        entry = (SET, name)
        there = self.left(entry, now) is not None
        stored = self.sets.get(name, {})
        new = [member for member in members if member not in stored]
        size = sum(map(len, new)) + (0 if there else len(name))
        went = self.make_room(len(new), size, limits, now, entry)
        stored = self.sets.setdefault(name, stored)
        stored.update(members)
        self.members += len(new)
        self.bytes += size
        while self.is_full(0, 0, limits):  # alone it is too large: the lowest scores go
            lowest = min(stored, key=lambda member: (stored[member], member))
            self._take(stored, lowest)
            went += 1
        self.hold(entry, max(ends, self.ends.get(entry, 0)))
        return len(new), went

    def _take(self, stored: dict[bytes, float], member: bytes) -> None:
        del stored[member]
        self.members -= 1
        self.bytes -= len(member)

    def range(self, name: bytes, low: float, high: float, now: int) -> Sequence[tuple[float, bytes]]:
        """Score and member of those between, in order."""
        if self.left((SET, name), now) is None:
            return []
        return sorted((score, member) for member, score in self.sets[name].items() if low <= score <= high)

    def remove_members(self, name: bytes, members: Sequence[bytes], now: int) -> int:
        if self.left((SET, name), now) is None:
            return 0
        stored, gone = self.sets[name], 0
        for member in members:
            if member in stored:
                self._take(stored, member)
                gone += 1
        if not stored:
            self.drop((SET, name))
        return gone
