"""``Pieces``: values that are too large for one call, in keys of their own.

A piece is written and read by a command of its own, so that the server serves others in between. The value
is there when the script that names its pieces has run; pieces that nobody names are gone after a minute.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.errors import translated

#: Bytes of a piece, and pieces that one command brings.
PIECE, TOGETHER = 262_144, 8
#: Milliseconds that a piece lasts which nothing names yet.
UNNAMED = 60_000


class Pieces:
    """The large values of one namespace."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client, self._prefix = client, prefix

    def _keys(self, head: str, cut: str) -> list[str]:
        identity, count, _ = cut.split(":")
        return [f"{head}piece:{identity}:{n}" for n in range(int(count))]

    async def write(self, head: str, value: bytes) -> str:
        """Store *value* beside the keys that begin with *head*; what it was cut into, for the scripts."""
        view = memoryview(value)
        cut = f"{secrets.token_hex(8)}:{-(-len(value) // PIECE)}:{len(value)}"
        with translated(self._client.target.redacted, self._prefix):
            for n, key in enumerate(self._keys(head, cut)):
                await self._client.raw.set(key, view[n * PIECE : (n + 1) * PIECE], px=UNNAMED)
        return cut

    async def read(self, head: str, cut: str) -> bytes | None:
        """The value; ``None``: it was replaced or deleted meanwhile."""
        keys, parts = self._keys(head, cut), []
        with translated(self._client.target.redacted, self._prefix):
            for at in range(0, len(keys), TOGETHER):
                some: Sequence[bytes | None] = await self._client.raw.mget(keys[at : at + TOGETHER])
                parts += [part for part in some if part is not None]
        return b"".join(parts) if len(parts) == len(keys) else None

    async def delete(self, head: str, cut: str) -> None:
        """It was not stored after all."""
        with translated(self._client.target.redacted, self._prefix):
            await self._client.raw.unlink(*self._keys(head, cut))
