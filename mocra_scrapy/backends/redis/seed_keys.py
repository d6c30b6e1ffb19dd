"""Keys of a Redis that other programs fill with seeds: a list, set or sorted set that workers take
from, and a stream that one of them reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import Script, load_script
from mocra_scrapy.exceptions import ConfigurationError

TAKE, STORED, LEAVE, STREAM = (load_script(f"seeds_{verb}") for verb in ("take", "stored", "leave", "stream"))
#: Types of keys that workers can take from.
PILES = ("list", "set", "zset")
#: Bytes of one answer, but for a single seed that is larger.
MOST_BYTES = 2**20
#: Numbers of one call: Lua can pass about 8,000 arguments to a command.
PART = 4000


class _Key:
    """What both have in common: the key, and ours beside it, on the same node of a cluster."""

    def __init__(self, client: RedisClient, key: str) -> None:
        self._client, self.key = client, key
        self._own = f"{key}:mocra" if "{" in key else f"{{{key}}}:mocra"

    async def _run(self, script: Script, *args: Any) -> Any:
        try:
            return await self._client.run(script, [self._own, self.key], args)
        except ConfigurationError as error:
            rights = f"Grant the user: ~{self.key} ~{self._own}:* +@all -@dangerous"
            fix = rights if "access rights" in error.problem else error.fix
            raise ConfigurationError("MOCRA_SEEDS", error.problem, fix) from error

    def _wrong(self, kind: bytes, wanted: str, fix: str) -> ConfigurationError:
        return ConfigurationError(
            "MOCRA_SEEDS", f"key {self.key!r} on {self._client.target.redacted} is a {kind.decode()}, not {wanted}", fix
        )


class RedisSeedPile(_Key):
    """A list (from its head), a set or a sorted set (the highest score first) that workers take from.

    What a worker took is its own until it says that it is stored; that of one that says nothing for
    *lease* seconds goes to whoever takes next.

    Args:
        worker: unique for this run of this process.
    """

    def __init__(self, client: RedisClient, key: str, worker: str, lease: float) -> None:
        super().__init__(client, key)
        self._worker, self._lease = worker, round(lease * 1000)
        self._next = 0
        self._has: set[int] = set()

    async def take(self, want: int) -> tuple[list[tuple[int, bytes]], bool]:
        """Up to *want* seeds, each with its number, and whether others have some that they have not
        stored yet.

        Raises:
            ConfigurationError: the key is of another type.
            BackendUnavailable: nobody answered; ask again.
        """
        kind, others, flat = await self._run(
            TAKE, self._worker, self._lease, want, MOST_BYTES, self._next, len(self._has)
        )
        got = [(int(number), seed) for number, seed in zip(flat[::2], flat[1::2], strict=True)]
        if not got and kind.decode() not in (*PILES, "none"):
            fix = f'Write "stream:{self.key}"' if kind == b"stream" else "Choose another key, or delete this one"
            raise self._wrong(kind, "a list, set or sorted set", fix)
        for number, _ in got:
            self._has.add(number)
            self._next = max(self._next, number + 1)
        return got, bool(int(others))

    async def live(self) -> None:
        """Say that this worker lives."""
        await self._run(TAKE, self._worker, self._lease, 0, 0, self._next, len(self._has))

    async def stored(self, numbers: Sequence[int]) -> int:
        """These are stored in the crawl; how many of them were still this worker's."""
        kept = 0
        for at in range(0, len(numbers), PART):
            kept += int(await self._run(STORED, self._worker, *numbers[at : at + PART]))
        self._has.difference_update(numbers)
        return kept

    async def leave(self) -> int:
        """Take no more; how many go to others, because they are not stored."""
        return int(await self._run(LEAVE, self._worker))


class RedisSeedStream(_Key):
    """A stream that is read from one position on. Nothing of it is changed."""

    async def read(self, after: str, want: int) -> list[tuple[str, dict[bytes, bytes]]]:
        """Up to *want* entries behind the one with the id *after*.

        Raises:
            ConfigurationError: the key is of another type.
            BackendUnavailable: nobody answered; ask again.
        """
        kind, flat = await self._run(STREAM, after, want, MOST_BYTES)
        if kind not in (b"stream", b"none"):
            fix = f'Write "redis:{self.key}"' if kind.decode() in PILES else "Choose another key, or delete this one"
            raise self._wrong(kind, "a stream", fix)
        return [
            (identity.decode(), dict(zip(fields[::2], fields[1::2], strict=True)))
            for identity, fields in zip(flat[::2], flat[1::2], strict=True)
        ]
