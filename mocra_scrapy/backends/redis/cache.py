"""``RedisCache``: a namespace is one hash with its indexes; on a cluster, sixteen of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from zlib import crc32

from zope.interface import implementer

from mocra_scrapy.backends.redis.cache_pieces import PIECE, Pieces
from mocra_scrapy.backends.redis.cache_sets import RedisSortedSets
from mocra_scrapy.backends.redis.connection.channels import Channels
from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.shards import gather_all, quote_name
from mocra_scrapy.interfaces import ICache
from mocra_scrapy.models import CacheBounds, Cached, CacheSize
from mocra_scrapy.models.cache import (
    PARTS,
    STEP,
    counted,
    fits,
    milliseconds,
    not_a_counter,
    page,
    shown_name,
    stored_name,
)

VERBS = ("get", "set", "add", "touch", "increment", "delete", "delete_if", "names", "tidy", "size", "clear")
GET, SET, ADD, TOUCH, INCREMENT, DELETE, DELETE_IF, NAMES, TIDY, SIZE, CLEAR = (
    load_script(f"cache_{verb}") for verb in VERBS
)

#: Bytes that one call brings or takes at most, unless one value alone is more: the server is busy with
#: them for two milliseconds.
BYTES = 4_194_304
NAMES_AT_ONCE = 1000
#: Reads of a large value that is replaced again and again, before it counts as missing.
TRIES = 5
#: What a script says of a name that it did not look at.
LATER = 0


@implementer(ICache)
class RedisCache(RedisSortedSets):
    """See :class:`~mocra_scrapy.interfaces.ICache`. Each call is sent once.

    Args:
        client: connected; owned by the backend.
        prefix: what all key names begin with.
        namespace: any text.
        bounds: what it may hold.
        channels: where changes are heard of.
    """

    def __init__(
        self, client: RedisClient, prefix: str, namespace: str, bounds: CacheBounds, channels: Channels
    ) -> None:
        self.bounds = bounds
        self.evicted = 0
        self._client = client
        self._channels = channels
        self._pieces = Pieces(client, prefix)
        parts = PARTS if client.target.kind == "cluster" else 1
        tag = f"+cache:{quote_name(namespace)}"
        self._keys = [[f"{prefix}:{{{tag}:{part}}}:values"] for part in range(parts)]
        self._heads = [f"{prefix}:{{{tag}:{part}}}:" for part in range(parts)]
        self._limits = [str(limit) for limit in bounds.share(parts)]
        self._channel = f"{prefix}:{tag}"

    async def _run(self, script: Any, part: int, *args: Any) -> Any:
        return await self._client.run(script, self._keys[part], args)

    def _part(self, stored: bytes) -> int:
        """The part in which a name is."""
        return crc32(stored) % len(self._keys) if len(self._keys) > 1 else 0

    def _parts(self, stored: Sequence[bytes]) -> dict[int, list[int]]:
        """Part -> which of *stored* are in it."""
        found: dict[int, list[int]] = {}
        for i, one in enumerate(stored):
            found.setdefault(self._part(one), []).append(i)
        return found

    async def _made_room(self, part: int, answer: Sequence[Any]) -> None:
        """After a write: note what had to go, and let go what was too much for one call."""
        went, more = int(answer[0]), int(answer[1])
        self.evicted += went
        while more:
            went, more = await self._run(TIDY, part, *self._limits)
            self.evicted += int(went)

    # ------------------------------------------------------------------ reading

    async def get(self, name: str) -> Cached | None:
        return (await self.get_many([name]))[0]

    async def get_many(self, names: Sequence[str]) -> Sequence[Cached | None]:
        stored = [stored_name(name) for name in names]
        found: dict[int, Cached] = {}
        await gather_all(
            [self._read(part, [(i, stored[i]) for i in which], found) for part, which in self._parts(stored).items()]
            or [self._nothing()]
        )
        return [found.get(i) for i in range(len(names))]

    async def _nothing(self) -> None:
        """What a call without names asks for."""

    async def _read(self, part: int, wanted: Sequence[tuple[int, bytes]], found: dict[int, Cached]) -> None:
        while wanted:
            now, wanted = wanted[:NAMES_AT_ONCE], wanted[NAMES_AT_ONCE:]
            answers = await self._run(GET, part, BYTES, *(name for _, name in now))
            later = []
            for one, answer in zip(now, answers, strict=True):
                if answer == LATER:
                    later.append(one)
                elif answer and answer[0] is not None:
                    value = await self._whole(part, one[1], answer)
                    if value is not None:
                        found[one[0]] = Cached(value, int(answer[1]) / 1000)
            wanted = [*later, *wanted]

    async def _whole(self, part: int, name: bytes, answer: Sequence[Any]) -> bytes | None:
        """What an answer gives, its pieces fetched; ``None``: they are gone."""
        for _ in range(TRIES):
            if not answer or len(answer) < 3 or answer[2] is None:
                break
            value = await self._pieces.read(self._heads[part], answer[2].decode())
            if value is not None:
                return value
            (answer,) = await self._run(GET, part, BYTES, name)  # it was replaced while its pieces were read
        else:
            return None
        return answer[0] if answer else None

    async def names(self, prefix: str = "", after: str = "", most: int = 100) -> Sequence[str]:
        page(most)
        asked = [stored_name(one) if one else b"" for one in (prefix, after)]
        parts = await gather_all([self._names(part, asked[0], asked[1], most) for part in range(len(self._keys))])
        return [shown_name(name) for name in sorted(name for names in parts for name in names)[:most]]

    async def _names(self, part: int, prefix: bytes, after: bytes, most: int) -> list[bytes]:
        found: list[bytes] = []
        on: bytes | None = after
        while on is not None and len(found) < most:
            on, *some = await self._run(NAMES, part, prefix, on, min(NAMES_AT_ONCE, most - len(found)))
            found += some
        return found

    async def size(self) -> CacheSize:
        sizes = await gather_all([self._run(SIZE, part) for part in range(len(self._keys))])
        return CacheSize(sum(int(size[0]) for size in sizes), sum(int(size[1]) for size in sizes))

    # ------------------------------------------------------------------ writing

    async def set(self, name: str, value: bytes, ttl: float) -> None:
        await self.set_many({name: value}, ttl)

    async def set_many(self, values: Mapping[str, bytes], ttl: float) -> None:
        lasts = milliseconds(ttl)
        pairs = [(stored_name(name), fits(name, value, self.bounds)) for name, value in values.items()]
        parts = self._parts([name for name, _ in pairs])
        await gather_all(
            [self._store(part, [pairs[i] for i in which], lasts) for part, which in parts.items()] or [self._nothing()]
        )

    async def _store(self, part: int, pairs: Sequence[tuple[bytes, bytes]], lasts: int) -> None:
        for some in self._batches([pair for pair in pairs if len(pair[1]) <= PIECE]):
            flat = [text for pair in some for text in pair]
            await self._made_room(part, await self._run(SET, part, *self._limits, self._channel, lasts, "", *flat))
        for name, value in pairs:
            if len(value) > PIECE:
                cut = await self._pieces.write(self._heads[part], value)
                args = [*self._limits, self._channel, lasts, cut, name, b""]
                await self._made_room(part, await self._run(SET, part, *args))

    def _batches(self, pairs: Sequence[tuple[bytes, bytes]]) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """*pairs* in parts that one call may bring: not so much that it would not fit in together."""
        entries, size = min(STEP, int(self._limits[0])), min(BYTES, int(self._limits[1]))
        batch: list[tuple[bytes, bytes]] = []
        room = size
        for pair in pairs:
            needs = len(pair[0]) + len(pair[1])
            if batch and (needs > room or len(batch) == entries):
                yield batch
                batch, room = [], size
            batch.append(pair)
            room -= needs
        if batch:
            yield batch

    async def add(self, name: str, value: bytes, ttl: float) -> bool:
        stored, raw = stored_name(name), fits(name, value, self.bounds)
        part = self._part(stored)
        lasts, cut = milliseconds(ttl), ""
        if len(raw) > PIECE:
            cut, raw = await self._pieces.write(self._heads[part], raw), b""
        answer = await self._run(ADD, part, *self._limits, self._channel, lasts, cut, stored, raw)
        if answer:
            await self._made_room(part, answer)
        elif cut:
            await self._pieces.delete(self._heads[part], cut)
        return bool(answer)

    async def touch(self, name: str, ttl: float) -> bool:
        stored = stored_name(name)
        return bool(await self._run(TOUCH, self._part(stored), self._channel, milliseconds(ttl), stored))

    async def increment(self, name: str, by: int = 1, ttl: float = 3600.0) -> int:
        stored, lasts = stored_name(name), milliseconds(ttl)
        part, digits = self._part(stored), str(counted(name, by))
        answer = await self._run(INCREMENT, part, *self._limits, self._channel, lasts, stored, digits)
        if not answer:
            raise not_a_counter(name)
        if len(answer) > 1:
            await self._made_room(part, answer[1:])
        return int(answer[0])

    async def delete(self, names: Sequence[str]) -> int:
        stored = [stored_name(name) for name in names]
        gone = 0
        for part, which in self._parts(stored).items():
            for at in range(0, len(which), STEP):
                some = [stored[i] for i in which[at : at + STEP]]
                gone += int(await self._run(DELETE, part, self._channel, *some))
        return gone

    async def delete_if(self, name: str, value: bytes) -> bool:
        stored, raw, cut = stored_name(name), value, b""
        part = self._part(stored)
        if len(value) > PIECE:
            (answer,) = await self._run(GET, part, BYTES, stored)
            if not answer or len(answer) < 3 or await self._pieces.read(self._heads[part], answer[2].decode()) != value:
                return False
            raw, cut = b"", answer[2]  # which names these very pieces
        return bool(await self._run(DELETE_IF, part, self._channel, stored, raw, cut))

    async def clear(self) -> None:
        for part in range(len(self._keys)):
            while await self._run(CLEAR, part, self._channel, STEP):
                pass

    # ------------------------------------------------------------------ hearing

    async def watch(self) -> AsyncIterator[str]:
        async with aclosing(self._channels.listen(self._channel)) as messages:  # type: ignore[type-var]
            async for message in messages:
                yield message

    async def close(self) -> None:
        """Watchers end with the tasks that iterate over them."""
