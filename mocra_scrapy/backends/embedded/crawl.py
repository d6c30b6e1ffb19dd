"""All that is stored of one crawl, and the single steps that change it.

None of them awaits, so each verb that a backend makes of them is atomic for its event loop.
Instants named ``now`` are the backend's clock, which never goes back, ``wall`` is seconds since the
epoch.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import count
from math import isinf
from typing import TypeVar

from mocra_scrapy.backends.embedded.budgets import Budgets
from mocra_scrapy.backends.embedded.circuits import Circuits
from mocra_scrapy.backends.embedded.dead_letters import DeadLetterTable
from mocra_scrapy.backends.embedded.dictionaries import Dictionaries
from mocra_scrapy.backends.embedded.fingerprints import FingerprintFilter
from mocra_scrapy.backends.embedded.log import Log
from mocra_scrapy.backends.embedded.slots import Item, Slots, item_of
from mocra_scrapy.backends.embedded.stalls import Stalls
from mocra_scrapy.backends.embedded.throttle import Throttle
from mocra_scrapy.backends.embedded.wakeups import Wakeups
from mocra_scrapy.backends.embedded.workers import Worker
from mocra_scrapy.models import CrawlState, DeadLetter, Departure, Entry, Job, QueueOptions, QueueSize, Seeding
from mocra_scrapy.models.entries import fingerprint_number, names_of

#: Entries that one call promotes, reclaims, or looks at among the suspects, at most.
BUDGET = 100

T = TypeVar("T")


class StoredCrawl:
    """The state of one crawl. An entry is in exactly one of ``slots``, ``suspects``, ``delayed``, a
    worker's ``held``, ``stalls.doomed``, ``dead``.
    """

    def __init__(self, wakeups: Wakeups, name: str = "") -> None:
        self.wakeups, self.name = wakeups, name
        self.tokens = count(1)  # survives clear(): a lease from before must not fit an entry from after
        self._numbers = count(1)
        self.born = 0  # survives clear(), too: how many records there were
        self.dead = DeadLetterTable()
        self.clear()

    def clear(self) -> None:
        """Forget everything; who listens goes on listening."""
        self.run, self.finished, self.shards = 0, False, 0
        self.seeding, self.seeder = Seeding.OPEN, ""
        self.winner, self.positions = "", dict[str, bytes]()
        self.job: Job | None = None
        self.begun = 0.0  # by the wall's clock
        self.seen = FingerprintFilter()
        self.budgets = Budgets({}, self.seen.discard)
        self.log = Log()
        self.slots = Slots(self.withdraw)
        self.throttle = Throttle.in_memory()
        self.circuits = Circuits()
        self.stalls = Stalls()
        self.suspects: deque[Item] = deque()
        self.delayed: list[tuple[float, int, Item]] = []  # heap: due, number, item
        self.workers: dict[str, Worker] = {}
        self.heard, self.silence = 0.0, 0.0  # when a worker called last (0: never); see renew()
        self.dead_workers: OrderedDict[str, tuple[float, Worker]] = OrderedDict()  # forgotten when, worker
        self.dead.clear()
        self.dictionaries = Dictionaries()
        self.wakeups.clear()

    # ------------------------------------------------------------------ looks

    def state(self) -> CrawlState:
        return CrawlState(self.run, self.finished, self.seeding, born=self.born if self.run else 0)

    def size(self) -> QueueSize:
        leased = sum(worker.holds for worker in self.workers.values())
        return QueueSize(self.pending, len(self.delayed), leased, len(self.dead), len(self.seen))

    @property
    def pending(self) -> int:
        return len(self.slots) + len(self.suspects) + len(self.stalls.doomed)

    def next_due(self, now: float) -> float | None:
        """Seconds until a delay ends, a slot may be served again, or a worker that holds something
        dies; ``None``: none of these.
        """
        if self.stalls.doomed:
            return 0.0
        instants = [worker.expires for worker in self.workers.values() if worker.holds]
        if self.delayed:
            instants.append(self.delayed[0][0])
        released = self.slots.turns.next_release()
        if released is not None and not isinf(released):
            instants.append(released)
        return max(0.0, min(instants) - now) if instants else None

    # ------------------------------------------------------------------ the run

    def reopen(self) -> None:
        """Something was stored after the end."""
        self.finished, self.winner = False, ""

    def wake_all(self) -> None:
        for name in {*self.workers, *self.wakeups.listeners()}:
            self.wakeups.wake(name)

    def wake_holders(self, name: str) -> None:
        """Those that have permits of a slot or scope are to hear of something."""
        for worker in self.throttle.permits.get(name, ()):
            self.wakeups.wake(worker)

    def take_back(self, unused: Departure, now: float) -> None:
        """A booked departure did not happen: its list is looked at again."""
        self.throttle.take_back(unused, now)
        self.slots.turns.sooner(unused.names)

    def look_again(self) -> None:
        """Limits changed: every list is looked at anew, by those who found nothing."""
        self.slots.turns.look_again()
        self.wakeups.wake_hungry()

    # ------------------------------------------------------------------ workers

    def renew(self, name: str, now: float, lease: float) -> Worker:
        """*name* called: it lives, and keeps what was not taken yet. One that is not known (any
        more) is taken in.

        Where nobody called for so long that some would be taken for dead, it was this store that
        was away. Nobody died of it: all may be silent for longer, by that ``silence``.
        """
        gap = now - self.heard if self.heard else 0.0
        self.heard, self.silence = now, gap if gap > lease / 2 else 0.0
        for other in self.workers.values() if self.silence else ():
            other.expires += gap
        worker = self.workers.get(name)
        if worker is None:
            worker = self.dead_workers.pop(name, (0.0, None))[1] or Worker(name, 0.0)
            self.workers[name] = worker
        worker.expires = now + lease
        return worker

    def declare_dead(self, name: str, now: float) -> int | None:
        """The lease of *name* ends now; how many entries it holds. ``None``: it has none."""
        worker = self.workers.get(name)
        if worker is None or worker.expires < now:
            return None
        worker.expires = now - 0.001  # as others see it: the past
        self.wakeups.wake_hungry()
        return worker.holds

    def leave(self, name: str, options: QueueOptions, now: float) -> int:
        """*name* signs off; how many entries it gave back."""
        worker = self.workers.get(name)
        given = 0
        if worker is not None:
            given = worker.holds
            while worker.held:
                self.give_back(worker.held.popitem()[1], options.isolate_after)
            self.end_transit(worker, given, now, options)
            self.forget_worker(worker)
        self.dead_workers.pop(name, None)
        if given or (worker is not None and self.pending):
            self.wakeups.wake_hungry()  # permits of its are free, too
        return given

    def living(self, now: float, but: str) -> list[Worker]:
        """Workers whose lease has not run out, other than the one called *but*."""
        return [worker for worker in self.workers.values() if worker.expires >= now and worker.name != but]

    def end_rules_of_the_dead(self, now: float) -> None:
        """Rules last as long as somebody lives who brought them, though nobody came for what the
        dead held.
        """
        for worker in self.workers.values():
            if worker.expires < now:
                self.throttle.rules.forget(worker.name)

    def forget_worker(self, worker: Worker) -> None:
        del self.workers[worker.name]
        self.throttle.forget(worker.name)
        self.slots.turns.open_all()
        self.wakeups.forget(worker.name)
        if self.seeding is Seeding.CLAIMED and self.seeder == worker.name:
            self.seeding, self.seeder = Seeding.OPEN, ""

    # ------------------------------------------------------------------ entries

    def put_new(self, item: Item, lifo: bool) -> None:
        """Line *item* up as one that comes for the first time."""
        if not self.stalls.takes(item):
            self.slots.put(item, front=lifo and not item.start)

    def put_delayed(self, item: Item, due: float) -> None:
        if not self.stalls.takes(item):
            heappush(self.delayed, (due, next(self._numbers), item))

    def line_up(self, item: Item, due: float, now: float, lifo: bool) -> bool:
        """Line *item* up as one that comes for the first time, at *due*; whether it may be had now."""
        if due > now:
            self.put_delayed(item, due)
        else:
            self.put_new(item, lifo)
        return due <= now

    def end_transit(self, worker: Worker, most: int, now: float, options: QueueOptions) -> int:
        """Line up what *worker* has on its way to a log, *most* at most; how many."""
        tokens = list(worker.transit)[: max(0, most)]
        for token in tokens:
            item, due = worker.transit.pop(token)
            self.line_up(self.log.as_twin(item, (worker.name, token)), due, now, options.lifo)
        return len(tokens)

    def withdraw(self, item: Item) -> bool:
        """Whether *item*, which waited, is gone now: a budget of it is used up that no waiting mends."""
        is_gone = self.budgets.withdraw(item)
        if is_gone:
            self.log.note(item)
        return is_gone

    def give_back(self, item: Item, isolate_after: int) -> None:
        """Put *item* first in line; a suspect to where suspects wait."""
        self.budgets.waits(item)
        if self.stalls.takes(item):
            return
        if item.lost >= isolate_after:
            self.suspects.appendleft(item)
        else:
            self.slots.put(item, front=True)

    def replay(self, letters: Iterable[DeadLetter], lifo: bool, *, forget: bool) -> None:
        """Line up what *letters* (which are in no table any more) are about, as if never delivered;
        *forget*: their fingerprints are new again.
        """
        replayed = False
        for letter in letters:
            replayed = True
            self.open_again(letter.slot, lifo)
            entry = Entry(letter.body, letter.slot, letter.priority, None, letter.start, scopes=letter.scopes)
            self.put_new(item_of(entry), lifo)
            if forget and letter.fingerprint is not None:
                self.seen.discard(fingerprint_number(letter.fingerprint))
        if replayed:
            self.reopen()
            self.wakeups.wake_hungry()

    # ------------------------------------------------------------------ slots that are given up

    def is_idle(self, slot: str) -> bool:
        """Whether nothing of *slot* is stored, as far as can be told without a search: what is
        delayed may be of it.
        """
        held = any(item.list_name == slot for worker in self.workers.values() for item in worker.items())
        return not (held or self.delayed or self.slots.knows(slot) or self.throttle.permits.get(slot))

    def give_up(self, slot: str, why: str, now: float) -> None:
        """All that is stored of *slot* is on its way to the dead letters, and what comes, too."""
        self.stalls.given_up[slot] = why
        self.stalls.failing.pop(slot, None)
        self.circuits.drop(slot, self.throttle, now)
        self.delayed = [delayed for delayed in self.delayed if not self.stalls.takes(delayed[2])]
        heapify(self.delayed)
        self.suspects = deque(item for item in self.suspects if not self.stalls.takes(item))
        self.stalls.doomed.extend(self.slots.pull_out(slot))
        self.wake_holders(slot)
        self.wakeups.wake_hungry()

    def open_again(self, slot: str, lifo: bool) -> bool:
        """*slot* is as before it failed; ``False``: it was not given up."""
        known = slot in self.stalls.given_up
        for item in self.stalls.open_again(slot):
            self.put_new(item, lifo)
        if known:
            self.wakeups.wake_hungry()
        return known

    def bury_stalled(self, most: int, now: float, wall: float, max_dead: int) -> int:
        """Make up to *most* entries of slots that were given up dead letters; how many."""
        doomed, number = self.stalls.doomed, 0
        while doomed and number < most:
            item = doomed.popleft()
            self.budgets.waits(item, -1)
            self.log.note(item)
            why = self.stalls.given_up[names_of(item.list_name)[0]]
            self.dead.add(item, ("stalled", why), "", now=now, wall=wall, most=max_dead, hand_outs=item.lost)
            number += 1
        return number

    def promote(self, now: float, lifo: bool) -> int:
        """Line up delayed entries that are due, :data:`BUDGET` at most; how many."""
        promoted = 0
        while promoted < BUDGET and self.delayed and self.delayed[0][0] <= now:
            self.put_new(heappop(self.delayed)[2], lifo)
            promoted += 1
        return promoted

    def take_suspect(self, allowed: Callable[[str], T | None]) -> tuple[Item, T] | None:
        """The next suspect of a list that *allowed* lets go, and what that answered. Those passed
        over go to the end of their line.
        """
        for _ in range(min(BUDGET, len(self.suspects))):
            item = self.suspects.popleft()
            if self.withdraw(item):
                continue
            answer = allowed(item.list_name)
            if answer is not None:
                return item, answer
            self.suspects.append(item)
        return None
