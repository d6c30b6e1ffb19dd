"""The shards of one crawl: their keys, which slot lives where, and asking one or all of them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar
from zlib import crc32

import msgpack

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import Script, load_script
from mocra_scrapy.models import Bounds

T = TypeVar("T")

LOOK_AT_CRAWL, REOPEN_CRAWL = load_script("crawl_look"), load_script("crawl_reopen")


def quote_name(name: str, also: str = "") -> str:
    """*name* as a part of key names: no braces (hash tags), colons, blanks or glob characters; *also*
    stays as it is.
    """
    kept = "_.-" + also
    return "".join(c if c.isalnum() or c in kept else "".join(f"%{b:02x}" for b in c.encode()) for c in name)


async def gather_all(calls: Sequence[Awaitable[T]]) -> list[T]:
    """All answers, in order; when some fail the first failure, but not before every call has ended."""
    if len(calls) == 1:
        return [await calls[0]]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    good: list[T] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        good.append(answer)
    return good


class Shards:
    """Where the parts of a crawl are.

    Args:
        client: connected; owned by the backend.
        prefix: what all key names begin with.
        crawl: the crawl's name, any text.
        wish: number of shards asked for; ``None``: what the crawl was begun with.
        default: number of shards of a crawl that is begun without a wish.
    """

    def __init__(self, client: RedisClient, prefix: str, crawl: str, wish: int | None, default: int) -> None:
        self._client = client
        self._prefix = prefix
        self._name = quote_name(crawl, ":")  # unambiguous: the shard's number is behind the last one
        self._default = default
        self.wish = wish
        self.count = wish or 0  # 0: not known before the first look at the crawl's record
        self.channel = f"{prefix}:{self._name}:wake"

    @property
    def wish_argument(self) -> str:
        """For ``join.lua``: the wish, or the default as a negative number."""
        return str(self.wish or -self._default)

    async def run(self, script: Script, shard: int, *args: Any) -> Any:
        return await self._client.run(script, [f"{self._prefix}:{{{self._name}:{shard}}}:meta"], args)

    async def ask(self, script: Script, shard: int, asked: Mapping[str, Any]) -> Any:
        """:meth:`run` with one argument, a map for ``cmsgpack.unpack``."""
        # cmsgpack is older than the bin types.
        return await self.run(script, shard, msgpack.packb(asked, use_bin_type=False, unicode_errors="surrogateescape"))

    async def known(self) -> int:
        """How many there are."""
        if not self.count:
            record = await self.run(LOOK_AT_CRAWL, 0)
            self.count = int(record[4]) or self._default
        return self.count

    async def everywhere(self, one: Callable[[int], Awaitable[T]]) -> list[T]:
        return await gather_all([one(shard) for shard in range(await self.known())])

    def of(self, slot: str) -> int:
        """The shard on which *slot* lives."""
        return crc32(slot.encode("utf-8", "surrogateescape")) % self.count if self.count > 1 else 0

    def part(self, bounds: Bounds, shard: int) -> Bounds:
        """What of *bounds* concerns *shard*, but for budgets (see ``BudgetBlocks.part``). Scopes live on
        one shard only, see ``MOCRA_THROTTLE``.
        """
        if self.count == 1:
            return bounds
        return Bounds(
            [name for name in bounds.full if self.of(name) == shard],
            bounds.per_slot,
            {name: n for name, n in bounds.loads.items() if self.of(name) == shard},
            {name: n for name, n in bounds.keep_permits.items() if self.of(name) == shard},
            [one for one in bounds.unused if self.of(one.names[0]) == shard],
            [name for name in bounds.wanted if self.of(name) == shard],
        )

    async def names(self, heads: Sequence[str]) -> dict[tuple[int, str], list[bytes]]:
        """Shard and head -> what follows that head in the names of the keys of that shard, for the
        keys that begin with one of *heads*. The names of all keys of the server are passed over once.
        """
        start = f"{self._prefix}:{{{self._name}:"
        mine = re.compile(re.escape(start.encode()) + rb"(\d+)\}:(" + "|".join(heads).encode() + rb")(.*)", re.DOTALL)
        found: dict[tuple[int, str], list[bytes]] = {}
        for name in await self._client.key_names(f"{start}*"):
            if (match := mine.fullmatch(name)) is not None:
                found.setdefault((int(match[1]), match[2].decode()), []).append(match[3])
        return found

    async def delete_some(self) -> AsyncIterator[int]:
        """Delete all keys of all shards but the crawl's record, however many shards there once were: a
        bounded number a step, and how many those were.
        """
        head = f"{self._prefix}:{{{self._name}:"
        # A name may go on where this one ends, as shop:books:eu does: then no number follows.
        mine = re.compile(re.escape(head.encode()) + rb"\d+\}:")
        record = f"{head}0}}:crawl".encode()
        async for names in self._client.names_in_parts(f"{head}*"):
            some = [name for name in names if mine.match(name) and name != record]
            await self._client.delete(some)
            yield len(some)

    def forget(self) -> None:
        """The crawl is deleted: how many shards it had is not known any more."""
        self.count = self.wish or 0
