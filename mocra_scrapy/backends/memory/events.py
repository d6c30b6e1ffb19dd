"""``MemoryEventStream``: the newest events, in this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import count, islice
from typing import Protocol

from zope.interface import implementer

from mocra_scrapy.interfaces import IEventStream


class StoredStream:
    """Entries by position, the oldest first."""

    def __init__(self) -> None:
        self.entries: deque[tuple[int, dict[str, bytes]]] = deque()
        self.positions = count(1)


class Streaming(Protocol):
    """The part of the store that is used here."""

    streams: dict[str, StoredStream]


@implementer(IEventStream)
class MemoryEventStream:
    """See :class:`~mocra_scrapy.interfaces.IEventStream`."""

    def __init__(self, store: Streaming, name: str, keep: int) -> None:
        self._stream = store.streams.setdefault(name, StoredStream())
        self._keep = keep

    async def append(self, entries: Sequence[Mapping[str, bytes]]) -> None:
        stored = self._stream.entries
        for entry in entries:
            stored.append((next(self._stream.positions), dict(entry)))
            if len(stored) > self._keep:
                stored.popleft()

    async def read(self, after: str = "", most: int = 100) -> Sequence[tuple[str, Mapping[str, bytes]]]:
        behind = ((str(at), entry) for at, entry in self._stream.entries if not after or at > int(after))
        return list(islice(behind, most))
