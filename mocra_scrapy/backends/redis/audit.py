"""What is counted of a crawl against what is there.

The names of lists and workers are found by SCAN, and looked at a bounded number a call. Counts can
be compared only where nobody worked meanwhile, which two equal looks tell.
"""

from __future__ import annotations

from collections.abc import Sequence

from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.dead_letters import RedisDeadLetters
from mocra_scrapy.models import Audit

AUDIT = load_script("audit")

#: Lists or workers that one call looks at.
PART = 100
#: Looks at a shard on which somebody works.
TRIES = 3


class RedisAudit(RedisDeadLetters):
    """The part of :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` that checks."""

    async def audit(self, fix: bool = False) -> Audit:
        async def one(shard: int) -> Audit:
            found = await self._audit(shard, fix)
            for _ in range(TRIES - 1):
                if found.settled:
                    break
                found = await self._audit(shard, fix)
            return found

        return sum(await self._shards.everywhere(one), Audit())

    async def _audit(self, shard: int, fix: bool) -> Audit:
        flag, run = str(int(fix)), self._shards.run
        seq, pending, leased, _, _ = await run(AUDIT, shard, flag, "counts", "-1", "-1", "0", "0", "0")
        listed, lists = await self._sum(shard, flag, "lists", "q:")
        held, workers = await self._sum(shard, flag, "workers", "w:")
        names, cursor = 0, b"0"
        while True:
            cursor, empty = await run(AUDIT, shard, flag, "ready", cursor)
            names += int(empty)
            if cursor == b"0":
                break
        counts = [str(n) for n in (listed, held, seq, pending, leased)]
        seq_now, pending_now, leased_now, suspects, repaired = await run(AUDIT, shard, flag, "counts", *counts)
        settled = (seq, pending, leased) == (seq_now, pending_now, leased_now)
        return Audit(
            int(pending), int(leased), listed + int(suspects), held, lists, workers, names, settled, bool(repaired)
        )

    async def _sum(self, shard: int, flag: str, what: str, head: str) -> tuple[int, int]:
        names = await self._shards.names(shard, head)
        total = [0, 0]
        for at in range(0, len(names), PART):
            some: Sequence[bytes] = names[at : at + PART]
            entries, lost = await self._shards.run(AUDIT, shard, flag, what, *some)
            total[0] += int(entries)
            total[1] += int(lost)
        return total[0], total[1]
