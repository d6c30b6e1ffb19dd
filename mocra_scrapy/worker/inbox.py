"""What this worker may fetch next: requests leased ahead, and those that only this process can
hold.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count

from scrapy import Request

from mocra_scrapy.models import Lease
from mocra_scrapy.worker.deliveries import Delivery


@dataclass(frozen=True, slots=True)
class Local:
    """A request that can't be stored: it lives and dies with this process. *delivery* is its
    parent, which waits for it.
    """

    request: Request
    slot: str
    parent: Delivery | None


class RequestCache:
    """Request objects that this process made and stored not long ago, by what was stored.

    When the queue hands such a request back to the worker that made it, the object itself goes to
    the engine, as with Scrapy's own queue in memory: no decoding, and what Scrapy has worked out
    for it (parsed URL, fingerprint) is still there.

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


Key = tuple[str, ...]


class Inbox:
    """Lists take turns; one that may not start anything now is passed over, so that nobody waits
    behind a slow host.

    A list is of one slot and the same scopes. Within it local requests come first (as Scrapy's do
    before those on disk), by priority, then first in first out; leased ones stay in the order in
    which the queue gave them, and each may have an instant before which it must not depart.

    Attributes:
        leased, local: how many of each wait here.
        next_at: after a :meth:`pop` that gave nothing: the first instant at which something
            departs; ``None``: none is waited for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._leases: dict[Key, deque[Lease]] = {}
        self._local: dict[Key, list[tuple[int, int, Local]]] = {}
        self._at: dict[str, float] = {}  # token -> when it departs; of those that must wait for it
        self._turns: deque[Key] = deque()
        self._seq = count()
        self.leased = 0
        self.local = 0
        self.next_at: float | None = None

    def __len__(self) -> int:
        return self.leased + self.local

    def held_in(self, slot: str) -> int:
        """Leased requests of *slot* that wait here."""
        waiting = self._leases.get((slot,))
        return len(waiting) if waiting else 0

    @property
    def slots(self) -> Iterable[str]:
        return [key[0] for key in self._leases]

    def timed(self) -> int:
        """Leased requests whose instant has not come yet."""
        if not self._at:
            return 0
        now = self._clock()
        return sum(at > now for at in self._at.values())

    def add(self, leases: Iterable[Lease], paced: Callable[[Lease], bool] = lambda lease: lease.wait > 0) -> None:
        now = self._clock()
        for lease in leases:
            key = (lease.slot, *lease.scopes)
            waiting = self._leases.get(key)
            if waiting is None:
                waiting = self._leases[key] = deque()
                if key not in self._local:
                    self._turns.append(key)
            waiting.append(lease)
            if paced(lease):
                self._at[lease.token] = now + lease.wait
            self.leased += 1

    def add_local(self, local: Local) -> None:
        key = (local.slot,)
        heap = self._local.get(key)
        if heap is None:
            heap = self._local[key] = []
            if key not in self._leases:
                self._turns.append(key)
        heapq.heappush(heap, (-local.request.priority, next(self._seq), local))
        self.local += 1

    def pop(self, has_room: Callable[[Key, bool], bool]) -> Lease | Local | None:
        """The next one of the next list that has room; ``None``: there is none, or none has.

        *has_room* is asked with the list and whether its next request is leased.
        """
        self.next_at, now = None, self._clock()
        for _ in range(len(self._turns)):
            key = self._turns[0]
            local = key in self._local
            at = self._at.get(self._leases[key][0].token) if self._at and not local else None
            if at is not None and at > now:
                self.next_at = at if self.next_at is None else min(at, self.next_at)
            elif has_room(key, not local):
                return self._pop(key)
            self._turns.rotate(-1)
        return None

    def any(self, has_room: Callable[[Key, bool], bool]) -> bool:
        """Whether one of them could go out, were its instant here."""
        return any(has_room(key, key not in self._local) for key in self._turns)

    def _pop(self, key: Key) -> Lease | Local:
        got: Lease | Local
        heap = self._local.get(key)
        if heap:
            got = heapq.heappop(heap)[2]
            self.local -= 1
            if not heap:
                del self._local[key]
        else:
            waiting = self._leases[key]
            got = waiting.popleft()
            self._at.pop(got.token, None)
            self.leased -= 1
            if not waiting:
                del self._leases[key]
        if key in self._leases or key in self._local:
            self._turns.rotate(-1)
        else:
            self._turns.popleft()
        return got

    def missed(self, late: float) -> list[Lease]:
        """Take out what should have departed *late* seconds ago: its time has gone by, and others
        may have the next ones.
        """
        if not self._at:
            return []
        end = self._clock() - late
        tokens = {token for token, at in self._at.items() if at < end}
        return self.take_out(lambda lease: lease.token in tokens) if tokens else []

    def take_out(self, unwanted: Callable[[Lease], bool]) -> list[Lease]:
        """Take out the leased ones that are *unwanted*."""
        leases = []
        for key, waiting in list(self._leases.items()):
            some = [lease for lease in waiting if unwanted(lease)]
            if some:
                leases += some
                rest = deque(lease for lease in waiting if not unwanted(lease))
                if rest:
                    self._leases[key] = rest
                else:
                    del self._leases[key]
        for lease in leases:
            self._at.pop(lease.token, None)
        self._turns = deque(key for key in self._turns if key in self._local or key in self._leases)
        self.leased -= len(leases)
        return leases

    def drain(self) -> list[Lease]:
        """Take out everything that is leased."""
        return self.take_out(lambda lease: True)
