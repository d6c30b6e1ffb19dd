"""``MemoryShared``: named values in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from zope.interface import implementer

from mocra_scrapy.backends.memory.election import greater
from mocra_scrapy.interfaces import IShared
from mocra_scrapy.models import SharedValue


@dataclass(slots=True)
class Namespace:
    """A value ``None`` in ``values`` is a deleted one whose fence is remembered."""

    values: dict[str, SharedValue] = field(default_factory=dict)
    watchers: list[asyncio.Queue[str]] = field(default_factory=list)


class Namespaces(Protocol):
    """The part of the store that is used here."""

    namespaces: dict[str, Namespace]


@implementer(IShared)
class MemoryShared:
    """See :class:`~mocra_scrapy.interfaces.IShared`."""

    def __init__(self, store: Namespaces, namespace: str, wall: Callable[[], float]) -> None:
        self._store = store
        self._name = namespace
        self._wall = wall

    @property
    def _space(self) -> Namespace:
        return self._store.namespaces.setdefault(self._name, Namespace())

    async def get(self, name: str) -> SharedValue:
        return self._space.values.get(name, SharedValue(None, 0))

    async def everything(self, prefix: str = "") -> Mapping[str, SharedValue]:
        values = self._space.values.items()
        return {name: one for name, one in values if one.value is not None and name.startswith(prefix)}

    async def versions(self, prefix: str = "") -> Mapping[str, int]:
        return {name: one.version for name, one in (await self.everything(prefix)).items()}

    async def put(
        self, name: str, value: bytes | None, *, version: int | None = None, fence: int | None = None
    ) -> SharedValue | None:
        space = self._space
        old = space.values.get(name, SharedValue(None, 0))
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
        for watcher in space.watchers:
            watcher.put_nowait(name)
        return new

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
