"""The verbs of :class:`~mocra_scrapy.interfaces.IDeadLetters` in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.backends.embedded.dead_letters import DeadLetterTable
from mocra_scrapy.models import EVERY_LETTER, DeadLetter, LetterFilter, QueueOptions


class MemoryDeadLetters:
    """The part of :class:`~mocra_scrapy.backends.memory.queue.MemoryRequestQueue` that deals with
    dead letters.
    """

    options: QueueOptions
    _crawl: StoredCrawl
    _clock: Callable[[], float]

    @property
    def _letters(self) -> DeadLetterTable:
        letters = self._crawl.dead
        letters.expire(self._clock(), self.options.dead_ttl)
        return letters

    async def dead(
        self, limit: int = 100, *, after: str | None = None, where: LetterFilter | None = None
    ) -> Sequence[DeadLetter]:
        fits = (where or EVERY_LETTER).fits
        return list(islice(filter(fits, self._letters.after(after)), max(0, limit)))

    async def count_dead(self, where: LetterFilter | None = None) -> Mapping[str, int]:
        return Counter(letter.reason for letter in self._letters if (where or EVERY_LETTER).fits(letter))

    async def find_dead(self, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        letters = self._letters
        return [letters.get(one) for one in ids]

    async def find_response(self, identity: str) -> bytes | None:
        letter = self._letters.get(identity)
        return None if letter is None else self._letters.response_of(letter)

    async def response_sizes(self, ids: Sequence[str]) -> Sequence[int]:
        return [len(self._letters.responses.get(one) or b"") for one in ids]

    async def replay(self, ids: Sequence[str], *, forget: bool = False) -> Sequence[bool]:
        found, letters = self._letters.pop_deliveries(ids)
        self._crawl.replay(letters, self.options.lifo, forget=forget)
        return found

    async def purge(self, ids: Sequence[str]) -> Sequence[bool]:
        letters = self._letters
        return [letters.pop(one) is not None for one in ids]

    async def purge_where(self, where: LetterFilter, limit: int = 1000) -> int:
        return sum(await self.purge([letter.id for letter in await self.dead(limit, where=where)]))
