"""The compression dictionaries of a crawl in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mocra_scrapy.models import StoredDictionaries

if TYPE_CHECKING:
    from mocra_scrapy.backends.embedded.crawl import StoredCrawl

MOST = 100


class Dictionaries:
    """What is stored. Goes with the crawl."""

    def __init__(self) -> None:
        self.current: int | None = None
        self.contents: dict[int, bytes] = {}


class MemoryDictionaries:
    """See :class:`~mocra_scrapy.interfaces.IDictionaries`; part of
    :class:`~mocra_scrapy.backends.memory.queue.MemoryRequestQueue`.
    """

    _crawl: StoredCrawl

    async def dictionaries(self) -> StoredDictionaries:
        stored = self._crawl.dictionaries
        return StoredDictionaries(stored.current, dict(stored.contents))

    async def add_dictionary(self, identity: int, content: bytes, *, instead_of: int | None) -> int | None:
        stored = self._crawl.dictionaries
        known = stored.contents.get(identity)
        if (
            stored.current != instead_of
            or known not in (None, content)
            or (known is None and len(stored.contents) >= MOST)
        ):
            return stored.current
        stored.contents[identity] = bytes(content)
        stored.current = identity
        return identity
