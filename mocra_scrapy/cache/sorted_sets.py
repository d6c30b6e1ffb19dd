"""``SortedSet``: members with scores, shared by all crawls on a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import ICache


class SortedSet:
    """One sorted set of a namespace. Members are text, 1 to 1,024 bytes of it; scores are finite
    numbers.

    Raises :class:`~mocra_scrapy.exceptions.BackendUnavailable` whatever the cache's *on_outage* says.
    """

    def __init__(self, cache: ICache, name: str, ttl: float, stored: Callable[[int], None]) -> None:
        self._cache, self._name, self._ttl, self._stored = cache, name, ttl, stored

    async def add(self, member: str, score: float) -> bool:
        """Add *member*, or give it another score; whether it is new."""
        return await self.update({member: score}) == 1

    async def update(self, members: Mapping[str, float]) -> int:
        """The same for many, 500 a round trip; how many are new."""
        new = await self._cache.add_members(self._name, members, self._ttl)
        self._stored(len(members))
        return new

    async def range(
        self, low: float = -inf, high: float = inf, *, most: int = 100, skip: int = 0, descending: bool = False
    ) -> Sequence[tuple[str, float]]:
        """Members with scores from *low* to *high*, both included, the smallest score first (the
        greatest if *descending*), *most* at most (10,000), after the first *skip*.
        """
        return await self._cache.members(self._name, low, high, most=most, skip=skip, descending=descending)

    async def remove(self, *members: str) -> int:
        """Remove these; how many were there."""
        return await self._cache.remove_members(self._name, members)

    async def count(self, low: float = -inf, high: float = inf) -> int:
        """How many have scores from *low* to *high*, both included."""
        return await self._cache.count_members(self._name, low, high)
