"""What this worker may fetch next: requests leased ahead, and those that only this process can hold."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

from scrapy import Request

from mocra_scrapy._deliveries import Delivery
from mocra_scrapy.models import Lease


@dataclass(frozen=True, slots=True)
class Local:
    """A request that can't be stored: it lives and dies with this process. *delivery* is its parent, which waits for it."""

    request: Request
    slot: str
    parent: Delivery | None


class Recall:
    """Request objects that this process made and stored not long ago, by what was stored.

    When the queue hands such a request back to the worker that made it, the object itself goes to the engine, as with Scrapy's own queue in
    memory: no decoding, and what Scrapy has worked out for it (parsed URL, fingerprint) is still there.

    Keeps *size* to twice *size* of them; 0: none.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._new: dict[bytes, Request] = {}
        self._old: dict[bytes, Request] = {}

    def keep(self, body: bytes, request: Request) -> None:
        if len(self._new) >= self._size:
            self._new, self._old = {}, self._new
        if self._size:
            self._new[body] = request

    def take(self, body: bytes) -> Request | None:
        """The object; each is given out once."""
        return self._new.pop(body, None) or self._old.pop(body, None)


class Inbox:
    """Slots take turns; a slot without room in the downloader is passed over, so that nobody waits behind a slow host.

    Within a slot local requests come first (as Scrapy's do before those on disk), by priority, then first in first out;
    leased ones stay in the order in which the queue gave them.
    """

    def __init__(self) -> None:
        self._leases: dict[str, deque[Lease]] = {}
        self._local: dict[str, list[tuple[int, int, Local]]] = {}
        self._turns: deque[str] = deque()
        self._seq = count()
        self.leased = 0
        self.local = 0

    def __len__(self) -> int:
        return self.leased + self.local

    def held_in(self, slot: str) -> int:
        """Leased requests of *slot* that wait here."""
        waiting = self._leases.get(slot)
        return len(waiting) if waiting else 0

    @property
    def slots(self) -> Iterable[str]:
        return self._leases.keys()

    def add(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            waiting = self._leases.get(lease.slot)
            if waiting is None:
                waiting = self._leases[lease.slot] = deque()
                self._enter(lease.slot, self._local)
            waiting.append(lease)
            self.leased += 1

    def add_local(self, local: Local) -> None:
        heap = self._local.get(local.slot)
        if heap is None:
            heap = self._local[local.slot] = []
            self._enter(local.slot, self._leases)
        heapq.heappush(heap, (-local.request.priority, next(self._seq), local))
        self.local += 1

    def _enter(self, slot: str, other: dict[str, deque[Lease]] | dict[str, list[tuple[int, int, Local]]]) -> None:
        if slot not in other:
            self._turns.append(slot)

    def pop(self, has_room: Callable[[str], bool]) -> Lease | Local | None:
        """The next one of the next slot that has room; ``None``: there is none, or none has."""
        for _ in range(len(self._turns)):
            slot = self._turns[0]
            if has_room(slot):
                return self._pop(slot)
            self._turns.rotate(-1)
        return None

    def _pop(self, slot: str) -> Lease | Local:
        got: Lease | Local
        heap = self._local.get(slot)
        if heap:
            got = heapq.heappop(heap)[2]
            self.local -= 1
            if not heap:
                del self._local[slot]
        else:
            waiting = self._leases[slot]
            got = waiting.popleft()
            self.leased -= 1
            if not waiting:
                del self._leases[slot]
        if slot in self._leases or slot in self._local:
            self._turns.rotate(-1)
        else:
            self._turns.popleft()
        return got

    def drain(self) -> list[Lease]:
        """Take out everything that is leased."""
        leases = [lease for waiting in self._leases.values() for lease in waiting]
        self._leases.clear()
        self._turns = deque(slot for slot in self._turns if slot in self._local)
        self.leased = 0
        return leases
