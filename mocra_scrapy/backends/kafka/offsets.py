"""Which offsets of a partition are finished: all below one, and some ahead of it. Pure.

Requests finish in another order than they were read, and a group commits one offset for each
partition. So what is committed is the first offset that is not finished, and those that are finished
ahead of it are kept as *runs*, which go with the commit (:mod:`mocra_scrapy.backends.kafka.metadata`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Runs:
    """Offsets, as half-open runs ``(first, end)`` in ascending order that don't touch. Immutable.

    Raises:
        ValueError: a run is empty, negative, or not behind the one before.
    """

    __slots__ = ("_runs",)

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        self._runs = tuple(runs)
        before = -1
        for first, end in self._runs:
            if not before < first < end:
                raise ValueError(f"run {first}-{end} behind {before}")
            before = end

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._runs)

    def __bool__(self) -> bool:
        return bool(self._runs)

    def __len__(self) -> int:
        """How many runs they are; :attr:`count` says how many offsets."""
        return len(self._runs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and self._runs == other._runs

    def __hash__(self) -> int:
        return hash(self._runs)

    def __repr__(self) -> str:
        return f"Runs({list(self._runs)})"

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self._runs, offset, key=_first_of) - 1
        return at >= 0 and offset < self._runs[at][1]

    @property
    def count(self) -> int:
        return sum(end - first for first, end in self._runs)

    def clipped(self, first: int, end: int) -> Runs:
        """Those from *first* on that are below *end*."""
        cut = ((max(first, low), min(end, high)) for low, high in self._runs)
        return Runs((low, high) for low, high in cut if low < high)

    def after(self, offset: int) -> int:
        """The first offset from *offset* on that is not among these."""
        at = bisect_right(self._runs, offset, key=_first_of) - 1
        return self._runs[at][1] if at >= 0 and offset < self._runs[at][1] else offset


class Finished:
    """The finished offsets of one partition.

    Args:
        offset: all below it are finished.
        ahead: what is finished beyond.
    """

    def __init__(self, offset: int, ahead: Runs | None = None) -> None:
        self._offset = offset
        self._firsts: list[int] = []
        self._ends: list[int] = []
        for first, end in ahead or ():
            self.note(first, end)

    def note(self, first: int, end: int | None = None) -> bool:
        """Offset *first* is finished, or all from *first* to below *end*. ``False``: nothing is new."""
        low, high = max(first, self._offset), first + 1 if end is None else end
        if low >= high:
            return False
        # The runs that it touches become one with it.
        left, right = bisect_left(self._ends, low), bisect_right(self._firsts, high)
        if left < right:
            if self._firsts[left] <= low and high <= self._ends[left]:
                return False
            low, high = min(low, self._firsts[left]), max(high, self._ends[right - 1])
        if low == self._offset:
            self._offset = high
            del self._firsts[:right], self._ends[:right]
        else:
            self._firsts[left:right], self._ends[left:right] = [low], [high]
        return True

    @property
    def offset(self) -> int:
        """All below are finished, this one is not: what is to be committed."""
        return self._offset

    @property
    def ahead(self) -> Runs:
        """What is finished beyond."""
        return Runs(zip(self._firsts, self._ends, strict=True))

    @property
    def runs(self) -> int:
        """How many runs are ahead."""
        return len(self._firsts)

    @property
    def end(self) -> int:
        """Behind the last finished one."""
        return self._ends[-1] if self._ends else self._offset

    def __contains__(self, offset: int) -> bool:
        at = bisect_right(self._firsts, offset) - 1
        return offset < self._offset or (at >= 0 and offset < self._ends[at])


def _first_of(run: tuple[int, int]) -> int:
    return run[0]
