"""The verbs that look into a crawl's queue, and those for people: peek, dead letters (in
:mod:`dead_letters`), forget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mocra_scrapy.backends.redis.audit import RedisAudit
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.exchange_wire import open_item, open_job, open_state, open_tag
from mocra_scrapy.backends.redis.shards import LOOK_AT_CRAWL
from mocra_scrapy.models import EVERY_LETTER, CrawlRecord, CrawlState, Entry, QueueSize, WorkerInfo
from mocra_scrapy.models.entries import BETWEEN, fingerprint_number

SIZE, WORKERS, PEEK, FORGET = (load_script(name) for name in ("size", "list_workers", "peek", "forget"))
RECORD, POSITIONS = load_script("crawl_record"), load_script("crawl_positions")

#: Fingerprints of one call, so that a script stays short.
PART = 200


class RedisQueueInspection(RedisAudit):
    """The part of :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` that no worker's
    turn needs.
    """

    async def state(self) -> CrawlState:
        return open_state(await self._shards.run(LOOK_AT_CRAWL, 0))

    async def positions(self) -> Mapping[str, bytes]:
        flat = await self._shards.run(POSITIONS, 0)
        return {name.decode("utf-8", "surrogateescape"): at for name, at in zip(flat[::2], flat[1::2], strict=True)}

    async def record(self) -> CrawlRecord:
        about, begun, heard, by = await self._shards.run(RECORD, 0)
        return CrawlRecord(open_job(about), int(begun) / 1000 or None, int(heard) / 1000 or None, by.decode())

    async def size(self) -> QueueSize:
        async def one(shard: int) -> QueueSize:
            return QueueSize(*map(int, await self._shards.run(SIZE, shard, self._dead_ttl)))

        return sum(await self._shards.everywhere(one), QueueSize())

    async def drop_oldest(self, most: int) -> None:
        """Of more dead letters than ``options.max_dead``, on all shards together, the oldest go, *most* at
        most: as many as the caller wrote, so that two who write at once don't drop the same ones twice.
        (What one shard has too many it drops by itself.)
        """
        over = min(most, (await self.size()).dead - self.options.max_dead)
        if over > 0:
            await self.purge_where(EVERY_LETTER, over)

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
                entries.append(Entry(open_tag(open_item(flat[i + 2])[2])[1], slot, priority, None, not normal))
        return entries

    async def forget(self, fingerprints: Sequence[bytes]) -> Sequence[bool]:
        numbers = [str(fingerprint_number(fp)) for fp in fingerprints]
        known = [False] * len(numbers)
        for at in range(0, len(numbers), PART):
            some = numbers[at : at + PART]

            async def one(shard: int, some: Sequence[str] = some) -> list[Any]:
                return list(await self._shards.run(FORGET, shard, *some))

            for answer in await self._shards.everywhere(one):
                for i, flag in enumerate(answer):
                    known[at + i] |= bool(int(flag))
        return known
