"""Pending entries: a list per (slot, rank)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from mocra_scrapy.backends.embedded.turns import Turns
from mocra_scrapy.models import LEASED_BYTES, Entry, Transit
from mocra_scrapy.models.entries import BETWEEN, list_of, names_of, rank_of

#: Items that are withdrawn in one call, at most.
MOST_WITHDRAWN = 500


class Counted(NamedTuple):
    """For which budgets an entry counts, and what is undone when one of them is used up: the number of
    its fingerprint; nothing where it came *again*.
    """

    names: tuple[str, ...]
    number: int | None
    again: bool


class Item:
    """A stored entry.

    Attributes:
        list_name: the list that it waits in, see :func:`~mocra_scrapy.models.entries.list_of`.
        rank: see :func:`~mocra_scrapy.models.entries.rank_of`.
        lost: hand-outs to workers that died.
        first: seconds since the epoch when it was first taken from a dead worker.
        budgets: names of budgets that it counts for; ``None``: none.
    """

    __slots__ = ("body", "budgets", "first", "list_name", "lost", "rank")

    def __init__(self, body: bytes, list_name: str, rank: int, lost: int = 0, first: float | None = None) -> None:
        self.body = body
        self.list_name = list_name
        self.rank = rank
        self.lost = lost
        self.first = first
        self.budgets: Counted | None = None

    @property
    def priority(self) -> int:
        return self.rank >> 1

    @property
    def start(self) -> bool:
        return not self.rank & 1


class LoggedItem(Item):
    """An entry that came from a log: its *origin* is a partition and an offset."""

    __slots__ = ("origin",)
    origin: tuple[str, int]


def logged_item(item: Item, origin: tuple[str, int]) -> LoggedItem:
    """*item*, new, as one that came from a log."""
    logged = LoggedItem(item.body, item.list_name, item.rank)
    logged.origin, logged.budgets = origin, item.budgets
    return logged


class TwinItem(Item):
    """An entry that was in *transit* when its pusher was gone: the log has it perhaps, too."""

    __slots__ = ("transit",)
    transit: Transit


def twin_item(item: Item, transit: Transit) -> TwinItem:
    """*item*, new, as one that was in *transit*."""
    twin = TwinItem(item.body, item.list_name, item.rank)
    twin.transit, twin.budgets = transit, item.budgets
    return twin


def item_of(entry: Entry, number: int | None = None) -> Item:
    """*entry* as it is stored, without its delay; *number*: of its fingerprint."""
    item = Item(entry.body, list_of(entry), rank_of(entry))
    if entry.budgets:
        item.budgets = Counted(entry.budgets, number, entry.again)
    return item


class Room:
    """How much more one answer may hold, see :data:`~mocra_scrapy.models.LEASED_BYTES`.

    Attributes:
        full: whether something did not fit: then nothing else does, so that large entries are not
            overtaken for ever.
        withdrawn: items that are gone instead of being handed out.
    """

    __slots__ = ("_left", "full", "withdrawn")

    def __init__(self) -> None:
        self._left = LEASED_BYTES
        self.withdrawn = 0
        self.full = False

    @property
    def tired(self) -> bool:
        """Whether as many were withdrawn as one call may: the next finds more."""
        return self.withdrawn >= MOST_WITHDRAWN

    def withdrew(self) -> None:
        """An item is gone instead of being served."""
        self.withdrawn += 1
        self.full = self.full or self.tired

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

    def take(self, most: int, room: Room, withdraw: Callable[[Item], bool]) -> list[Item]:
        """Up to *most* items, the best rank first, while there is *room*; without those that *withdraw* is
        true of.
        """
        taken: list[Item] = []
        while self.order and len(taken) < most and not room.full:
            rank = -self.order[0]
            items = self.lists[rank]
            while items and len(taken) < most:
                if items[0].budgets is not None and not room.full and withdraw(items[0]):
                    items.popleft()
                    room.withdrew()
                elif room.fits(items[0]):
                    taken.append(items.popleft())
                else:
                    break
            if not items:
                # Only the best list is ever emptied, so the heap needs no search.
                heappop(self.order)
                del self.lists[rank]
        return taken

    def __iter__(self) -> Iterator[Item]:
        for rank in sorted(self.lists, reverse=True):
            yield from self.lists[rank]


class Slots:
    """All lists that have something pending, and the order of their turns.

    A call looks at as many lists as it takes entries from (and those it was told to avoid), not at
    all.

    Attributes:
        turns: whose turn it is.
        withdraw: whether an item is gone instead of being served, because a budget of it is used up.
    """

    def __init__(self, withdraw: Callable[[Item], bool]) -> None:
        self.turns, self.withdraw = Turns(), withdraw
        self._lists: dict[str, Slot] = {}
        self._count = 0
        self._scoped = False  # whether any list had scopes

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for slot in self._lists.values():
            yield from slot

    def pending(self) -> dict[str, int]:
        """Slot -> items of all its lists; scopes that they wait for are there with 0."""
        out: dict[str, int] = {}
        for list_name, slot in self._lists.items():
            for i, name in enumerate(names_of(list_name)):
                out[name] = out.get(name, 0) + (0 if i else sum(map(len, slot.lists.values())))
        return out

    def pending_in(self, name: str) -> int:
        """Items of all lists of slot *name*."""
        slots = [slot for list_name, slot in self._lists.items() if names_of(list_name)[0] == name]
        return sum(len(items) for slot in slots for items in slot.lists.values())

    def knows(self, name: str) -> bool:
        """Whether the list *name* has something, or (where lists have scopes) any list of that slot."""
        if name in self._lists:
            return True
        return self._scoped and any(BETWEEN in other and names_of(other)[0] == name for other in self._lists)

    def pull_out(self, slot: str) -> list[Item]:
        """Take all that lists of *slot* have, in the order in which it would be served."""
        out: list[Item] = []
        for name in [name for name in self._lists if names_of(name)[0] == slot]:
            out += self._lists.pop(name)
            self.turns.leave(name)
        self._count -= len(out)
        return out

    def misplaced(self) -> list[str]:
        """Lists that no turn would reach, or two would; there are none."""
        return self.turns.misplaced(self._lists)

    def put(self, item: Item, *, front: bool) -> None:
        """Store *item*; *front*: it is the next of its slot and rank to be handed out."""
        slot = self._lists.get(item.list_name)
        if slot is None:
            slot = self._lists[item.list_name] = Slot()
            self.turns.enter(item.list_name)
            self._scoped = self._scoped or BETWEEN in item.list_name
        slot.put(item, front)
        self._count += 1

    def take(self, want: int, avoid: Iterable[str], per_slot: int, *, given: dict[str, int], room: Room) -> list[Item]:
        """Up to *want* items, slots taking turns, where no limits count.

        Args:
            want: how many at most.
            avoid: slots that give nothing.
            per_slot: how many of each slot at most, 0: any number.
            given: how many of a slot this call has handed out before.
            room: of the answer.
        """
        self.turns.scatter()
        closed = {*avoid, *(s for s, n in given.items() if 0 < per_slot <= n)}
        taken: list[Item] = []
        while len(taken) < want and not room.full:
            missing = want - len(taken)
            ready = self.turns.line(missing, closed)
            if not ready:
                break
            quantum = -(-missing // len(ready))
            for name in ready:
                most = min(quantum, want - len(taken))
                if per_slot:
                    most = min(most, per_slot - given.get(name, 0))
                got = self.serve(name, most, room)
                if got and self.holds(name):
                    self.turns.to_end(name)
                taken += got
                given[name] = given.get(name, 0) + len(got)
                if 0 < per_slot <= given[name]:
                    closed.add(name)
        return taken

    def serve(self, name: str, most: int, room: Room) -> list[Item]:
        """Up to *most* items of one list. Where its next turn is the caller says, if something is left."""
        slot = self._lists[name]
        taken = slot.take(most, room, self._withdrawn) if most > 0 else []
        self._count -= len(taken)
        if not slot.order:
            del self._lists[name]
            self.turns.leave(name)
        return taken

    def _withdrawn(self, item: Item) -> bool:
        is_gone = self.withdraw(item)
        self._count -= is_gone
        return is_gone

    def holds(self, name: str) -> bool:
        """Whether list *name* has something."""
        return name in self._lists
