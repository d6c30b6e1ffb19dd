"""``MemoryElection``: roles in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from zope.interface import implementer

from mocra_scrapy.interfaces import IElection
from mocra_scrapy.models import Term


@dataclass(slots=True)
class StoredRole:
    """``leader`` is empty when it is free; ``until`` is by the monotonic clock."""

    leader: str = ""
    number: int = 0
    until: float = 0.0


class Roles(Protocol):
    """The part of the store that is used here."""

    roles: dict[str, StoredRole]


def greater(last: int, wall: Callable[[], float]) -> int:
    """A number above *last* and above all that were given before the record was lost: microseconds
    since the epoch.
    """
    return max(last + 1, int(wall() * 1_000_000))


@implementer(IElection)
class MemoryElection:
    """See :class:`~mocra_scrapy.interfaces.IElection`."""

    def __init__(self, store: Roles, role: str, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._store = store
        self._role = role
        self._clock = clock
        self._wall = wall

    @property
    def _stored(self) -> StoredRole:
        return self._store.roles.setdefault(self._role, StoredRole())

    def _held(self, candidate: str, number: int) -> StoredRole | None:
        role = self._stored
        mine = role.leader == candidate and role.number == number and role.until > self._clock()
        return role if mine else None

    async def campaign(self, candidate: str, lease: float) -> Term | None:
        role, now = self._stored, self._clock()
        if role.leader and role.until > now:
            if role.leader != candidate:
                return None
        else:
            role.leader, role.number = candidate, greater(role.number, self._wall)
        role.until = now + lease
        return Term(self._role, candidate, role.number, lease)

    async def renew(self, candidate: str, number: int, lease: float) -> bool:
        role = self._held(candidate, number)
        if role is not None:
            role.until = self._clock() + lease
        return role is not None

    async def resign(self, candidate: str, number: int) -> bool:
        role = self._held(candidate, number)
        if role is not None:
            role.leader = ""
        return role is not None

    async def leader(self) -> Term | None:
        role, now = self._stored, self._clock()
        if not role.leader or role.until <= now:
            return None
        return Term(self._role, role.leader, role.number, role.until - now)
