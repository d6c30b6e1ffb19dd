"""Dead letters on Redis: the verbs of :class:`~mocra_scrapy.interfaces.IDeadLetters`, see
``lua/letters_*.lua``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgpack

from mocra_scrapy.backends.redis.connection.scripts import Script, load_script
from mocra_scrapy.backends.redis.exchange_wire import _text
from mocra_scrapy.backends.redis.shards import REOPEN_CRAWL, Shards
from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.models import EVERY_LETTER, DeadLetter, LetterFilter, QueueOptions
from mocra_scrapy.models.dead_letters import first_failure
from mocra_scrapy.models.entries import BETWEEN

PAGE, IDS, COUNT, FIND, PURGE, REPLAY = (
    load_script(f"letters_{verb}") for verb in ("page", "ids", "count", "find", "purge", "replay")
)
RESPONSE, RESPONSE_SIZES = load_script("letters_response"), load_script("letters_response_sizes")
OF_KIND, DROP = load_script("responses_of_kind"), load_script("responses_drop")

#: Letters of one call, so that a script stays short: found by name, and looked at in search.
PART, LOOK = 200, 200


def open_letter(identity: str, raw: bytes) -> DeadLetter:
    """A dead letter as it is stored; those of version 0.1 lack the last part."""
    try:
        key, rank, count, first, body, reason, detail, worker, died, *rest = msgpack.unpackb(raw, raw=True)
        done, url, fingerprint, _, retries, failed = rest[0] if rest else (0, b"", b"", b"", 0, -1)
        tail = identity.rpartition("-")[2]
        delivery = f"{rest[1].decode()}-{tail}" if len(rest) > 1 else identity
        slot, *scopes = _text(key).split(BETWEEN)
        priority, normal = divmod(int(rank), 2)
        died_at, lost_at = died / 1000, None if first < 0 else first / 1000
        return DeadLetter(
            identity,
            _text(reason),
            _text(detail),
            body,
            slot,
            priority,
            not normal,
            int(count),
            _text(worker),
            died_at,
            lost_at,
            tuple(scopes),
            bool(done),
            _text(url),
            fingerprint or None,
            int(retries),
            first_failure(died_at, lost_at, None if failed < 0 else failed / 1000),
            delivery,
        )
    except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
        raise BackendCorrupted(f"dead letter {identity!r} can't be read: {error}") from error


def pack_filter(where: LetterFilter) -> bytes:
    """The filter as ``lua/lib/letter_search.lua`` reads it. A letter's time is stored in whole milliseconds."""
    packed: bytes = msgpack.packb(
        {
            "reason": False if where.reason is None else where.reason,
            "slot": False if where.slot is None else where.slot,
            "since": -1 if where.since is None else max(0, round(where.since * 1000)),
            "before": -1 if where.until is None else max(0, round(where.until * 1000)),
            "done": -1 if where.done is None else int(where.done),
        },
        use_bin_type=False,
        unicode_errors="surrogateescape",
    )
    return packed


