"""``MemoryElection``: offices in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from zope.interface import implementer

from mocra_scrapy.interfaces import IElection
from mocra_scrapy.models import Term


@dataclass(slots=True)
class Office:
    """``leader`` is empty when it is free; ``until`` is by the monotonic clock."""

    leader: str = ""
    number: int = 0
    until: float = 0.0


class Offices(Protocol):
    """The part of the store that is used here."""

    offices: dict[str, Office]


def greater(last: int, wall: Callable[[], float]) -> int:
    """A number above *last* and above all that were given before the record was lost: microseconds
    since the epoch.
    """
    return max(last + 1, int(wall() * 1_000_000))


@implementer(IElection)
class MemoryElection:
    """See :class:`~mocra_scrapy.interfaces.IElection`."""

    def __init__(self, store: Offices, role: str, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._store = store
        self._role = role
        self._clock = clock
        self._wall = wall

    @property
    def _office(self) -> Office:
        return self._store.offices.setdefault(self._role, Office())

    def _held(self, candidate: str, number: int) -> Office | None:
        office = self._office
        mine = office.leader == candidate and office.number == number and office.until > self._clock()
        return office if mine else None

    async def campaign(self, candidate: str, lease: float) -> Term | None:
        office, now = self._office, self._clock()
        if office.leader and office.until > now:
            if office.leader != candidate:
                return None
        else:
            office.leader, office.number = candidate, greater(office.number, self._wall)
        office.until = now + lease
        return Term(self._role, candidate, office.number, lease)

    async def renew(self, candidate: str, number: int, lease: float) -> bool:
        office = self._held(candidate, number)
        if office is not None:
            office.until = self._clock() + lease
        return office is not None

    async def resign(self, candidate: str, number: int) -> bool:
        office = self._held(candidate, number)
        if office is not None:
            office.leader = ""
        return office is not None

    async def leader(self) -> Term | None:
        office, now = self._office, self._clock()
        if not office.leader or office.until <= now:
            return None
        return Term(self._role, office.leader, office.number, office.until - now)
