"""``RedisSortedSets``: the sorted sets of a namespace, each a key of its own beside the values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from mocra_scrapy.backends.redis.connection.scripts import Script, load_script
from mocra_scrapy.models.cache import STEP, finite, milliseconds, page, shown_name, stored_name

ADD, GET, REMOVE, COUNT = (load_script(f"cache_members_{verb}") for verb in ("add", "get", "remove", "count"))


class RedisSortedSets:
    """See :class:`~mocra_scrapy.interfaces.ISortedSets`; a part of ``RedisCache``."""

    _limits: Sequence[str]

    @abstractmethod
    async def _run(self, script: Script, part: int, *args: Any) -> Any:
        """Run *script* on one part of the namespace."""

    @abstractmethod
    def _part(self, stored: bytes) -> int:
        """The part in which a name is."""

    @abstractmethod
    async def _made_room(self, part: int, answer: Sequence[Any]) -> None:
        """After a write: what had to go."""

    async def add_members(self, name: str, members: Mapping[str, float], ttl: float) -> int:
        stored, lasts = stored_name(name), milliseconds(ttl)
        pairs = [(repr(finite(name, score)), stored_name(member)) for member, score in members.items()]
        part, new = self._part(stored), 0
        at_once = min(STEP, int(self._limits[0]), max(1, int(self._limits[1]) // 1024 - 1))
        for at in range(0, len(pairs), at_once):
            flat = [text for pair in pairs[at : at + at_once] for text in pair]
            added, *room = await self._run(ADD, part, *self._limits, lasts, stored, *flat)
            new += int(added)
            await self._made_room(part, room)
        return new

    async def members(
        self,
        name: str,
        low: float = -inf,
        high: float = inf,
        *,
        most: int = 100,
        skip: int = 0,
        descending: bool = False,
    ) -> Sequence[tuple[str, float]]:
        stored = stored_name(name)
        between = [repr(float(low)), repr(float(high))]
        flat = await self._run(
            GET, self._part(stored), stored, *between, max(0, skip), page(most), "1" if descending else "0"
        )
        return [(shown_name(flat[i]), float(flat[i + 1])) for i in range(0, len(flat), 2)]

    async def remove_members(self, name: str, members: Sequence[str]) -> int:
        stored, gone = stored_name(name), 0
        names = [stored_name(member) for member in members]
        for at in range(0, len(names), STEP):
            gone += int(await self._run(REMOVE, self._part(stored), stored, *names[at : at + STEP]))
        return gone

    async def count_members(self, name: str, low: float = -inf, high: float = inf) -> int:
        stored = stored_name(name)
        return int(await self._run(COUNT, self._part(stored), stored, repr(float(low)), repr(float(high))))
