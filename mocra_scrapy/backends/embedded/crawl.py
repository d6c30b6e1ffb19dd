"""All that is stored of one crawl, and the single steps that change it.

None of them awaits, so each verb of :class:`~mocra_scrapy.backends.memory.queue.MemoryRequestQueue`
is atomic for its event loop. Instants named ``now`` are the injected monotonic clock, ``wall`` is
seconds since the epoch.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from math import isinf

from mocra_scrapy.backends.embedded.circuits import Circuits
from mocra_scrapy.backends.embedded.fingerprints import FingerprintFilter
from mocra_scrapy.backends.embedded.slots import Item, Slots
from mocra_scrapy.backends.embedded.throttle import Throttle
from mocra_scrapy.backends.embedded.wakeups import Wakeups
from mocra_scrapy.backends.memory.dead_letters import DeadLetterTable
from mocra_scrapy.backends.memory.dictionaries import Dictionaries
from mocra_scrapy.models import Burial, CrawlState, QueueOptions, QueueSize, Seeding

#: Entries that one call promotes, reclaims, or looks at among the suspects, at most.
BUDGET = 100
#: Seconds for which the last call of a worker that died is remembered, in case that it repeats it.
REMEMBER = 3600.0


@dataclass(slots=True)
class Answered:
    """What is kept of a worker's last call, so that repeating it gives the same answer."""

    call: int
    stored: list[bool] = field(default_factory=list)
    acked: list[bool] = field(default_factory=list)
    released: list[bool] = field(default_factory=list)
    buried: list[bool] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    departs: list[float] = field(default_factory=list)  # an instant for each token
    names: list[str] = field(default_factory=list)  # slots and scopes whose permits changed
    crowded: list[str] = field(default_factory=list)
    held: dict[str, float] = field(default_factory=dict)
    lost: bool = False
    reclaimed: int = 0
    given_up: int = 0


@dataclass(slots=True)
class Worker:
    """A worker that joined and neither left nor was reclaimed.

    Attributes:
        expires: when its lease ends.
        held: what it holds by token, the oldest hand-out first.
        suspect: token of the suspect among these.
        lost: something was taken from it since its last call.
        last: its last call.
    """

    name: str
    expires: float
    held: dict[str, Item] = field(default_factory=dict)
    suspect: str | None = None
    lost: bool = False
    last: Answered | None = None

    def drop(self, token: str) -> Item | None:
        """Take *token* from it; ``None``: it does not hold it (any more)."""
        if token == self.suspect:
            self.suspect = None
        return self.held.pop(token, None)


