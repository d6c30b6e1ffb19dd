"""Who gets what when slots have limits: one call's leases, see "Throttling" in
:class:`~mocra_scrapy.interfaces.IRequestQueue`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mocra_scrapy.backends.embedded.slots import Item, Slots
from mocra_scrapy.backends.embedded.throttle import MANY, Throttle, names_of
from mocra_scrapy.models import QueueOptions, SlotLimit

#: Slots beyond those it takes from that one call looks at, at most.
LOOKS = 200


class ThrottledLeasing:
    """The leases of one call.

    Args:
        worker: who calls.
        loads: what it has of slots and scopes.
        avoid: slots and scopes that give nothing.

    Attributes:
        taken: ``(item, instant at which it may depart)``.
        names: slots and scopes of which the worker has something new.
        crowded: those that have no place for it.
    """

    def __init__(
        self,
        slots: Slots,
        throttle: Throttle,
        options: QueueOptions,
        *,
        worker: str,
        loads: Mapping[str, int],
        avoid: Iterable[str],
        now: float,
    ) -> None:
        self._slots, self._throttle = slots, throttle
        self._default = options.limit or SlotLimit()
        self._lookahead = options.lookahead
        self._worker, self._now = worker, now
        self._loads = dict(loads)
        self._avoid = set(avoid)
        self._closed: set[str] = set()
        self.taken: list[tuple[Item, float]] = []
        self.names: dict[str, None] = {}
        self.crowded: dict[str, None] = {}

    def allowed(self, key: str) -> tuple[int, float]:
        """How many entries of a list the worker may have now, and when the first of them may
        depart.
        """
        names = names_of(key)
        if not self._avoid.isdisjoint(names):
            return 0, self._now
        due = self._throttle.departure(names, self._default, self._now)
        if due > self._now + self._lookahead:
            return 0, due
        room, crowded = self._throttle.room(self._worker, names, self._loads, self._default, self._now)
        if crowded:
            self.crowded[crowded] = None
            self._avoid.add(crowded)
        return room, due

    def give(self, item: Item, due: float) -> None:
        """Hand out one *item* that departs at *due*."""
        self.taken.append((item, due))
        names = names_of(item.slot)
        self._throttle.book(names, due, self._default, self._now)
        for name in names:
            self._loads[name] = self._loads.get(name, 0) + 1
            self.names[name] = None
        self._throttle.grant(self._worker, names, self._loads, self._default, self._now)

    def serve(self, want: int) -> None:
        """Up to *want* of them, lists taking turns."""
        self._slots.release(self._now)
        looks = LOOKS + want
        while len(self.taken) < want and looks > 0:
            missing = want - len(self.taken)
            turns = self._slots.turns(missing, self._closed)
            if not turns:
                return
            quantum = -(-missing // len(turns))
            for key in turns:
                looks -= 1
                self._serve(key, min(quantum, want - len(self.taken)))

    def _serve(self, key: str, most: int) -> None:
        names = names_of(key)
        while most > 0:
            room, due = self.allowed(key)
            if due > self._now + self._lookahead:
                self._slots.hold(key, due - self._lookahead)
                return
            if room <= 0:
                self._closed.add(key)
                return
            paced = any(self._throttle.limit_of(name, self._default, self._now).interval for name in names)
            items = self._slots.serve(key, 1 if paced else min(most, room, MANY))
            for item in items:
                self.give(item, due)
            most -= len(items)
            if not self._slots.holds(key):
                return
