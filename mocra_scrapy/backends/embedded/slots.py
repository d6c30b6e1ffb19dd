"""Pending entries: a list per (slot, rank), and the order in which slots take turns."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import islice

from mocra_scrapy.models import LEASED_BYTES, Entry
from mocra_scrapy.models.entries import BETWEEN, list_of, names_of, rank_of


class Item:
    """A stored entry.

    Attributes:
        list_name: the list that it waits in, see :func:`~mocra_scrapy.models.entries.list_of`.
        rank: see :func:`~mocra_scrapy.models.entries.rank_of`.
        lost: hand-outs to workers that died.
        first: seconds since the epoch when it was first taken from a dead worker.
    """

    __slots__ = ("body", "first", "list_name", "lost", "rank")

    def __init__(self, body: bytes, list_name: str, rank: int, lost: int = 0, first: float | None = None) -> None:
        self.body = body
        self.list_name = list_name
        self.rank = rank
        self.lost = lost
        self.first = first

    @property
    def priority(self) -> int:
        return self.rank >> 1

    @property
    def start(self) -> bool:
        return not self.rank & 1


def item_of(entry: Entry) -> Item:
    """*entry* as it is stored: without fingerprint and delay."""
    return Item(entry.body, list_of(entry), rank_of(entry))


class Room:
    """How much more one answer may hold, see :data:`~mocra_scrapy.models.LEASED_BYTES`.

    Attributes:
        full: whether something did not fit: then nothing else does, so that large entries are not
            overtaken for ever.
    """

    __slots__ = ("_left", "full")

    def __init__(self) -> None:
        self._left = LEASED_BYTES
        self.full = False

    def spend(self, item: Item) -> None:
        """*item* is handed out."""
        self._left -= len(item.body)

    def fits(self, item: Item) -> bool:
        """Whether *item* is handed out: the first one always."""
        self.full = self.full or len(item.body) > self._left < LEASED_BYTES
        if not self.full:
            self.spend(item)
        return not self.full


class Slot:
    """One slot's lists. A rank is in ``order`` exactly while its list has something."""

    __slots__ = ("lists", "order")

    def __init__(self) -> None:
        self.lists: dict[int, deque[Item]] = {}  # next one on the left
        self.order: list[int] = []  # heap of -rank

    def put(self, item: Item, front: bool) -> None:
        items = self.lists.get(item.rank)
        if items is None:
            items = self.lists[item.rank] = deque()
            heappush(self.order, -item.rank)
        if front:
            items.appendleft(item)
        else:
            items.append(item)

    def take(self, most: int, room: Room) -> list[Item]:
        """Up to *most* items, the best rank first, while there is *room*."""
        taken: list[Item] = []
        while self.order and len(taken) < most and not room.full:
            rank = -self.order[0]
            items = self.lists[rank]
            while items and len(taken) < most and room.fits(items[0]):
                taken.append(items.popleft())
            if not items:
                # Only the best list is ever emptied, so the heap needs no search.
                heappop(self.order)
                del self.lists[rank]
        return taken

    def __iter__(self) -> Iterator[Item]:
        for rank in sorted(self.lists, reverse=True):
            yield from self.lists[rank]


