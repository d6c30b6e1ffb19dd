"""The verbs that look into a crawl's queue, and those for people: peek, dead letters, forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mocra_scrapy.backends.redis.client import load_script
from mocra_scrapy.backends.redis.shards import STATE, Shards
from mocra_scrapy.backends.redis.wire import BETWEEN, fingerprint_number, open_item, open_letter, open_state
from mocra_scrapy.models import CrawlState, DeadLetter, Entry, QueueOptions, QueueSize, WorkerInfo

SIZE, WORKERS, PEEK, DEAD, FORGET = (load_script(name) for name in ("size", "workers", "peek", "dead", "forget"))

#: Letters or fingerprints of one call, so that a script stays short.
PART = 200


class RedisQueueInspection:
    """The part of :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` that no worker's turn needs."""

    options: QueueOptions
    _shards: Shards

    async def state(self) -> CrawlState:
        return open_state(await self._shards.run(STATE, 0, "look"))

    async def size(self) -> QueueSize:
        async def one(shard: int) -> QueueSize:
            return QueueSize(*map(int, await self._shards.run(SIZE, shard)))

        return sum(await self._shards.everywhere(one), QueueSize())

    async def workers(self) -> Sequence[WorkerInfo]:
        async def one(shard: int) -> list[Any]:
            return list(await self._shards.run(WORKERS, shard))

        merged: dict[str, WorkerInfo] = {}
        for flat in await self._shards.everywhere(one):
            for i in range(0, len(flat), 3):
                name, left, held = flat[i].decode(), int(flat[i + 1]) / 1000, int(flat[i + 2])
                known = merged.get(name, WorkerInfo(name, left, 0))
                merged[name] = WorkerInfo(name, max(left, known.expires_in), held + known.held)
        return sorted(merged.values(), key=lambda info: info.name)

    async def peek(self, limit: int = 10) -> Sequence[Entry]:
        entries: list[Entry] = []
        for shard in range(await self._shards.known()):
            flat = await self._shards.run(PEEK, shard, str(limit - len(entries))) if limit > len(entries) else []
            for i in range(0, len(flat), 3):
                priority, normal = divmod(int(flat[i + 1]), 2)
                slot = flat[i].decode("utf-8", "surrogateescape").partition(BETWEEN)[0]
                entries.append(Entry(open_item(flat[i + 2])[2], slot, priority, None, not normal))
        return entries

    # ------------------------------------------------------------------ dead letters, the filter

    async def dead(self, limit: int = 100, *, after: str | None = None) -> Sequence[DeadLetter]:
        async def one(shard: int) -> list[DeadLetter]:
            flat = await self._shards.run(DEAD, shard, "page", str(limit), _before_shard(after))
            return [open_letter(flat[i] + b"-%d" % shard, flat[i + 1]) for i in range(0, len(flat), 2)]

        letters = sorted((x for page in await self._shards.everywhere(one) for x in page), key=lambda x: x.id)
        return [letter for letter in letters if after is None or letter.id > after][:limit]

    async def replay(self, ids: Sequence[str]) -> Sequence[bool]:
        return await self._by_shard(ids, "replay", str(int(self.options.lifo)), self._shards.channel)

    async def purge(self, ids: Sequence[str]) -> Sequence[bool]:
        return await self._by_shard(ids, "purge")

    async def _by_shard(self, ids: Sequence[str], *head: str) -> Sequence[bool]:
        """Run ``dead.lua`` where each letter is; its id ends with the shard."""
        shards = await self._shards.known()
        found = [False] * len(ids)
        groups: dict[int, list[int]] = {}
        for i, identity in enumerate(ids):
            tail = identity.rpartition("-")[2]
            if tail.isdecimal() and int(tail) < shards:
                groups.setdefault(int(tail), []).append(i)
        for shard, places in groups.items():
            for at in range(0, len(places), PART):
                some = places[at : at + PART]
                names = [ids[i].rpartition("-")[0] for i in some]
                for i, flag in zip(some, await self._shards.run(DEAD, shard, *head, *names), strict=True):
                    found[i] = bool(int(flag))
        return found

    async def forget(self, fingerprints: Sequence[bytes]) -> Sequence[bool]:
        numbers = [fingerprint_number(fp) for fp in fingerprints]
        known = [False] * len(numbers)
        for at in range(0, len(numbers), PART):
            some = numbers[at : at + PART]

            async def one(shard: int, some: Sequence[str] = some) -> list[Any]:
                return list(await self._shards.run(FORGET, shard, *some))

            for answer in await self._shards.everywhere(one):
                for i, flag in enumerate(answer):
                    known[at + i] |= bool(int(flag))
        return known


def _before_shard(identity: str | None) -> str:
    return "" if identity is None else identity.rpartition("-")[0]
