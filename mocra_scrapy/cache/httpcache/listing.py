"""What is stored in one scope, for people: sites, pages, exports. Nothing walks all names unless everything
is wanted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mocra_scrapy.cache.httpcache.messages import Stored
from mocra_scrapy.cache.httpcache.page_dictionary import NAME as DICTIONARY

if TYPE_CHECKING:
    from mocra_scrapy.cache.httpcache.pages import SharedPages
    from mocra_scrapy.interfaces import ICache

#: Entries begin with one of these, see :func:`~mocra_scrapy.cache.httpcache.pages.page_name`.
KINDS: Final = ("page:", "print:")
#: Names that one call gives; entries that are read at once, as they are and unpacked: each may be large, and a
#: server far away.
PAGE, REWRITTEN, BATCH = 1000, 20, 8


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
            batch = names[begin : begin + BATCH]
            for one in zip(batch, await asyncio.gather(*map(pages.read, batch)), strict=True):
                yield one


async def names_with(cache: ICache, name: str) -> list[str]:
    """*name*, and the same page's of all users, see :func:`~mocra_scrapy.cache.httpcache.pages.page_name`."""
    found, after = [name], ""
    while of := list(await cache.names(f"{name}~", after, PAGE)):
        found += of
        after = of[-1]
    return found


async def purge(cache: ICache, pages: SharedPages, site: str = "", names: Sequence[str] = ()) -> int:
    """Delete the entries of *site*, these *names* and those of their users, or everything; how many there
    were. No piece of them stays in the compression dictionary: it is deleted, after what needs it was
    written without.
    """
    if site:
        gone = sum([await cache.delete(found) async for found in names_of(cache, site)])
    elif names:
        gone = sum([await cache.delete(await names_with(cache, name)) for name in names])
    else:
        await cache.delete([DICTIONARY])
        gone = (await cache.size()).entries
        await cache.clear()
        return gone
    async for found in names_of(cache):
        for begin in range(0, len(found), REWRITTEN):
            await pages.write_plainly(found[begin : begin + REWRITTEN])
    await cache.delete([DICTIONARY])
    return gone
