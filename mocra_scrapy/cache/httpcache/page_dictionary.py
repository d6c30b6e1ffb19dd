"""The compression dictionary of one scope: trained once, of its own first pages, and kept for as long as
its entries. It holds pieces of these pages as they are: whoever deletes pages deletes it as well, and no
worker brings it back.
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
#: Entries that are looked for at once.
BATCH = 20
#: Seconds between two looks whether it is still there: for so long a worker may write with one that was
#: deleted, which others can't read.
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
        self._samples: list[tuple[str, bytes]] = []  # name of the entry, and what is looked at of it
        self._checked = 0.0  # when it was last looked whether it is there, monotonic
        self._task: asyncio.Task[None] | None = None

    def learn(self, name: str, payload: bytes) -> None:
        """*payload* is about to be stored as *name*: what it is trained with, until there is one."""
        if self._task is not None:
            return
        if self.current is not None:
            if time.monotonic() - self._checked > CHECK:
                self._begin(self._keep(self.current))
            return
        self._samples.append((name, payload[:LONGEST]))
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
        """Somebody may have deleted it, for what is in it: another one is made of what comes from now on."""
        if await self._cache.touch(NAME, TTL):
            return
        if self.current is current:
            self.current, self._samples = None, []
        await self._look()  # another one may be there by now

    async def _train(self, samples: list[tuple[str, bytes]]) -> None:
        there = await self._there(samples)
        contents = [content for name, content in samples if name in there]
        made = await in_a_thread(lambda: train(contents, None, SIZE), "mocra page dictionary")
        if made is None:
            return  # they have nothing in common
        if not there <= await self._there(samples):
            return  # some were deleted meanwhile
        # Stored before anything is written with it, and never replaced.
        if await self._cache.add(NAME, made.content, TTL):
            self._use(made.content)
        else:
            await self._look()

    async def _there(self, samples: list[tuple[str, bytes]]) -> set[str]:
        """Which of *samples* are still stored: nothing is made of pages that were deleted."""
        names = list(dict(samples))
        found: set[str] = set()
        for begin in range(0, len(names), BATCH):
            batch = names[begin : begin + BATCH]
            found.update(name for name, one in zip(batch, await self._cache.get_many(batch), strict=True) if one)
        return found

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
