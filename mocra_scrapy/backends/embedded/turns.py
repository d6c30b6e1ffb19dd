"""Which list is served next, and which of them nobody has to look at now."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Collection, Iterable
from heapq import heappop, heappush
from itertools import count, islice

from mocra_scrapy.models.entries import BETWEEN

#: Seconds after which what is parked is looked at in any case.
LONG = 60.0
#: What the gate of a name begins with; no list does.
GATE = 2 * BETWEEN


def gate_of(name: str) -> str:
    """The gate of a slot or scope."""
    return GATE + name


def name_of_gate(member: str) -> str | None:
    """The name that a gate stands for; ``None``: *member* is a list."""
    return member[len(GATE) :] if member.startswith(GATE) else None


class Turns:
    """The order of turns. A *member* is a list that has something, or a gate. A list of several names
    that has to wait for one of them stands behind the gate of that name; those behind a gate take
    turns as one, who was served longest ago first. So what waits for one name is looked at when its
    time comes, not each of its lists.

    A list is in exactly one place: a member, or behind one gate that is a member. And a member is in
    exactly one of:

    ==========  ====================================================================================
    line        it may be served; who waits longest first
    held        not before an instant, infinite: its name is paused
    parked      its name had no permit left when somebody looked. Those who hold permits of it look
                here; for all others it is put into the line when some came free: given back, by a
                worker that left or died, by a change of its limit. After :data:`LONG` in any case
    ==========  ====================================================================================

    The clock never goes back, so "since when it waits for its turn" is the order in which members
    were put into the line, and the place of a list behind a gate.
    """

    def __init__(self) -> None:
        self._line: OrderedDict[str, None] = OrderedDict()
        self._held: dict[str, float] = {}
        self._until: list[tuple[float, str]] = []  # heap; what is no longer held until then is passed over
        self._parked: dict[str, float] = {}  # since when, in this order
        self._since: dict[str, int] = {}  # member, or list behind a gate -> number of its last turn
        self._behind: dict[str, list[tuple[int, str]]] = {}  # name -> (number, list), in order
        self._gate_of: dict[str, str] = {}  # list -> the name whose gate it stands behind
        self._numbers = count(1)

    # ------------------------------------------------------------------ in, out, to another place

    def enter(self, name: str) -> None:
        """List *name* has something now."""
        if name not in self._since:
            self.to_end(name)

    def leave(self, name: str) -> None:
        """Nothing is left of list *name*."""
        self._take_out(name)
        del self._since[name]

    def _take_out(self, name: str) -> None:
        gate = self._gate_of.pop(name, None)
        if gate is None:
            self._drop(name)
            return
        behind = self._behind[gate]
        del behind[bisect_left(behind, (self._since[name], name))]
        if not behind:
            del self._behind[gate]
            self._drop(gate_of(gate))
            del self._since[gate_of(gate)]

    def _drop(self, member: str) -> None:
        self._line.pop(member, None)
        self._held.pop(member, None)
        self._parked.pop(member, None)

    def to_end(self, member: str) -> None:
        """It may be served, when all others were. (A list that stood behind a gate steps out.)"""
        self._take_out(member)
        self._line[member] = None
        self._since[member] = next(self._numbers)

    def hold(self, member: str, until: float) -> None:
        """It is passed over until that instant (which may be infinite)."""
        self._drop(member)
        self._held[member] = until
        self._since.setdefault(member, next(self._numbers))
        heappush(self._until, (until, member))

    def park(self, member: str, now: float) -> None:
        """It is passed over by those who have no permits of it."""
        self._drop(member)
        self._parked[member] = now
        self._since.setdefault(member, next(self._numbers))

    def move(self, name: str, gate: str) -> None:
        """List *name* stands behind the gate of *gate* from now on, in the order of last turns.
        Where that gate is the caller says.
        """
        self._take_out(name)
        self._gate_of[name] = gate
        insort(self._behind.setdefault(gate, []), (self._since[name], name))

    def served(self, name: str) -> None:
        """List *name* stays behind its gate, as the last one."""
        behind = self._behind[self._gate_of[name]]
        del behind[bisect_left(behind, (self._since[name], name))]
        self._since[name] = next(self._numbers)
        behind.append((self._since[name], name))

    # ------------------------------------------------------------------ who is next

    def line(self, most: int, closed: Collection[str]) -> list[str]:
        """Up to *most* that come next, but for those that are *closed*."""
        return [member for member in islice(self._line, most + len(closed)) if member not in closed][:most]

    def heads(self, name: str, skip: int, most: int) -> list[str]:
        """Up to *most* lists behind the gate of *name*, after the first *skip*."""
        return [list_name for _, list_name in self._behind.get(name, [])[skip : skip + most]]

    def turn_over(self, member: str) -> None:
        """It was served."""
        self._since[member] = next(self._numbers)

    def is_parked(self, member: str) -> bool:
        return member in self._parked

    def since(self, member: str) -> int:
        """Grows with the time of its last turn."""
        return self._since[member]

    def next_release(self) -> float | None:
        """When the first of those that are held may go on; ``None``: none is."""
        while self._until and self._held.get(self._until[0][1]) != self._until[0][0]:
            heappop(self._until)
        return self._until[0][0] if self._until else None

    # ------------------------------------------------------------------ what ends a block

    def release(self, now: float) -> None:
        """Time has passed."""
        while (due := self.next_release()) is not None and due <= now:
            self._again(heappop(self._until)[1])
        while self._parked and next(iter(self._parked.values())) <= now - LONG:
            self._again(next(iter(self._parked)))

    def _again(self, member: str) -> None:
        self._drop(member)
        self._line[member] = None

    def open(self, name: str) -> bool:
        """Permits of *name* came free; whether anything waited for them."""
        parked = [member for member in (name, gate_of(name)) if member in self._parked]
        for member in parked:
            self._again(member)
        return bool(parked)

    def open_all(self) -> None:
        """Permits of anything may have come free."""
        for member in list(self._parked):
            self._again(member)

    def look_again(self) -> None:
        """Limits have changed: whatever waits for something is looked at again."""
        self.open_all()
        for member in list(self._held):
            self._again(member)
        self._until.clear()

    def scatter(self) -> None:
        """No limits count any more: nothing waits for one."""
        self.look_again()
        for name in list(self._gate_of):
            self.to_end(name)

    # ------------------------------------------------------------------ looks

    def parked(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """``(name, member)`` of what is parked for want of permits of one of *names*."""
        if not self._parked:
            return []
        return [(name, member) for name in names for member in (name, gate_of(name)) if member in self._parked]

    def all_parked(self) -> list[str]:
        """The names of which there was no permit."""
        return list(dict.fromkeys(name_of_gate(member) or member for member in self._parked))

    def misplaced(self, lists: Iterable[str]) -> list[str]:
        """Of *lists*, which are all that have something, those that are not in exactly one place;
        and members that stand for nothing.
        """
        wrong, known = [], set(lists)
        places = (self._line, self._held, self._parked)
        for name in known:
            gate = self._gate_of.get(name)
            here = sum(name in place for place in places)
            at_gate = gate is not None and sum(gate_of(gate) in place for place in places) == 1
            behind = [other for other, some in self._behind.items() if any(one == name for _, one in some)]
            if here + len(behind) != 1 or behind != ([gate] if at_gate else []):
                wrong.append(name)
        members = {member for place in places for member in place}
        gates = {gate_of(name) for name, some in self._behind.items() if some}
        return wrong + sorted(members - known - gates)
