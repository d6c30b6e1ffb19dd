"""Workers of one crawl: what each holds, and its last call."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from mocra_scrapy.backends.embedded.slots import Item
from mocra_scrapy.models import Departure, Withdrawn


@dataclass(slots=True)
class Answered:
    """What is kept of a worker's last call, so that repeating it gives the same answer.

    Attributes:
        handed_out: token -> when that entry may depart, and what is booked for it.
        names: slots and scopes of which it got something.
        crowded: those that had no permit for it.
        holds: slot or scope -> until when nobody departs.
        more: whether the next call finds something at once.
        lost, reclaimed, given_up, stalled, refused, withdrawn, positioned, stale: as in
            :class:`~mocra_scrapy.models.Exchange`.
        transit: for each push its token in transit; ``moved``, ``taken``, ``lined_up``: as ``moved``,
            ``taken`` and ``kept`` in :class:`~mocra_scrapy.models.LogAnswer`.
    """

    call: int
    stored: list[bool] = field(default_factory=list)
    acked: list[bool] = field(default_factory=list)
    released: list[bool] = field(default_factory=list)
    buried: list[bool] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    handed_out: dict[str, tuple[float, Departure | None]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    crowded: list[str] = field(default_factory=list)
    holds: dict[str, float] = field(default_factory=dict)
    more: bool = False
    lost: bool = False
    reclaimed: int = 0
    given_up: int = 0
    stalled: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    withdrawn: list[Withdrawn] = field(default_factory=list)
    positioned: bool = False
    stale: set[int] = field(default_factory=set)
    transit: list[str | None] = field(default_factory=list)
    moved: list[bool] = field(default_factory=list)
    taken: list[bool] = field(default_factory=list)
    lined_up: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class Worker:
    """A worker that joined and neither left nor was reclaimed.

    Attributes:
        expires: when its lease ends.
        held: what it holds by token, the oldest hand-out first.
        suspect: token of the suspect among these.
        lost: something was taken from it since its last call.
        transit: what it has on its way to a log, by token, and when that is due; the oldest first.
        last: its last call.
        asked: when it last asked for permits of what is parked.
    """

    name: str
    expires: float
    held: dict[str, Item] = field(default_factory=dict)
    suspect: str | None = None
    lost: bool = False
    transit: dict[str, tuple[Item, float]] = field(default_factory=dict)
    last: Answered | None = None
    asked: float = -math.inf

    @property
    def holds(self) -> int:
        """How many entries it holds, those in transit included."""
        return len(self.held) + len(self.transit)

    def items(self) -> Iterator[Item]:
        """All of these."""
        yield from self.held.values()
        for item, _ in self.transit.values():
            yield item

    def drop(self, token: str) -> Item | None:
        """Take *token* from it; ``None``: it does not hold it (any more)."""
        if token == self.suspect:
            self.suspect = None
        return self.held.pop(token, None)


@dataclass(slots=True)
class Kept:
    """What a worker gave back.

    Attributes:
        freed: names of which some permits came free.
        missed: those of them that others ask for.
        yielded: those of which others had asked it for some: they come first.
    """

    freed: list[str] = field(default_factory=list)
    missed: set[str] = field(default_factory=set)
    yielded: list[str] = field(default_factory=list)
