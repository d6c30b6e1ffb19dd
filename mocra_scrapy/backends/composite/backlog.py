"""How much is in a log that is not in its window, as far as this process knows."""

from __future__ import annotations

from collections.abc import Mapping

from mocra_scrapy.backends.kafka.log_names import LogPartition


class Backlog:
    """Both sides only grow: an older answer changes nothing."""

    def __init__(self) -> None:
        self._ends: dict[str, int] = {}
        self._positions: dict[str, int] = {}

    def clear(self) -> None:
        """Another run, or another log."""
        self._ends.clear()
        self._positions.clear()

    def written(self, partition: LogPartition, end: int) -> None:
        """The log is that long, at least."""
        name = str(partition)
        self._ends[name] = max(self._ends.get(name, 0), end)

    def fed(self, positions: Mapping[str, int | None]) -> None:
        """The window was fed so far, at least."""
        for name, position in positions.items():
            if position is not None:
                self._positions[name] = max(self._positions.get(name, 0), position)

    @property
    def size(self) -> int:
        """Messages, of partitions of which it is known where they begin."""
        return sum(max(0, end - self._positions[name]) for name, end in self._ends.items() if name in self._positions)


def unread(ends: Mapping[LogPartition, int], positions: Mapping[str, int]) -> int:
    """Messages of the log that were not fed."""
    return sum(max(0, end - positions.get(str(partition), 0)) for partition, end in ends.items())