class StoredCrawl:
    """The state of one crawl. An entry is in exactly one of ``slots``, ``suspects``, ``delayed``, a
    worker's ``held``, ``dead``.
    """

    def __init__(self) -> None:
        self.wakeups = Wakeups()
        self.tokens = count(1)  # survives clear(): a lease from before must not fit an entry from after
        self._numbers = count(1)
        self.dead = DeadLetterTable()
        self.clear()

    def clear(self) -> None:
        """Forget everything; who listens goes on listening."""
        self.run, self.finished, self.shards = 0, False, 0
        self.seeding, self.seeder = Seeding.OPEN, ""
        self.winner = ""
        self.slots = Slots()
        self.throttle = Throttle()
        self.circuits = Circuits()
        self.suspects: deque[Item] = deque()
        self.delayed: list[tuple[float, int, Item]] = []  # heap: due, number, item
        self.workers: dict[str, Worker] = {}
        self.departed: OrderedDict[str, tuple[float, Worker]] = OrderedDict()  # those that died: forgotten when, worker
        self.dead.clear()
        self.seen = FingerprintFilter()
        self.dictionaries = Dictionaries()
        self.wakeups.clear()

    # ------------------------------------------------------------------ looks

    def state(self) -> CrawlState:
        return CrawlState(self.run, self.finished, self.seeding)

    def size(self) -> QueueSize:
        leased = sum(len(worker.held) for worker in self.workers.values())
        return QueueSize(self.pending, len(self.delayed), leased, len(self.dead), len(self.seen))

    @property
    def pending(self) -> int:
        return len(self.slots) + len(self.suspects)

    def next_due(self, now: float) -> float | None:
        """Seconds until a delay ends, a slot may be served again, or a worker that holds something
        dies; ``None``: none of these.
        """
        instants = [worker.expires for worker in self.workers.values() if worker.held]
        if self.delayed:
            instants.append(self.delayed[0][0])
        released = self.slots.next_release()
        if released is not None and not isinf(released):
            instants.append(released)
        return max(0.0, min(instants) - now) if instants else None

    # ------------------------------------------------------------------ the run

    def begin_or_resume(self, keep_seen: bool, shards: int) -> bool:
        """Start the next run unless one is unfinished; whether it was resumed."""
        exhausted = self.seeding is Seeding.DONE and not self.size().unfinished and not self.workers
        # Everything is done and everybody left, but nobody lived to say so: that run is over, too.
        if self.run and not self.finished and not exhausted:
            return True
        if self.run and not keep_seen:
            self.seen.clear()
        self.run, self.finished, self.winner = self.run + 1, False, ""
        self.seeding, self.seeder = Seeding.OPEN, ""
        self.shards = self.shards or shards
        return False

    def reopen(self) -> None:
        """Something was stored after the end."""
        self.finished, self.winner = False, ""

    def wake_all(self) -> None:
        for name in {*self.workers, *self.wakeups.listeners()}:
            self.wakeups.wake(name)

    # ------------------------------------------------------------------ workers

    def renew(self, name: str, now: float, lease: float) -> Worker:
        """*name* called: it lives, and keeps what was not taken yet. One that is not known (any
        more) is taken in.
        """
        worker = self.workers.get(name)
        if worker is None:
            worker = self.departed.pop(name, (0.0, None))[1] or Worker(name, 0.0)
            self.workers[name] = worker
        worker.expires = now + lease
        return worker

    def leave(self, name: str, isolate_after: int) -> int:
        """*name* signs off; how many entries it gave back."""
        worker = self.workers.get(name)
        given = 0
        if worker is not None:
            given = len(worker.held)
            while worker.held:
                self.give_back(worker.held.popitem()[1], isolate_after)
            self._forget(worker)
        self.departed.pop(name, None)
        if given:
            self.wakeups.wake_hungry()
        return given

    def _forget(self, worker: Worker) -> None:
        del self.workers[worker.name]
        self.throttle.forget(worker.name)
        self.wakeups.forget(worker.name)
        if self.seeding is Seeding.CLAIMED and self.seeder == worker.name:
            self.seeding, self.seeder = Seeding.OPEN, ""

    # ------------------------------------------------------------------ entries

    def put_new(self, item: Item, lifo: bool) -> None:
        """Line *item* up as one that comes for the first time."""
        self.slots.put(item, front=lifo and not item.start)

    def put_delayed(self, item: Item, due: float) -> None:
        heappush(self.delayed, (due, next(self._numbers), item))

    def give_back(self, item: Item, isolate_after: int) -> None:
        """Put *item* first in line; a suspect to where suspects wait."""
        if item.lost >= isolate_after:
            self.suspects.appendleft(item)
        else:
            self.slots.put(item, front=True)

    def bury(
        self, item: Item, why: Burial | tuple[str, str], worker: str, *, now: float, wall: float, most: int
    ) -> None:
        """Make *item* a dead letter."""
        self.dead.add(item, why, worker, now=now, wall=wall, most=most)

    def promote(self, now: float, lifo: bool) -> int:
        """Line up delayed entries that are due, :data:`BUDGET` at most; how many."""
        promoted = 0
        while promoted < BUDGET and self.delayed and self.delayed[0][0] <= now:
            self.put_new(heappop(self.delayed)[2], lifo)
            promoted += 1
        return promoted

    def reclaim(self, now: float, wall: float, options: QueueOptions) -> tuple[int, int]:
        """Take from dead workers what they hold, :data:`BUDGET` entries at most: how many went
        back, how many were given up.

        A worker of which something is left stays the owner of the rest until that is taken, too.
        """
        while self.departed and next(iter(self.departed.values()))[0] <= now:
            self.departed.popitem(last=False)
        back = up = 0
        for worker in sorted((w for w in self.workers.values() if w.expires < now), key=lambda w: w.expires):
            while worker.held and back + up < BUDGET:
                token = next(reversed(worker.held))  # newest first, so that the oldest ends up first in line
                item = worker.drop(token)
                assert item is not None
                worker.lost = True
                if self._lost_with(worker.name, item, now, wall, options):
                    back += 1
                else:
                    up += 1
            if worker.held:
                break
            self._forget(worker)
            if worker.lost or worker.last is not None:
                self.departed[worker.name] = (now + REMEMBER, worker)
        return back, up

    def _lost_with(self, name: str, item: Item, now: float, wall: float, options: QueueOptions) -> bool:
        """Count one more hand-out of *item* that was lost; whether it goes on (``False``: it is a
        dead letter).
        """
        if item.first is None:
            item.first = wall
        hand_outs = item.lost + 1
        if hand_outs >= options.max_deliveries:
            detail = f"{hand_outs} workers died while they held it, the last one: {name}"
            self.bury(item, ("deliveries", detail), name, now=now, wall=wall, most=options.max_dead)
            return False
        item.lost = hand_outs
        self.give_back(item, options.isolate_after)
        return True

    def take_suspect(self, allowed: Callable[[str], bool]) -> Item | None:
        """The next suspect of a slot that *allowed* lets go. Those passed over go to the end of
        their line.
        """
        for _ in range(min(BUDGET, len(self.suspects))):
            item = self.suspects.popleft()
            if allowed(item.slot):
                return item
            self.suspects.append(item)
        return None
