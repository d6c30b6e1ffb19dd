"""What is counted of a crawl against what is there.

The names of lists and workers are found by SCAN, which passes over all keys of the server, once a
look for all shards, and looked at a bounded number a call. Counts can be compared only where nobody
worked meanwhile, which two equal looks tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.dead_letters import RedisDeadLetters
from mocra_scrapy.backends.redis.shards import gather_all
from mocra_scrapy.models import Audit

AUDIT = load_script("audit")

#: Lists or workers that one call looks at.
PART = 100
#: Looks at shards on which somebody works.
TRIES = 3
#: What the names of lists, of what waits behind gates, and of what workers hold begin with.
LISTS, GATES, WORKERS = "q:", "behind:", "w:"


class RedisAudit(RedisDeadLetters):
    """The part of :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` that checks."""

    async def audit(self, fix: bool = False) -> Audit:
        flag, found = str(int(fix)), {shard: Audit(settled=False) for shard in range(await self._shards.known())}
        for _ in range(TRIES):
            unsettled = [shard for shard, audit in found.items() if not audit.settled]
            if not unsettled:
                break
            # Before the names are read: what is stored after that changes the counts.
            before = await gather_all([self._counts(shard, flag) for shard in unsettled])
            names = await self._shards.names((LISTS, GATES, WORKERS))
            looks = [self._audit(*one, names, flag) for one in zip(unsettled, before, strict=True)]
            found.update(zip(unsettled, await gather_all(looks), strict=True))
        return sum(found.values(), Audit())

    async def _counts(self, shard: int, flag: str, *found: object) -> list[Any]:
        counts = map(str, found or (-1, -1, 0, 0, 0))
        return list(await self._shards.run(AUDIT, shard, flag, "counts", *counts))

    async def _audit(
        self, shard: int, before: Sequence[Any], names: Mapping[tuple[int, str], Sequence[bytes]], flag: str
    ) -> Audit:
        run, (seq, pending, leased, *_) = self._shards.run, before
        listed, lists = await self._sum(shard, flag, "lists", names.get((shard, LISTS), ()))
        _, gates = await self._sum(shard, flag, "gates", names.get((shard, GATES), ()))
        held, workers = await self._sum(shard, flag, "workers", names.get((shard, WORKERS), ()))
        said, cursor = 0, b"0"
        while True:
            cursor, empty = await run(AUDIT, shard, flag, "ready", cursor)
            said += int(empty)
            if cursor == b"0":
                break
        after = await self._counts(shard, flag, listed, held, *map(int, (seq, pending, leased)))
        seq_now, pending_now, leased_now, suspects, repaired = after
        settled = (seq, pending, leased) == (seq_now, pending_now, leased_now)
        return Audit(
            int(pending),
            int(leased),
            listed + int(suspects),
            held,
            lists + gates,
            workers,
            said,
            settled,
            bool(repaired),
        )

    async def _sum(self, shard: int, flag: str, what: str, names: Sequence[bytes]) -> tuple[int, int]:
        total = [0, 0]
        for at in range(0, len(names), PART):
            entries, lost = await self._shards.run(AUDIT, shard, flag, what, *names[at : at + PART])
            total[0] += int(entries)
            total[1] += int(lost)
        return total[0], total[1]