class Slots:
    """All slots that have something pending, in the order of their turns.

    The clock never goes back, so "since when it waits for its turn" is the order of this dict: a
    slot that becomes ready and one that was served go to its end. A call looks at as many slots as
    it takes entries (and those it was told to avoid), not at all.
    """

    def __init__(self) -> None:
        self._slots: OrderedDict[str, Slot] = OrderedDict()
        self._held: dict[str, Slot] = {}  # those whose turn is not before an instant …
        # … which this heap has; entries of slots that are no longer held are passed over.
        self._until: list[tuple[float, str]] = []
        self._count = 0
        self._scoped = False  # whether any list had scopes

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for slot in (*self._slots.values(), *self._held.values()):
            yield from slot

    def pending_in(self, name: str) -> int:
        """Items of all lists of slot *name*."""
        slots = [s for each in (self._slots, self._held) for n, s in each.items() if names_of(n)[0] == name]
        return sum(len(items) for slot in slots for items in slot.lists.values())

    def knows(self, name: str) -> bool:
        """Whether the list *name* has something, or (where lists have scopes) any list of that slot."""
        if name in self._slots or name in self._held:
            return True
        return self._scoped and any(
            BETWEEN in other and names_of(other)[0] == name for each in (self._slots, self._held) for other in each
        )

    def pull_out(self, slot: str) -> list[Item]:
        """Take all that lists of *slot* have, in the order in which it would be served."""
        out: list[Item] = []
        for each in (self._slots, self._held):
            for name in [name for name in each if names_of(name)[0] == slot]:
                out += each.pop(name)
        self._count -= len(out)
        return out

    # ------------------------------------------------------------------ those that must wait

    def hold(self, name: str, until: float) -> None:
        """Pass *name* over until that instant (which may be infinite)."""
        self._held[name] = self._slots.pop(name)
        heappush(self._until, (until, name))

    def release(self, now: float = 0.0, *, all_held: bool = False) -> None:
        """Let those take turns again whose instant has come, or all (their limits changed: each is
        looked at when its turn comes).
        """
        if all_held:
            self._slots.update(self._held)
            self._held.clear()
            self._until.clear()
        while self._until and self._until[0][0] <= now:
            name = heappop(self._until)[1]
            if name in self._held:
                self._slots[name] = self._held.pop(name)

    def holds(self, name: str) -> bool:
        """Whether *name* has something and takes turns."""
        return name in self._slots

    def next_release(self) -> float | None:
        """When the first of those that are held may go on; ``None``: none is."""
        while self._until and self._until[0][1] not in self._held:
            heappop(self._until)
        return self._until[0][0] if self._until else None

    # ------------------------------------------------------------------ turns

    def next_slots(self, most: int, avoid: Iterable[str]) -> list[str]:
        """Up to *most* slots that come next, but for those to avoid."""
        closed = set(avoid)
        return [name for name in islice(self._slots, most + len(closed)) if name not in closed][:most]

    def put(self, item: Item, *, front: bool) -> None:
        """Store *item*; *front*: it is the next of its slot and rank to be handed out."""
        slot = self._slots.get(item.list_name) or self._held.get(item.list_name)
        if slot is None:
            slot = self._slots[item.list_name] = Slot()
            self._scoped = self._scoped or BETWEEN in item.list_name
        slot.put(item, front)
        self._count += 1

    def take(self, want: int, avoid: Iterable[str], per_slot: int, *, given: dict[str, int], room: Room) -> list[Item]:
        """Up to *want* items, slots taking turns.

        Args:
            want: how many at most.
            avoid: slots that give nothing.
            per_slot: how many of each slot at most, 0: any number.
            given: how many of a slot this call has handed out before.
            room: of the answer.
        """
        closed = {*avoid, *(s for s, n in given.items() if 0 < per_slot <= n)}
        taken: list[Item] = []
        while len(taken) < want and not room.full:
            missing = want - len(taken)
            ready = [name for name in islice(self._slots, missing + len(closed)) if name not in closed]
            if not ready:
                break
            quantum = -(-missing // len(ready))
            for name in ready[:missing]:
                most = min(quantum, want - len(taken))
                if per_slot:
                    most = min(most, per_slot - given.get(name, 0))
                got = self.serve(name, most, room)
                taken += got
                given[name] = given.get(name, 0) + len(got)
                if 0 < per_slot <= given[name]:
                    closed.add(name)
        return taken

    def serve(self, name: str, most: int, room: Room) -> list[Item]:
        """One slot's turn; it goes to the end of the line, or out of it."""
        slot = self._slots[name]
        taken = slot.take(most, room) if most > 0 else []
        self._count -= len(taken)
        if not slot.order:
            del self._slots[name]
        elif taken:
            self._slots.move_to_end(name)
        return taken
