"""Who gets what when slots have limits: one call's leases, see "Throttling" in
:class:`~mocra_scrapy.interfaces.IRequestQueue`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from mocra_scrapy.backends.embedded.slots import Item, Room
from mocra_scrapy.backends.embedded.throttle import MANY, Throttle
from mocra_scrapy.models import QueueOptions
from mocra_scrapy.models.entries import names_of

#: Slots beyond those it takes from that one call looks at, at most.
LOOKS = 200


class PendingLists(Protocol):
    """What it needs of the lists of pending entries, see
    :class:`~mocra_scrapy.backends.embedded.slots.Slots`.
    """

    def release(self, now: float) -> None: ...
    def next_slots(self, most: int, avoid: Iterable[str]) -> list[str]: ...
    def serve(self, name: str, most: int, room: Room) -> list[Item]: ...
    def hold(self, name: str, until: float) -> None: ...
    def holds(self, name: str) -> bool: ...


class ThrottledLeasing:
    """The leases of one call.

    Args:
        slots: the pending entries.
        worker: who calls.
        loads: what it has of slots and scopes.
        avoid: slots and scopes that give nothing.

    Attributes:
        taken: ``(item, instant at which it may depart)``.
        names: slots and scopes of which the worker has something new.
        crowded: those that have no permit for it.
    """

    def __init__(
        self,
        slots: PendingLists,
        throttle: Throttle,
        options: QueueOptions,
        *,
        worker: str,
        loads: Mapping[str, int],
        avoid: Iterable[str],
        now: float,
    ) -> None:
        self._slots, self._throttle = slots, throttle
        self._lookahead = options.lookahead
        self._worker, self._now = worker, now
        self._loads = dict(loads)
        self._avoid = set(avoid)
        self._closed: set[str] = set()
        self._room = Room()
        self.taken: list[tuple[Item, float]] = []
        self.names: dict[str, None] = {}
        self.crowded: dict[str, None] = {}

    def due(self, list_name: str) -> float | None:
        """When the next entry of a list may depart; ``None``: not now, or not to this worker."""
        room, due = self.allowed(list_name)
        return due if room > 0 and due <= self._now + self._lookahead else None

    def allowed(self, list_name: str) -> tuple[int, float]:
        """How many entries of a list the worker may have now, and when the first of them may
        depart.
        """
        names = names_of(list_name)
        if not self._avoid.isdisjoint(names):
            return 0, self._now
        due = self._throttle.departure(names, self._now)
        if due > self._now + self._lookahead:
            return 0, due
        room, crowded = self._throttle.room(self._worker, names, self._loads, self._now)
        if crowded:
            self.crowded[crowded] = None
            self._avoid.add(crowded)
        return room, due

    def give_suspect(self, item: Item, due: float) -> None:
        """As :meth:`give`; there is room, for it comes first."""
        self._room.spend(item)
        self.give(item, due)

    def give(self, item: Item, due: float) -> None:
        """Hand out one *item* that departs at *due*."""
        self.taken.append((item, due))
        names = names_of(item.list_name)
        self._throttle.book(names, due, self._now)
        for name in names:
            self._loads[name] = self._loads.get(name, 0) + 1
            self.names[name] = None
        self._throttle.grant(self._worker, names, self._loads, self._now)

    def serve(self, want: int) -> None:
        """Up to *want* of them, lists taking turns."""
        self._slots.release(self._now)
        looks = LOOKS + want
        while len(self.taken) < want and looks > 0 and not self._room.full:
            missing = want - len(self.taken)
            ready = self._slots.next_slots(missing, self._closed)
            if not ready:
                return
            quantum = -(-missing // len(ready))
            for list_name in ready:
                looks -= 1
                self._serve(list_name, min(quantum, want - len(self.taken)))

    def _serve(self, list_name: str, most: int) -> None:
        names = names_of(list_name)
        while most > 0 and not self._room.full:
            room, due = self.allowed(list_name)
            if due > self._now + self._lookahead:
                self._slots.hold(list_name, due - self._lookahead)
                return
            if room <= 0:
                self._closed.add(list_name)
                return
            paced = any(self._throttle.limit_of(name, self._now).interval for name in names)
            items = self._slots.serve(list_name, 1 if paced else min(most, room, MANY), self._room)
            for item in items:
                self.give(item, due)
            most -= len(items)
            if not self._slots.holds(list_name):
                return
