"""``MemoryCache``: the verbs of :class:`~mocra_scrapy.interfaces.ICache` over a :class:`StoredCache`
in this process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from math import inf
from typing import Protocol

from zope.interface import implementer

from mocra_scrapy.backends.embedded.cache import SET, VALUE, StoredCache
from mocra_scrapy.interfaces import ICache
from mocra_scrapy.models import CacheBounds, Cached, CacheSize
from mocra_scrapy.models.cache import counted, finite, fits, milliseconds, not_a_counter, page, shown_name, stored_name


class Watched(StoredCache):
    """A namespace, and who listens to its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers: list[asyncio.Queue[str]] = []


class Caching(Protocol):
    """The part of the store that is used here."""

    caches: dict[str, Watched]


@implementer(ICache)
class MemoryCache:
    """See :class:`~mocra_scrapy.interfaces.ICache`.

    Args:
        store: what is stored, shared by all tools of that name.
        namespace: any text.
        bounds: what it may hold.
        clock: seconds.
    """

    def __init__(self, store: Caching, namespace: str, bounds: CacheBounds, clock: Callable[[], float]) -> None:
        self.bounds = bounds
        self.evicted = 0
        self._store, self._namespace, self._clock = store, namespace, clock
        self._limits = bounds.share(1)

    @property
    def _space(self) -> Watched:
        return self._store.caches.setdefault(self._namespace, Watched())

    def _now(self) -> int:
        return round(self._clock() * 1e6) // 1000

    def _tell(self, name: str) -> None:
        for watcher in self._space.watchers:
            watcher.put_nowait(name)

    # ------------------------------------------------------------------ values

    async def get(self, name: str) -> Cached | None:
        stored, space = stored_name(name), self._space
        left = space.left((VALUE, stored), self._now())
        return None if left is None else Cached(space.values[stored], left / 1000)

    async def get_many(self, names: Sequence[str]) -> Sequence[Cached | None]:
        return [await self.get(name) for name in names]

    async def set(self, name: str, value: bytes, ttl: float) -> None:
        await self.set_many({name: value}, ttl)

    async def set_many(self, values: Mapping[str, bytes], ttl: float) -> None:
        now = self._now()
        ends = now + milliseconds(ttl)
        pairs = [(name, stored_name(name), fits(name, value, self.bounds)) for name, value in values.items()]
        for name, stored, raw in pairs:
            self.evicted += self._space.store(stored, raw, ends, self._limits, now)
            self._tell(name)

    async def add(self, name: str, value: bytes, ttl: float) -> bool:
        raw, ends = fits(name, value, self.bounds), self._now() + milliseconds(ttl)
        if self._space.left((VALUE, stored_name(name)), self._now()) is not None:
            return False
        self.evicted += self._space.store(stored_name(name), raw, ends, self._limits, self._now())
        self._tell(name)
        return True

    async def touch(self, name: str, ttl: float) -> bool:
        entry, ends = (VALUE, stored_name(name)), self._now() + milliseconds(ttl)
        if self._space.left(entry, self._now()) is None:
            return False
        self._space.hold(entry, ends)
        self._tell(name)
        return True

    async def increment(self, name: str, by: int = 1, ttl: float = 3600.0) -> int:
        stored, ends, space = stored_name(name), self._now() + milliseconds(ttl), self._space
        number = counted(name, by)
        there = space.left((VALUE, stored), self._now()) is not None
        if there:
            number += _number(name, space.values[stored])
            if not -(2**63) <= number < 2**63:
                raise not_a_counter(name)
            space.replace(stored, b"%d" % number)
        else:
            self.evicted += space.store(stored, b"%d" % number, ends, self._limits, self._now())
        self._tell(name)
        return number

    async def delete(self, names: Sequence[str]) -> int:
        space, gone = self._space, 0
        for name, stored in [(name, stored_name(name)) for name in names]:
            for kind in (VALUE, SET):
                if space.left((kind, stored), self._now()) is not None:
                    space.drop((kind, stored))
                    gone += 1
            self._tell(name)
        return gone

    async def delete_if(self, name: str, value: bytes) -> bool:
        entry = (VALUE, stored_name(name))
        if self._space.left(entry, self._now()) is None or self._space.values[entry[1]] != value:
            return False
        self._space.drop(entry)
        self._tell(name)
        return True

    async def names(self, prefix: str = "", after: str = "", most: int = 100) -> Sequence[str]:
        asked = [stored_name(one) if one else b"" for one in (prefix, after)]
        return [shown_name(name) for name in self._space.names(asked[0], asked[1], page(most), self._now())]

    async def size(self) -> CacheSize:
        return CacheSize(len(self._space.values) + self._space.members, self._space.bytes)

    async def clear(self) -> None:
        watchers = self._space.watchers
        self._store.caches[self._namespace] = new = Watched()
        new.watchers = watchers
        self._tell("*")

    # ------------------------------------------------------------------ sorted sets

    async def add_members(self, name: str, members: Mapping[str, float], ttl: float) -> int:
        now = self._now()
        scores = {stored_name(member): finite(name, score) for member, score in members.items()}
        stored, ends = stored_name(name), now + milliseconds(ttl)
        if not scores:
            return 0
        new, went = self._space.add_members(stored, scores, ends, self._limits, now)
        self.evicted += went
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
        found = self._space.range(stored_name(name), low, high, self._now())
        ordered = found[::-1] if descending else found
        skip = max(0, skip)
        return [(shown_name(member), score) for score, member in ordered[skip : skip + page(most)]]

    async def remove_members(self, name: str, members: Sequence[str]) -> int:
        return self._space.remove_members(stored_name(name), [stored_name(one) for one in members], self._now())

    async def count_members(self, name: str, low: float = -inf, high: float = inf) -> int:
        return len(self._space.range(stored_name(name), low, high, self._now()))

    # ------------------------------------------------------------------ hearing

    async def watch(self) -> AsyncIterator[str]:
        watchers, mine = self._space.watchers, asyncio.Queue[str]()
        watchers.append(mine)
        try:
            yield "*"
            while True:
                name = await mine.get()
                yield name
        finally:
            watchers.remove(mine)

    async def close(self) -> None:
        """Watchers end with the tasks that iterate over them."""


def _number(name: str, raw: bytes) -> int:
    """What is stored, as Redis reads it: digits, no blanks, no plus, no leading zeros."""
    digits = raw[1:] if raw[:1] == b"-" else raw
    if not digits.isdigit() or len(digits) > 19 or (digits[:1] == b"0" and raw != b"0"):
        raise not_a_counter(name)
    number = int(raw)
    if not -(2**63) <= number < 2**63:
        raise not_a_counter(name)
    return number
