"""``MemoryLocks``: locks and semaphores in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from zope.interface import implementer

from mocra_scrapy.backends.memory.election import greater
from mocra_scrapy.interfaces import ILocks
from mocra_scrapy.models import Grant


@dataclass(slots=True)
class Place:
    number: int
    until: float  # by the monotonic clock


@dataclass(slots=True)
class Lock:
    """``last`` is the greatest number given; ``line``: who waits, in order, and until when that counts;
    ``events`` are of those who sleep, each of its own loop.
    """

    last: int = 0
    permits: dict[str, Place] = field(default_factory=dict)
    line: dict[str, float] = field(default_factory=dict)
    events: list[asyncio.Event] = field(default_factory=list)


class Locks(Protocol):
    """The part of the store that is used here."""

    locks: dict[str, Lock]


@implementer(ILocks)
class MemoryLocks:
    """See :class:`~mocra_scrapy.interfaces.ILocks`."""

    def __init__(self, store: Locks, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._wall = wall

    def _lock(self, name: str) -> Lock:
        """The lock, without permits that ran out."""
        lock, now = self._store.locks.setdefault(name, Lock()), self._clock()
        for owner in [owner for owner, place in lock.permits.items() if place.until <= now]:
            del lock.permits[owner]
        for owner in [owner for owner, until in lock.line.items() if until <= now]:
            del lock.line[owner]
        return lock

    def _sweep(self, name: str) -> None:
        """Forget a lock that nobody holds or wants: numbers begin at the clock."""
        lock = self._store.locks.get(name)
        if lock is not None and not (lock.permits or lock.line or lock.events):
            del self._store.locks[name]

    async def acquire(
        self, name: str, owner: str, ttl: float, *, limit: int = 1, patience: float = 0.0
    ) -> Grant | None:
        lock = self._lock(name)
        place = lock.permits.get(owner)
        if place is None:
            ahead = next((i for i, one in enumerate(lock.line) if one == owner), len(lock.line))
            if len(lock.permits) + ahead >= limit:
                if patience:
                    lock.line[owner] = self._clock() + patience
                self._sweep(name)
                return None
            lock.line.pop(owner, None)
            lock.last = greater(lock.last, self._wall)
            place = lock.permits[owner] = Place(lock.last, 0.0)
        place.until = self._clock() + ttl
        return Grant(name, owner, place.number, ttl)

    async def renew(self, name: str, owner: str, number: int, ttl: float) -> bool:
        place = self._lock(name).permits.get(owner)
        if place is None or place.number != number:
            self._sweep(name)
            return False
        place.until = self._clock() + ttl
        return True

    async def release(self, name: str, owner: str, number: int) -> bool:
        lock = self._lock(name)
        place = lock.permits.get(owner)
        mine = place is not None and number in (0, place.number)
        left = number == 0 and lock.line.pop(owner, None) is not None
        if mine:
            del lock.permits[owner]
        if mine or left:
            for event in lock.events:
                event.set()
        self._sweep(name)
        return mine

    async def wait(self, name: str, timeout: float) -> bool:
        lock, event = self._lock(name), asyncio.Event()
        lock.events.append(event)
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(event.wait(), timeout)
        finally:
            lock.events.remove(event)
            self._sweep(name)
        return event.is_set()

    async def holders(self, name: str) -> Sequence[Grant]:
        lock, now = self._lock(name), self._clock()
        found = [Grant(name, owner, place.number, place.until - now) for owner, place in lock.permits.items()]
        self._sweep(name)
        return found

    async def close(self) -> None:
        """Nobody listens but those who wait."""
