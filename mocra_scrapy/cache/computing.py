"""``Computing``: of all who miss a value one computes it, and the others wait for it.

The one holds a lock of the cluster, which it renews while it computes. If it is killed the lock runs out
and one of those who wait takes over::

    worker-a   misses, holds the lock, computes … is killed
    worker-b   misses, finds the lock taken, waits
    worker-b   (lease over) holds the lock, looks again: nothing. It computes, stores, releases
    worker-c   is woken by the release, looks again: there it is

Callers of one process wait for each other first, so a process asks for the lock once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.coordination.locks import Lock
from mocra_scrapy.exceptions import ConfigurationError, LockTimeout

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import ILocks

#: Seconds between two looks of those who wait, for a release that nobody told of.
LOOK = 1.0

Look = Callable[[], Awaitable[Any]]
#: Gets a function that says whether this process still has the lock: nothing may be stored without.
Compute = Callable[[Callable[[], bool]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value that somebody misses.

    Attributes:
        name: of the value.
        look: asks the store; ``None``: it is not there.
        compute: computes and stores it.
        wait: seconds to wait for others at most; ``until``: that, by the monotonic clock.
        lease: seconds after which others take over from a process that says nothing.
    """

    name: str
    look: Look
    compute: Compute
    wait: float
    until: float
    lease: float

    @property
    def left(self) -> float:
        return max(0.0, self.until - time.monotonic())

    def late(self) -> LockTimeout:
        return LockTimeout(f"cache value {self.name!r} was not computed by others within wait = {self.wait:g} s")


class Computing:
    """What this process computes, or waits for.

    Args:
        locks: of the backend.
        space: what names of locks begin with.
        holder: this worker's name.
    """

    def __init__(self, locks: ILocks, space: str, holder: str) -> None:
        self._locks, self._space, self._holder = locks, space, holder
        self._turns: dict[str, asyncio.Future[None]] = {}
        self._tasks: dict[str, asyncio.Task[Any] | None] = {}

    async def once(self, name: str, look: Look, compute: Compute, *, wait: float, lease: float) -> Any:
        """What *look* finds, or else what *compute* gives. Arguments: see :class:`Wanted`.

        Raises:
            ConfigurationError: *compute* itself asks for it: it would wait for itself.
            LockTimeout: somebody else computed for longer than *wait* seconds.
            BackendUnavailable: no answer.
            Exception: what *compute* raised. The next one who waits computes then.
        """
        task = asyncio.current_task()
        if task is not None and self._tasks.get(name) is task:
            raise ConfigurationError(
                f"cache value {name!r}",
                "what computes it asks get_or_compute for it, and would wait for itself",
                "Let it ask for another name, or for cache.get(name)",
            )
        wanted = Wanted(name, look, compute, wait, time.monotonic() + wait, lease)
        while (turn := self._turns.get(name)) is not None:
            done, _ = await asyncio.wait([turn], timeout=wanted.left)
            if not done:
                raise wanted.late()
            found = await look()
            if found is not None:
                return found
        mine = self._turns[name] = asyncio.get_running_loop().create_future()
        self._tasks[name] = task
        try:
            return await self._in_turn(wanted)
        finally:
            del self._turns[name], self._tasks[name]
            mine.set_result(None)

    async def _in_turn(self, wanted: Wanted) -> Any:
        lock = f"{self._space}{wanted.name}"
        while True:
            left = wanted.left
            nap = min(LOOK, wanted.lease, left) * random.uniform(0.75, 1.0)  # noqa: S311
            # It listens before it asks: a release between the answer and the wait would be missed.
            told = asyncio.ensure_future(self._locks.wait(lock, nap))
            try:
                await asyncio.sleep(0)
                found = await self._attempt(wanted, lock)
                if found is None and not left:
                    raise wanted.late()
                if found is None:
                    await told
            finally:
                await end_tasks([told])
            if found is None:
                found = await wanted.look()
            if found is not None:
                return found

    async def _attempt(self, wanted: Wanted, name: str) -> Any:
        """The value, if nobody else computes it; else ``None``."""
        lock = Lock(self._locks, name, self._holder, ttl=wanted.lease, timeout=0, on_loss="flag")
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(lock)
            except LockTimeout:
                return None
            found = await wanted.look()
            return found if found is not None else await wanted.compute(lambda: not lock.lost)
