"""The rules of :class:`~mocra_scrapy.interfaces.IBudgets`: what is counted of each name, what is refused
and what is withdrawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace

from mocra_scrapy.backends.embedded.slots import Counted, Item
from mocra_scrapy.models import NO_LIMITS, Budgeting, BudgetLimits, BudgetState, Spent, Withdrawn
from mocra_scrapy.models.budgets import COUNTED, LONGEST_GAP
from mocra_scrapy.models.entries import names_of

#: Bodies of what was withdrawn that an answer gives, for people.
BODIES = 3


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted of a name. *answered*: when it last had an answer; *told*: by whom the limits are,
    see :class:`~mocra_scrapy.models.Budgeting`.
    """

    pages: int = 0
    queued: int = 0
    bytes: int = 0
    errors: int = 0
    time: float = 0.0
    answered: float | None = None
    told: float = 0.0
    limits: BudgetLimits = NO_LIMITS
    refused: Mapping[str, int] = field(default_factory=dict)

    def at(self, now: float) -> float:
        """Seconds that count until *now*."""
        return self.time if self.answered is None else self.time + min(now - self.answered, LONGEST_GAP)

    def used_up(self, now: float, first: int = 0) -> str:
        """The first of :data:`COUNTED`, from *first* on, that is used up; empty: none."""
        for which in COUNTED[first:]:
            limit = getattr(self.limits, which)
            if limit is not None and (self.at(now) if which == "time" else getattr(self, which)) >= limit:
                return which
        return ""

    def refusing(self, which: str) -> Counts:
        """One more that was refused."""
        return replace(self, refused={**self.refused, which: self.refused.get(which, 0) + 1})


class Budgets:
    """Of one crawl.

    Args:
        of: name -> what is counted. A mapping of any kind.
        forget: lets the filter forget the number of a fingerprint.
    """

    def __init__(self, of: MutableMapping[str, Counts], forget: Callable[[int], object]) -> None:
        self._of, self._forget = of, forget
        self._limits: Mapping[str, tuple[float, BudgetLimits]] = {}
        self._now = 0.0
        self._is_asked = False  # whether whoever calls has budgets
        self._withdrawn: Counter[tuple[str, str]] = Counter()
        self._bodies: dict[tuple[str, str], list[bytes]] = {}

    def begin(self, note: Budgeting | None, now: float) -> None:
        """A call: limits that are newer hold from now on, what was spent is counted."""
        self._now, self._is_asked = now, note is not None
        if note is None:
            self._limits = {}
            return
        self._withdrawn, self._bodies = Counter(), {}
        self._limits = {name: (note.told, limits) for name, limits in note.limits.items()}
        for name in self._limits.keys() & self._of.keys():
            self._of[name] = self._get(name)
        for name, spent in note.spent.items():
            if name in self._of:
                self._of[name] = _with_spent(self._of[name], spent, now)

    def _get(self, name: str) -> Counts:
        counts = self._of.get(name) or Counts()
        told, limits = self._limits.get(name, (0.0, NO_LIMITS))
        return replace(counts, told=told, limits=limits) if name in self._limits and told >= counts.told else counts

    # ------------------------------------------------------------------ what is pushed

    def why_not(self, names: Sequence[str]) -> tuple[str, str] | None:
        """``(budget, name)`` of the first that is used up."""
        for name in names:
            if which := self._get(name).used_up(self._now):
                return which, name
        return None

    def refuse(self, which: str, name: str) -> None:
        self._of[name] = self._get(name).refusing(which)

    def accept(self, names: Sequence[str], *, again: bool) -> None:
        for name in names:
            counts = self._get(name)
            self._of[name] = replace(counts, pages=counts.pages + (not again), queued=counts.queued + 1)

    # ------------------------------------------------------------------ what waits

    def waits(self, item: Item, number: int = 1) -> None:
        """*item* is lined up again; -1: it is handed out, or gone."""
        for name in () if item.budgets is None else item.budgets.names:
            if name in self._of:
                self._of[name] = replace(self._of[name], queued=max(0, self._of[name].queued + number))

    def withdraw(self, item: Item) -> bool:
        """Whether *item*, which waited, is gone now: a budget of it is used up that no waiting mends."""
        if item.budgets is None or not self._is_asked:
            return False
        for name in item.budgets.names:
            if which := self._get(name).used_up(self._now, first=2):
                self._take_out(item, item.budgets, name, which)
                return True
        return False

    def _take_out(self, item: Item, counted: Counted, by: str, which: str) -> None:
        """As if it had never been accepted."""
        self.waits(item, -1)
        for name in () if counted.again else counted.names:
            if name in self._of:
                self._of[name] = replace(self._of[name], pages=max(0, self._of[name].pages - 1))
        if counted.number is not None:
            self._forget(counted.number)
        self.refuse(which, by)
        told = which, names_of(item.list_name)[0]
        self._withdrawn[told] += 1
        bodies = self._bodies.setdefault(told, [])
        if len(bodies) < BODIES:
            bodies.append(item.body)

    def withdrawn(self) -> list[Withdrawn]:
        """By this call."""
        return [
            Withdrawn(which, slot, number, tuple(self._bodies[which, slot]))
            for (which, slot), number in self._withdrawn.items()
        ]

    # ------------------------------------------------------------------ people, and the end

    def states(self, now: float) -> list[BudgetState]:
        return [
            BudgetState(
                name,
                counts.pages,
                counts.queued,
                counts.bytes,
                counts.errors,
                counts.at(now),
                counts.limits,
                counts.refused,
            )
            for name, counts in self._of.items()
        ]

    def clear(self) -> None:
        self._of.clear()


def _with_spent(counts: Counts, spent: Spent, now: float) -> Counts:
    return replace(
        counts,
        bytes=counts.bytes + spent.bytes,
        errors=counts.errors + spent.errors,
        time=counts.at(now),
        answered=now,
    )
