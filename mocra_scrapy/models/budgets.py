"""What crosses the contract about budgets: how much of a slot, a registrable domain or a seed a crawl
may have.

A *name* is a kind and what it is of: ``slot:www.example.com``, ``domain:example.com``,
``seed:https://example.com/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

KINDS = ("slot", "domain", "seed")
#: What the store counts, in the order in which it is looked at. The first two are exact; the others
#: are known when an answer was settled.
COUNTED = ("pages", "queued", "bytes", "errors", "time")
#: Seconds that count, at most, between two answers of a name: a crawl that is stopped uses up little.
LONGEST_GAP = 900.0


def budget_name(kind: str, of: str) -> str:
    """Of what budgets count for."""
    return f"{kind}:{of}"


def kind_of_budget(name: str) -> tuple[str, str]:
    """``(kind, of what)``."""
    kind, _, of = name.partition(":")
    return kind, of


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """What a name may have; ``None``: any amount.

    Attributes:
        pages: requests that were accepted, ever.
        queued: requests that wait at one time, to be handed out.
        bytes: of answers.
        errors: attempts that failed.
        time: seconds from the first answer on.
    """

    pages: int | None = None
    queued: int | None = None
    bytes: int | None = None
    errors: int | None = None
    time: float | None = None


#: Nothing is limited.
NO_LIMITS = BudgetLimits()


@dataclass(frozen=True, slots=True)
class Spent:
    """What a worker has had of a name since it last told."""

    bytes: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Budgeting:
    """What a worker says of budgets in a call.

    Attributes:
        told: since when its limits are its own, seconds since the epoch: of two workers' the later
            hold.
        limits: of the names that count for what it pushes and has spent.
        spent: name -> how much.
        changed: names whose limits were changed while the crawl runs, as *limits* has them.
    """

    told: float = 0.0
    limits: Mapping[str, BudgetLimits] = field(default_factory=dict)
    spent: Mapping[str, Spent] = field(default_factory=dict)
    changed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Entries that waited when a budget of theirs was used up, and are gone.

    Attributes:
        which: the budget, one of :data:`COUNTED`.
        slot: their slot.
        number: how many.
        bodies: of a few of them; a repeated call gives none.
    """

    which: str
    slot: str
    number: int
    bodies: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How a name stands.

    Attributes:
        pages, queued, bytes, errors, time: as in :class:`BudgetLimits`.
        limits: those that hold.
        refused: budget -> requests that it refused or withdrew.
    """

    name: str
    pages: int = 0
    queued: int = 0
    bytes: int = 0
    errors: int = 0
    time: float = 0.0
    limits: BudgetLimits = NO_LIMITS
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def used_up(self) -> str:
        """The first budget that is; empty: none."""
        for which in COUNTED:
            limit = getattr(self.limits, which)
            if limit is not None and getattr(self, which) >= limit:
                return which
        return ""
