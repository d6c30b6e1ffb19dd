"""The verbs of :class:`~mocra_scrapy.interfaces.IDictionaries` in this process."""

from __future__ import annotations

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.models import StoredDictionaries


class MemoryDictionaries:
    """The part of :class:`~mocra_scrapy.backends.memory.queue.MemoryRequestQueue` that deals with
    dictionaries.
    """

    _crawl: StoredCrawl

    async def dictionaries(self) -> StoredDictionaries:
        stored = self._crawl.dictionaries
        return StoredDictionaries(stored.current, dict(stored.contents))

    async def add_dictionary(self, identity: int, content: bytes, *, instead_of: int | None) -> int | None:
        return self._crawl.dictionaries.add(identity, content, instead_of=instead_of)
