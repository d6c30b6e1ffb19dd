"""The compression dictionaries of a crawl on Redis: one hash beside the crawl's record, on shard 0."""

from __future__ import annotations

from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.shards import Shards
from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.models import StoredDictionaries

ALL, ADD = load_script("dictionaries_all"), load_script("dictionaries_add")


def _write(identity: int | None) -> str:
    return "" if identity is None else f"{identity:04x}"


def _read(raw: bytes) -> int | None:
    try:
        return int(raw, 16) if raw else None
    except ValueError as error:
        raise BackendCorrupted(f"{raw[:20]!r} is not the identity of a dictionary") from error


class RedisDictionaries:
    """See :class:`~mocra_scrapy.interfaces.IDictionaries`; part of
    :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue`.
    """

    _shards: Shards

    async def dictionaries(self) -> StoredDictionaries:
        current, *flat = await self._shards.run(ALL, 0)
        contents = {int(flat[i], 16): flat[i + 1] for i in range(0, len(flat), 2) if _read(flat[i]) is not None}
        return StoredDictionaries(_read(current), contents)

    async def add_dictionary(self, identity: int, content: bytes, *, instead_of: int | None) -> int | None:
        return _read(
            await self._shards.run(ADD, 0, _write(identity), content, _write(instead_of)),
        )
