"""``StoredPool``: what a worker knows of a pool, and how it changes it: compare and set."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from mocra_scrapy.exceptions import BackendError
from mocra_scrapy.sessions.echoes import Echoes
from mocra_scrapy.sessions.pool_state import PoolState

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IShared

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds after which what is known of a pool is read anew, for a message that was lost.
REFRESH = 60.0


class StoredPool:
    """Args:
    values: where the pools of the crawl are.
    run: the crawl's run now.
    lasts: seconds that the pool is kept after its last change.

    Attributes:
        state: as far as is known; ``version``: of it, 0: none is stored that is known of.
        changed: set when that is another one, and then replaced.
    """

    def __init__(
        self,
        name: str,
        values: IShared,
        *,
        run: Callable[[], int],
        lasts: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name, self._values, self._run, self._lasts = name, values, run, lasts
        self._clock, self._wall = clock, wall
        self.state, self.version, self._damaged = PoolState(), 0, False
        self._fresh_until, self._reading, self._ahead = -math.inf, False, 0.0
        self._echoes, self._one_at_a_time = Echoes(clock), asyncio.Lock()
        self.changed = asyncio.Event()

    @property
    def is_fresh(self) -> bool:
        """Whether nobody has changed it since, as far as is known."""
        return not self._reading and self._clock() < self._fresh_until

    @property
    def now(self) -> float:
        """By the store's clock, as far as it is known: versions are made of it."""
        return self._wall() + self._ahead

    def heard(self) -> None:
        """Somebody changed the pool."""
        if not self._echoes.is_own():
            self.is_stale()

    def is_stale(self) -> None:
        """What is known of it may be wrong."""
        self._fresh_until = -math.inf
        self.wake()

    def wake(self) -> None:
        """Whoever waits looks again."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def _read(self) -> None:
        self._fresh_until, self._reading = self._clock() + REFRESH, True  # a change meanwhile makes it stale again
        try:
            found = await self._values.get(self.name)
        except BaseException:
            self._fresh_until = -math.inf
            raise
        finally:
            self._reading = False
        self.version, self._damaged = found.version, found.value is not None and not found.version
        try:
            self.state = PoolState.unpack(found.value)
        except ValueError as error:
            logger.error("Pool %r in the store is not usable, it begins anew: %s", self.name, error)
            self.state = PoolState()

    async def look(self) -> None:
        """Know what is stored now.

        Raises:
            BackendUnavailable: no answer.
        """
        async with self._one_at_a_time:
            await self._read()

    async def change(self, step: Callable[[PoolState], T]) -> T:
        """Take *step* on what is stored; it may be tried several times, each time on a copy.

        Raises:
            BackendUnavailable: no answer; whether it was taken is unknown.
        """
        async with self._one_at_a_time:
            if not self.is_fresh:
                await self._read()
            while True:
                state = self.state.copy()
                state.begin(self._run())
                result = step(state)
                if state == self.state:
                    return result
                self._echoes.sent()
                version = None if self._damaged else self.version
                try:
                    put = await self._values.put(self.name, state.pack(), version=version, lasts=self._lasts)
                except BaseException:
                    self._echoes.forget()
                    self._fresh_until = -math.inf
                    raise
                if put is not None:
                    self.state, self.version, self._damaged = state, put.version, False
                    self._ahead = put.version / 1e6 - self._wall()
                    self.wake()
                    return result
                self._echoes.refused()
                await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311
                await self._read()

    async def insist(self, step: Callable[[PoolState], T]) -> T:
        """The same as :meth:`change`, over outages."""
        while True:
            try:
                return await self.change(step)
            except BackendError as error:
                logger.debug("Pool %r: %s", self.name, error)
                await asyncio.sleep(random.uniform(0.25, 0.5))  # noqa: S311
