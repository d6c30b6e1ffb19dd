"""``LocalLayer``: what this process read lately, until somebody changes it.

Who changes an entry announces its name. An answer that was under way at that moment may be the old
value, so it is not kept::

    asked                                 the value v1 is on its way
    "name" changed (v2 is stored)         whatever was asked for before is not to be kept
    v1 arrives                            given to who asked, and forgotten

Messages may be lost with the connection that they come on. Nothing is kept before it stands, all is
dropped when it was broken, and nothing gets older than *age*: that is how old a value can be at most.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import ICache

EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class LocalBounds:
    """How much a process keeps of a namespace.

    Attributes:
        entries: at most; 0: nothing is kept.
        bytes: of stored values and names at most.
        age: seconds since they were asked for.
    """

    entries: int = 0
    bytes: int = 16_777_216
    age: float = 5.0


class Asked:
    """A question that is under way: its answer may be kept as long as nobody changed the entry."""

    __slots__ = ("at", "names")

    def __init__(self, at: float, names: set[str]) -> None:
        self.at, self.names = at, names


class LocalLayer:
    """The entries that this process keeps, those that were not used for longest go first.

    Args:
        cache: whose changes are listened to.
        bounds: how much is kept.
        clock: seconds.
    """

    def __init__(self, cache: ICache, bounds: LocalBounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._cache, self._bounds, self._clock = cache, bounds, clock
        self._kept: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0
        self._asked: set[Asked] = set()
        self._listens = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen from now on, in a task of the running loop."""
        if self._task is None and self._bounds.entries:
            self._task = asyncio.create_task(self._listen(), name="mocra cache changes")

    def get(self, name: str) -> bytes | None:
        """What is stored under *name*, if it is kept."""
        found = self._kept.get(name)
        if found is None:
            return None
        if self._clock() >= found[1]:
            self.drop(name)
            return None
        self._kept.move_to_end(name)
        return found[0]

    def ask(self, names: set[str]) -> Asked:
        """Before the store is asked for *names*; :meth:`answered` must follow."""
        asked = Asked(self._clock(), names)
        if self._listens:
            self._asked.add(asked)
        return asked

    def answered(self, asked: Asked, answers: dict[str, tuple[bytes, float]]) -> None:
        """Keep *answers*, values with the seconds for which each is there, unless they may be old."""
        if asked not in self._asked:
            return
        self._asked.discard(asked)
        for name, (value, left) in answers.items():
            if name in asked.names:
                self._keep(name, value, asked.at + min(left, self._bounds.age))

    def _keep(self, name: str, value: bytes, until: float) -> None:
        size = len(value) + len(name)
        self.drop(name)
        if size > self._bounds.bytes:
            return
        self._kept[name] = (value, until)
        self._bytes += size
        while len(self._kept) > self._bounds.entries or self._bytes > self._bounds.bytes:
            self.drop(next(iter(self._kept)))

    def drop(self, name: str) -> None:
        """It is not kept any more."""
        gone = self._kept.pop(name, None)
        if gone is not None:
            self._bytes -= len(gone[0]) + len(name)

    def changed(self, name: str) -> None:
        """Somebody changed the entry, perhaps this process."""
        if name == EVERYTHING:
            self._kept.clear()
            self._bytes = 0
            self._asked.clear()
            return
        self.drop(name)
        for asked in self._asked:
            asked.names.discard(name)

    async def _listen(self) -> None:
        async with aclosing(self._cache.watch()) as changes:  # type: ignore[type-var]
            async for name in changes:
                self._listens = True
                self.changed(name)

    async def close(self) -> None:
        """Stop listening, keep nothing. May be called twice."""
        task, self._task, self._listens = self._task, None, False
        if task is not None:
            await end_tasks([task])
        self.changed(EVERYTHING)
