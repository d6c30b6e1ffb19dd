"""Who gets what when slots have limits: one call's leases, see "Throttling" in
:class:`~mocra_scrapy.interfaces.IRequestQueue`.

A list from which nothing may depart is put to where it waits for the name that keeps it, see
:class:`~mocra_scrapy.backends.embedded.turns.Turns`. So one call looks at as many lists as it takes
from, and :data:`LOOKS` at most of those that have to be put away; the next call, at once, at more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from mocra_scrapy.backends.embedded.permit_tables import MANY
from mocra_scrapy.backends.embedded.slots import Item, Room, Slots
from mocra_scrapy.backends.embedded.throttle import Throttle
from mocra_scrapy.backends.embedded.turns import gate_of, name_of_gate
from mocra_scrapy.backends.embedded.workers import Worker
from mocra_scrapy.models import Departure, QueueOptions
from mocra_scrapy.models.entries import names_of

#: Lists beyond those it takes from that one call looks at, at most.
LOOKS = 200
#: So many lists of which the worker has its share may stand in line: it comes back to them soon.
SATED = 16
#: Seconds after which what waits for a quota is looked at: the quota may have gone with a worker.
QUOTA_LOOK = 60.0
#: Seconds between two rounds in which a worker asks for permits of what is parked, and names in one of them.
ASK, MOST_ASKED = 0.5, 100


class ThrottledLeasing:
    """The leases of one call.

    Args:
        slots: the pending entries.
        worker: who calls.
        loads: what it has of slots and scopes.
        avoid: slots and scopes that give nothing.

    Attributes:
        taken: ``(item, instant at which it may depart, what is booked for it)``.
        names: slots and scopes of which the worker has something new.
        crowded: those that have no permit for it.
        more: whether the next call finds something at once.
    """

    def __init__(
        self,
        slots: Slots,
        throttle: Throttle,
        options: QueueOptions,
        *,
        worker: Worker,
        loads: Mapping[str, int],
        avoid: Iterable[str],
        now: float,
    ) -> None:
        self._slots, self._turns, self._throttle = slots, slots.turns, throttle
        self._lookahead = options.lookahead
        self._worker, self._now = worker, now
        self._loads = dict(loads)
        self._avoid = set(avoid)
        self._closed: set[str] = set()  # members that were looked at and stay where they are
        self._passed: dict[str, int] = {}  # name -> lists behind its gate that gave this worker nothing
        # Names of which nobody gets anything now -> until when what waits for them is held; None: it is parked.
        self._blocked: dict[str, float | None] = {}
        self._sated = self._moved = 0
        self._room = Room()
        self.taken: list[tuple[Item, float, Departure | None]] = []
        self.names: dict[str, None] = {}
        self.crowded: dict[str, None] = {}
        self.more = False

    # ------------------------------------------------------------------ what may go

    def due(self, list_name: str) -> float | None:
        """When the next entry of a list may depart; ``None``: not now, or not to this worker."""
        room, due, _ = self.allowed(list_name)
        return due if room > 0 else None

    def allowed(self, list_name: str) -> tuple[int, float, str]:
        """How many entries of a list the worker may have now, when the first of them may depart, and
        for which name nobody gets one (``""``: none).
        """
        return self._allowed(names_of(list_name))

    def _allowed(self, names: list[str]) -> tuple[int, float, str]:
        for name in names:
            if name in self._blocked:
                return 0, self._now, name
            if name in self._avoid:
                return 0, self._now, ""
        due, last = self._throttle.latest(names, self._now)
        if due > self._now + self._lookahead:
            self._blocked[last] = self._held_until(last, due)
            return 0, due, last
        room, crowded, taken = self._throttle.room(self._worker.name, names, self._loads, self._now)
        if crowded:
            self.crowded[crowded] = None
            self._avoid.add(crowded)
        elif taken:
            self._sated += 1
            taken = taken if self._sated > SATED else ""
        if taken:
            self._blocked[taken] = None
        return room, due, taken

    def give_suspect(self, item: Item, due: float) -> None:
        """As :meth:`give`; there is room, for it comes first."""
        self._room.spend(item)
        self.give(item, due)

    def give(self, item: Item, due: float) -> None:
        """Hand out one *item* that departs at *due*."""
        names = names_of(item.list_name)
        self.taken.append((item, due, self._throttle.book(names, due, self._now)))
        for name in names:
            self._loads[name] = self._loads.get(name, 0) + 1
            self.names[name] = None
        self._throttle.grant(self._worker.name, names, self._loads, self._now)

    # ------------------------------------------------------------------ whose turn it is

    def grant_wanted(self, names: Iterable[str]) -> None:
        """Permits of *names* for what the worker has of them beside the queue."""
        for name in names:
            crowded = self._throttle.room(self._worker.name, (name,), self._loads, self._now)[1]
            if crowded:
                self.crowded[crowded] = None
            self._throttle.grant(self._worker.name, (name,), self._loads, self._now)
            self.names[name] = None

    def serve(self, want: int) -> None:
        """Up to *want* of them, lists taking turns."""
        if want <= 0:
            return
        self._turns.release(self._now)
        looks, parked = LOOKS + want, self._own_parked()
        while len(self.taken) < want and looks > 0 and not self._room.full:
            missing = want - len(self.taken)
            ready = self._turns.line(missing, self._closed)
            if parked:
                ready, parked = sorted({*ready, *parked}, key=self._turns.since)[:missing], []
            if not ready:
                break
            quantum = -(-missing // len(ready))
            for member in ready:
                left = want - len(self.taken)
                if left <= 0 or self._room.full:
                    break
                name = name_of_gate(member)
                if name is None:
                    looks -= 1
                    if self._serve(member, min(quantum, left)):
                        self._closed.add(member)
                else:
                    looks -= self._serve_gate(name, min(quantum, left))
        if len(self.taken) < want and not self._room.full:
            self.more = looks <= 0 and (self._moved > 0 or self._room.withdrawn > 0)
            self._ask()
        self.more = self.more or self._room.tired

    def _own_parked(self) -> list[str]:
        """What the worker may have more of, as it holds permits of it."""
        names = [name for name, load in self._loads.items() if load > 0]
        return [member for name, member in self._turns.parked(names) if self._may_have(name)]

    def _may_have(self, name: str, *, silently: bool = True) -> bool:
        room, crowded, _ = self._throttle.room(self._worker.name, [name], self._loads, self._now, silently=silently)
        if crowded and not silently:
            self.crowded[crowded] = None
        return room > 0

    def _ask(self) -> None:
        """For permits of what is parked; whoever sees that there are some opens it for all."""
        if self._now - self._worker.asked < ASK:
            return
        names = self._turns.all_parked()
        self._worker.asked = self._now
        start = int(1000 * self._now) % max(1, len(names) - MOST_ASKED + 1)
        for name in names[start : start + MOST_ASKED]:
            known = name in self._blocked or name in self._avoid or self._loads.get(name, 0) > 0
            if not known and self._may_have(name, silently=False):
                self.more = self._turns.open(name) or self.more

    def _serve_gate(self, name: str, most: int) -> int:
        """Those behind a gate; how many were looked at."""
        room, _, blocked = self._allowed([name])
        if room <= 0:
            self._wait(gate_of(name)) if blocked else self._closed.add(gate_of(name))
            return 1
        heads = self._turns.heads(name, self._passed.get(name, 0), min(most, room))
        if not heads:
            self._closed.add(gate_of(name))
            return 1
        each = 1 if self._is_paced([name]) else -(-most // len(heads))
        before, want = len(self.taken), len(self.taken) + most
        for list_name in heads:
            left = want - len(self.taken)
            if name in self._blocked or left <= 0 or self._room.full:
                break
            if self._serve(list_name, min(each, left), name):
                self._passed[name] = self._passed.get(name, 0) + 1
        if self._turns.heads(name, 0, 1):
            if name in self._blocked:
                self._wait(gate_of(name))
            elif len(self.taken) > before:
                self._line_up(gate_of(name), name, parks=True)
        return len(heads)

    def _serve(self, list_name: str, most: int, gate: str = "") -> bool:
        """One list's turn; whether it gave nothing and stays where it is."""
        names, is_parked = names_of(list_name), self._turns.is_parked(list_name)
        room, _, blocked = self._allowed(names)
        if room <= 0:
            if not blocked:
                return True
            self._moved += 1
            if blocked != list_name:
                if blocked != gate:
                    self._turns.move(list_name, blocked)
                self._wait(gate_of(blocked))
            else:
                self._wait(list_name)
            return False
        # What others under the same scope may have next is not all this list's.
        most = 1 if len(names) > 1 and self._is_paced(names) else min(most, room)
        given = self._take(list_name, names, most)
        if not self._slots.holds(list_name):
            return False
        if given and gate and not self._blocks(gate):
            self._turns.to_end(list_name)
        elif given and gate:
            self._turns.served(list_name)
        elif given and len(names) > 1:
            self._turns.to_end(list_name)
        elif given:
            self._line_up(list_name, list_name, parks=is_parked)
        return not given

    def _take(self, list_name: str, names: list[str], most: int) -> int:
        paced, given = self._is_paced(names), 0
        while given < most and self._slots.holds(list_name):
            due = self._throttle.departure(names, self._now)
            if due > self._now + self._lookahead:
                break
            items = self._slots.serve(list_name, 1 if paced else min(most - given, MANY), self._room)
            for item in items:
                self.give(item, due)
            given += len(items)
            if self._room.full or not items:
                break
        return given

    # ------------------------------------------------------------------ where what was looked at waits

    def _is_paced(self, names: Iterable[str]) -> bool:
        return any(self._throttle.limit_of(name, self._now).is_paced for name in names)

    def _wait(self, member: str) -> None:
        """*member* waits for its name, which is blocked."""
        until = self._blocked[name_of_gate(member) or member]
        if until is None:
            self._turns.park(member, self._now)
        else:
            self._turns.hold(member, until)

    def _held_until(self, name: str, due: float) -> float:
        """Until when what waits for *name* is not looked at, when the next one may depart at *due*."""
        until = due - self._lookahead
        may_go = math.isfinite(due) and self._throttle.limit_of(name, self._now).quotas
        return min(until, self._now + QUOTA_LOOK) if may_go else until

    def _blocks(self, name: str) -> bool:
        """Whether nothing more of *name* can go now."""
        due = self._throttle.departure([name], self._now)
        return due > self._now + self._lookahead or self._throttle.is_taken(name, self._now)

    def _line_up(self, member: str, name: str, *, parks: bool) -> None:
        """*member*, which waits for *name* only, has just been served."""
        due = self._throttle.departure([name], self._now)
        if due > self._now + self._lookahead:
            self._turns.turn_over(member)
            self._turns.hold(member, self._held_until(name, due))
        elif parks and self._throttle.is_taken(name, self._now):
            self._turns.turn_over(member)
            self._turns.park(member, self._now)
        else:
            self._turns.to_end(member)
