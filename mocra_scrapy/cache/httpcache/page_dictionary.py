"""The compression dictionary of one scope: trained once, of its own first pages, and kept for as long as
its entries.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from mocra_scrapy._tasks import end_tasks, in_a_thread
from mocra_scrapy.codec.compression import Dictionary, train
from mocra_scrapy.exceptions import UnreadablePayload

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import ICache

logger = logging.getLogger(__name__)

#: The entry in which it is; its time to live, ten years: the longest, so that nothing outlives it.
NAME: Final = "dictionary"
TTL: Final = 315_360_000.0
#: Entries after which it is trained; bytes of each that are looked at, and of the result.
SAMPLES, LONGEST, SIZE = 200, 65_536, 65_536
#: Seconds between two looks whether it is still there.
CHECK = 30.0


class PageDictionary:
    """Of one worker. The first one that has seen :data:`SAMPLES` entries trains it; who comes second takes
    the first one's.

    Attributes:
        current: what new entries are compressed with; ``None``: nothing yet.
        known: identity -> dictionary.
    """

    def __init__(self, cache: ICache) -> None:
        self._cache = cache
        self.current: Dictionary | None = None
        self.known: dict[int, Dictionary] = {}
        self._samples: list[bytes] = []
        self._checked = 0.0  # when it was last looked whether it is there, monotonic
        self._task: asyncio.Task[None] | None = None

    def learn(self, payload: bytes) -> None:
        """*payload* is about to be stored: what it is trained with, until there is one."""
        if self._task is not None:
            return
        if self.current is not None:
            if time.monotonic() - self._checked > CHECK:
                self._begin(self._keep(self.current))
            return
        self._samples.append(payload[:LONGEST])
        if self._checked == 0.0:
            self._begin(self._look())
        elif len(self._samples) >= SAMPLES:
            samples, self._samples = self._samples, []
            self._begin(self._train(samples))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._checked = time.monotonic()
        self._task = asyncio.ensure_future(work)
        self._task.add_done_callback(self._idle)

    def _idle(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("HTTP cache: no compression dictionary: %r", error)

    async def _look(self) -> None:
        """Whether the scope has one already."""
        found = await self._cache.get(NAME)
        if found is not None:
            self._use(found.value)

    async def _keep(self, current: Dictionary) -> None:
        """Somebody may have deleted it: what is written from now on would be read by nobody else."""
        if not await self._cache.touch(NAME, TTL) and not await self._cache.add(NAME, current.content, TTL):
            await self._look()  # another one is there by now

    async def _train(self, samples: list[bytes]) -> None:
        made = await in_a_thread(lambda: train(samples, None, SIZE), "mocra page dictionary")
        if made is None:
            return  # they have nothing in common
        # Stored before anything is written with it, and never replaced.
        if await self._cache.add(NAME, made.content, TTL):
            self._use(made.content)
        else:
            await self._look()

    def _use(self, content: bytes) -> None:
        try:
            dictionary = Dictionary(content)
        except UnreadablePayload as error:
            logger.warning("HTTP cache: its compression dictionary can't be used: %s", error)
            return
        self.known[dictionary.identity] = dictionary
        self.current = dictionary
        self._samples = []

    async def find(self, identity: int) -> Dictionary | None:
        """The one that an entry needs; ``None``: it is not stored."""
        if identity not in self.known:
            await self._look()
        return self.known.get(identity)

    async def close(self) -> None:
        """End the training. Raises nothing."""
        if self._task is not None:
            await end_tasks([self._task])
