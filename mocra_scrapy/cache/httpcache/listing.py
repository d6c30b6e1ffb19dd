"""What is stored in one scope, for people: sites, pages, exports. Nothing walks all names unless everything
is wanted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mocra_scrapy.cache.httpcache.messages import Stored

if TYPE_CHECKING:
    from mocra_scrapy.cache.httpcache.pages import SharedPages
    from mocra_scrapy.interfaces import ICache

#: Entries begin with one of these, see :func:`~mocra_scrapy.cache.httpcache.pages.page_name`.
KINDS: Final = ("page:", "print:")
#: Names that one call gives; entries that are read at once.
PAGE, BATCH = 1000, 20


@dataclass(frozen=True)
class Site:
    """Entries of one host: *entries* of them, or more if there are *many*."""

    host: str
    entries: int
    many: bool


async def sites(cache: ICache, most: int) -> list[Site]:
    """The first *most* hosts, by their names. A call for each, and one more."""
    found: list[Site] = []
    for kind in KINDS:
        after = ""
        while len(found) < most:
            names = await cache.names(kind, after, 1)
            if not names:
                break
            host = names[0][len(kind) :].rpartition("/")[0]
            of = await cache.names(f"{kind}{host}/", "", PAGE)
            found.append(Site(host, len(of), len(of) == PAGE))
            after = f"{kind}{host}0"  # behind all of this host: "0" comes next to "/"
    return found


async def names_of(cache: ICache, site: str = "") -> AsyncIterator[list[str]]:
    """The names of all entries, or of those of *site*, page by page."""
    for kind in KINDS:
        prefix, after = f"{kind}{site}/" if site else kind, ""
        while names := list(await cache.names(prefix, after, PAGE)):
            yield names
            after = names[-1]


async def entries_of(cache: ICache, pages: SharedPages, site: str = "") -> AsyncIterator[tuple[str, list[Stored]]]:
    """Name and responses of each entry, or of those of *site*, a few in memory at a time."""
    async for names in names_of(cache, site):
        for begin in range(0, len(names), BATCH):
            for name in names[begin : begin + BATCH]:
                yield name, await pages.read(name)


async def purge(cache: ICache, site: str) -> int:
    """Delete the entries of *site*; how many there were."""
    return sum([await cache.delete(names) async for names in names_of(cache, site)])
