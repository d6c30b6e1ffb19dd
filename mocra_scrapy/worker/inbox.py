"""What this worker may fetch next: requests leased ahead, and those that only this process can
hold.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import count

from scrapy import Request

from mocra_scrapy.models import Lease
from mocra_scrapy.worker.deliveries import Delivery
from mocra_scrapy.worker.outbox import Outbox
from mocra_scrapy.worker.permits import names_of
from mocra_scrapy.worker.slot_policy import Instant, Key, SlotPolicy
from mocra_scrapy.worker.store_clock import StoreClock


@dataclass(frozen=True, slots=True)
class Local:
    """A request that can't be stored: it lives and dies with this process. *parent* waits for it."""

    request: Request
    slot: str
    parent: Delivery | None


#: Slots that are remembered to have an interval; seconds in which a lease without one may be older
#: than that.
MANY, SETTLED = 100_000, 5.0


def name_of(lease: Lease) -> tuple[int, str]:
    """What names *lease* among those of all shards."""
    return lease.shard, lease.token


class Inbox:
    """Lists take turns; one that may not start anything now is passed over, so that nobody waits
    behind a slow host.

    A list is of one slot and the same scopes. Within it local requests come first (as Scrapy's do
    before those on disk), by priority, then first in first out; leased ones stay in the order in
    which the queue gave them, and each may have an instant before which it must not depart.

    It owns giving back: what leaves it goes to the engine or to the queue, and the policy hears of
    either here and nowhere else. So a worker that holds nothing has no loads.

    Attributes:
        leased, local: how many of each wait here.
        departs: of the leased request that was popped last; ``None``: it had no instant to wait for.
        next_at: after a :meth:`pop` that gave nothing: the first instant at which something
            departs; ``None``: none is waited for.
        paced: slots that have an interval, and when that was last said: what was leased without an
            instant has to get one where it leaves.
    """

    def __init__(
        self,
        outbox: Outbox,
        policy: SlotPolicy,
        clock: Callable[[], float] = time.monotonic,
        store: StoreClock | None = None,
    ) -> None:
        self._outbox = outbox
        self._policy = policy
        self._clock = clock
        self._store = StoreClock(clock) if store is None else store
        self._leases: dict[Key, deque[Lease]] = {}
        self._local: dict[Key, list[tuple[int, int, Local]]] = {}
        self._at: dict[tuple[int, str], Instant] = {}  # shard, token -> when it departs; of those that must wait for it
        self._order: deque[Key] = deque()
        self._seq = count()
        self.leased = 0
        self.local = 0
        self.next_at: float | None = None
        self.departs: Instant | None = None
        self.paced: dict[str, float] = {}
        self._longer: dict[str, float] = {}  # slot -> since when it has a longer interval, until that is known of

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
        return sum(instant.at > now for instant in self._at.values())

    def add(self, leases: Iterable[Lease]) -> None:
        policy, store, now = self._policy, self._store, self._clock()
        if len(self.paced) > MANY:
            self.paced.clear()
        if self._longer:  # what was asked for after that is booked by it
            self._longer = {slot: since for slot, since in self._longer.items() if since > store.asked}
        for lease in leases:
            key = (lease.slot, *lease.scopes)
            waiting = self._leases.get(key)
            if waiting is None:
                waiting = self._leases[key] = deque()
                if key not in self._local:
                    self._order.append(key)
            waiting.append(lease)
            if policy.is_paced(lease):
                at = store.instant(lease.wait, lease.departure, lease.shard)
                if lease.slot in self._longer:
                    at = -math.inf  # it goes back
                self._at[name_of(lease)] = Instant(at, lease.departure)
                if lease.departure is not None:
                    self.paced[lease.slot] = now
            elif self.paced and now - self.paced.get(lease.slot, now) > SETTLED:
                del self.paced[lease.slot]
            self.leased += 1
            policy.on_leased(lease)

    def add_local(self, local: Local) -> None:
        key = (local.slot,)
        heap = self._local.get(key)
        if heap is None:
            heap = self._local[key] = []
            if key not in self._leases:
                self._order.append(key)
        heapq.heappush(heap, (-local.request.priority, next(self._seq), local))
        self.local += 1

    def pop(self) -> Lease | Local | None:
        """The next one of the next list that has room; ``None``: there is none, or none has."""
        self.next_at, now, has_room = None, self._clock(), self._policy.has_room
        for _ in range(len(self._order)):
            key = self._order[0]
            local = key in self._local
            instant = self._at.get(name_of(self._leases[key][0])) if self._at and not local else None
            if instant is not None and instant.at > now:
                self.next_at = instant.at if self.next_at is None else min(instant.at, self.next_at)
            elif has_room(key, not local):
                return self._pop(key)
            self._order.rotate(-1)
        return None

    def can_start(self) -> bool:
        """Whether one of them could go out, were its instant here."""
        return any(self._policy.has_room(key, key not in self._local) for key in self._order)

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
            self.departs = self._at.pop(name_of(got), None) if self._at else None
            self.leased -= 1
            self._policy.on_started(got)
            if not waiting:
                del self._leases[key]
        if key in self._leases or key in self._local:
            self._order.rotate(-1)
        else:
            self._order.popleft()
        return got

    def hand_on(self, key: Key, instant: Instant) -> Instant:
        """*instant*, which nobody used, goes to the first leased request of *key* that departs
        later, the one that this had to the next, and so on. Answers the one that is left over.
        """
        for lease in self._leases.get(key, ()):
            name = name_of(lease)
            its = self._at.get(name)
            if its is not None and its.departure is not None and its.at > instant.at:
                self._at[name], instant = instant, its
        return instant

    # ------------------------------------------------------------------ giving back

    def give_back_list(self, key: Key) -> int:
        """What was leased of *key*; how many these were."""
        return self._give_back(lambda lease: (lease.slot, *lease.scopes) == key) if key in self._leases else 0

    def give_back(self) -> None:
        """All that was leased goes to others."""
        self._give_back(lambda lease: True)

    def give_back_missed(self, late: float) -> int:
        """What should have departed *late* seconds ago: its instant has gone by, and others may
        have the next ones. Answers how many went.
        """
        if not self._at:
            return 0
        end = self._clock() - late
        late_ones = {name for name, instant in self._at.items() if instant.at < end}
        return self._give_back(lambda lease: name_of(lease) in late_ones) if late_ones else 0

    def has_interval(self, slot: str, *, longer: bool) -> None:
        """*slot* has an interval from now on: what was leased without one goes back. *longer*: than it had;
        so does what was booked by that.
        """
        self.paced[slot] = self._clock()
        if longer:
            self._longer[slot] = self.paced[slot]
        self._give_back(lambda lease: lease.slot == slot and (longer or name_of(lease) not in self._at))

    def give_back_of(self, names: Collection[str]) -> None:
        """What belongs to one of these slots or scopes: they are held, and it would keep others
        waiting here.
        """
        self._give_back(lambda lease: any(name in names for name in names_of(lease)))

    def _give_back(self, unwanted: Callable[[Lease], bool]) -> int:
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
            instant = self._at.pop(name_of(lease), None)
            if instant is not None and instant.departure is not None:
                self._policy.on_unused(instant.departure)
        self._order = deque(key for key in self._order if key in self._local or key in self._leases)
        self.leased -= len(leases)
        self._policy.on_returned(leases)
        self._outbox.release(leases)
        return len(leases)