class RedisDeadLetters:
    """The part of :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` that deals with
    dead letters.

    The id of a letter is its id on its shard, and the shard.
    """

    options: QueueOptions
    _shards: Shards

    @property
    def _dead_ttl(self) -> str:
        return str(int((self.options.dead_ttl or 0) * 1000))

    async def _search(
        self, shard: int, script: Script, where: LetterFilter, after: str = "", limit: int = 2**31
    ) -> AsyncIterator[list[Any]]:
        """What each step of a search through one shard's letters found, until there are no more or
        *limit* are asked for.
        """
        found = 0
        while found < limit:
            want = str(limit - found)
            at, *flat = await self._shards.run(
                script, shard, self._dead_ttl, pack_filter(where), after, want, str(LOOK)
            )
            found += 0 if script is COUNT else len(flat) // (1 if script is IDS else 2)
            yield flat
            if not at:
                return
            after = at.decode()

    async def dead(
        self, limit: int = 100, *, after: str | None = None, where: LetterFilter | None = None
    ) -> Sequence[DeadLetter]:
        start = "" if after is None else after.rpartition("-")[0]

        async def one(shard: int) -> list[DeadLetter]:
            letters = []
            async for flat in self._search(shard, PAGE, where or EVERY_LETTER, start, limit):
                pairs = zip(flat[::2], flat[1::2], strict=True)
                letters += [open_letter(f"{name.decode()}-{shard}", raw) for name, raw in pairs]
            return letters

        if limit <= 0:
            return []
        letters = sorted((x for page in await self._shards.everywhere(one) for x in page), key=lambda x: x.id)
        return [letter for letter in letters if after is None or letter.id > after][:limit]

    async def count_dead(self, where: LetterFilter | None = None) -> Mapping[str, int]:
        async def one(shard: int) -> Counter[str]:
            counts: Counter[str] = Counter()
            async for flat in self._search(shard, COUNT, where or EVERY_LETTER):
                for name, number in zip(flat[::2], flat[1::2], strict=True):
                    counts[_text(name)] += int(number)
            return counts

        return sum(await self._shards.everywhere(one), Counter())

    async def find_dead(self, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        found = await self._by_shard(ids, FIND)
        return [open_letter(one, raw) if raw else None for one, raw in zip(ids, found, strict=True)]

    async def find_response(self, identity: str) -> bytes | None:
        name, _, shard = identity.rpartition("-")
        if not shard.isdecimal() or int(shard) >= await self._shards.known():
            return None
        found: bytes | None = await self._shards.run(RESPONSE, int(shard), self._dead_ttl, name)
        return found

    async def response_sizes(self, ids: Sequence[str]) -> Sequence[int]:
        return [int(size or 0) for size in await self._by_shard(ids, RESPONSE_SIZES)]

    async def drop_responses(self, kind: str) -> None:
        """What is too much of *kind* over all shards: each keeps as many as all may. The first ones stay,
        whoever else does the same meanwhile.
        """

        async def one(shard: int) -> list[tuple[str, int]]:
            return [(name.decode(), shard) for name in await self._shards.run(OF_KIND, shard, kind)]

        kept = sorted(found for ids in await self._shards.everywhere(one) for found in ids)
        for name, shard in kept[self.options.dead_bodies :]:
            await self._shards.run(DROP, shard, name)

    async def replay(self, ids: Sequence[str], *, forget: bool = False) -> Sequence[bool]:
        lifo, channel = str(int(self.options.lifo)), self._shards.channel
        found = [bool(int(flag or 0)) for flag in await self._by_shard(ids, REPLAY, lifo, channel, str(int(forget)))]
        if any(found):
            await self._shards.run(REOPEN_CRAWL, 0)
        return found

    async def purge(self, ids: Sequence[str]) -> Sequence[bool]:
        return [bool(int(flag or 0)) for flag in await self._by_shard(ids, PURGE)]

    async def purge_where(self, where: LetterFilter, limit: int = 1000) -> int:
        async def one(shard: int) -> list[str]:
            names = []
            async for flat in self._search(shard, IDS, where, limit=limit):
                names += [f"{name.decode()}-{shard}" for name in flat]
            return names

        oldest = sorted(name for names in await self._shards.everywhere(one) for name in names)[: max(0, limit)]
        return sum(await self.purge(oldest))

    async def _by_shard(self, ids: Sequence[str], script: Script, *head: str) -> list[Any]:
        """Run *script* where each letter is: what it answered for each, ``None`` for ids that
        are none.
        """
        shards = await self._shards.known()
        found: list[Any] = [None] * len(ids)
        groups: dict[int, list[int]] = {}
        for i, identity in enumerate(ids):
            tail = identity.rpartition("-")[2]
            if tail.isdecimal() and int(tail) < shards:
                groups.setdefault(int(tail), []).append(i)
        for shard, positions in groups.items():
            for at in range(0, len(positions), PART):
                some = positions[at : at + PART]
                names = [ids[i].rpartition("-")[0] for i in some]
                answers = await self._shards.run(script, shard, self._dead_ttl, *head, *names)
                for i, answer in zip(some, answers, strict=True):
                    found[i] = answer
        return found
