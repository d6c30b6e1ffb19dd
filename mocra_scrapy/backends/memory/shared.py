"""``MemoryShared``: named values in this process."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from zope.interface import implementer

from mocra_scrapy.backends.memory.election import greater
from mocra_scrapy.interfaces import IShared
from mocra_scrapy.models import SharedValue
from mocra_scrapy.models.coordination import MOST_ENDING


@dataclass(slots=True)
class Namespace:
    """A value ``None`` in ``values`` is a deleted one whose fence is remembered. *ends*: when a value
    is gone by itself, on the backend's clock.
    """

    values: dict[str, SharedValue] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    watchers: list[asyncio.Queue[str]] = field(default_factory=list)


class Namespaces(Protocol):
    """The part of the store that is used here."""

    namespaces: dict[str, Namespace]


@implementer(IShared)
class MemoryShared:
    """See :class:`~mocra_scrapy.interfaces.IShared`."""

    def __init__(
        self, store: Namespaces, namespace: str, clock: Callable[[], float], wall: Callable[[], float]
    ) -> None:
        self._store = store
        self._name = namespace
        self._clock = clock
        self._wall = wall

    @property
    def _space(self) -> Namespace:
        return self._store.namespaces.setdefault(self._name, Namespace())

    def _value(self, name: str) -> SharedValue:
        space = self._space
        known = space.values.get(name, SharedValue(None, 0))
        return replace(known, value=None) if space.ends.get(name, math.inf) <= self._clock() else known

    async def get(self, name: str) -> SharedValue:
        return self._value(name)

    async def everything(self, prefix: str = "") -> Mapping[str, SharedValue]:
        values = {name: self._value(name) for name in self._space.values if name.startswith(prefix)}
        return {name: one for name, one in values.items() if one.value is not None}

    async def versions(self, prefix: str = "") -> Mapping[str, int]:
        return {name: one.version for name, one in (await self.everything(prefix)).items()}

    async def put(
        self,
        name: str,
        value: bytes | None,
        *,
        version: int | None = None,
        fence: int | None = None,
        lasts: float | None = None,
    ) -> SharedValue | None:
        space = self._space
        old = self._value(name)
        if version is not None and version != old.version and not (version == 0 and old.value is None):
            return None
        if fence is not None and fence < old.fence:
            return None
        if fence is None and old.fence and version is not None:
            return None
        new = SharedValue(value, greater(old.version, self._wall), old.fence if fence is None else fence)
        space.values[name] = new
        if value is None and not new.fence:
            del space.values[name]  # versions begin at the clock: nothing has to be remembered
        space.ends.pop(name, None)
        if value is not None and lasts is not None:
            space.ends[name] = self._clock() + lasts
            self._tidy(space)
        for watcher in space.watchers:
            watcher.put_nowait(name)
        return new

    def _tidy(self, space: Namespace) -> None:
        """What is over goes, and what ends first where there is too much."""
        if len(space.ends) > MOST_ENDING:
            now = self._clock()
            over = [name for name, end in space.ends.items() if end <= now]
            for name in over or [min(space.ends, key=space.ends.__getitem__)]:
                del space.ends[name], space.values[name]

    async def watch(self) -> AsyncIterator[str]:
        space, mine = self._space, asyncio.Queue[str]()
        space.watchers.append(mine)
        try:
            yield "*"
            while True:
                name = await mine.get()
                yield name
        finally:
            space.watchers.remove(mine)

    async def close(self) -> None:
        """Watchers end with the tasks that iterate over them."""
