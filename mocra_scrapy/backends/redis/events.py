"""``RedisEventStream``: a stream of Redis, which any client of it can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.errors import translated
from mocra_scrapy.interfaces import IEventStream


@implementer(IEventStream)
class RedisEventStream:
    """See :class:`~mocra_scrapy.interfaces.IEventStream`. A position is the id that Redis gave."""

    def __init__(self, client: RedisClient, prefix: str, name: str, keep: int) -> None:
        self._client = client
        self._prefix = prefix
        self._name = name
        self._keep = keep

    async def append(self, entries: Sequence[Mapping[str, bytes]]) -> None:
        if not entries:
            return
        with translated(self._client.target.redacted, self._prefix):
            pipeline = self._client.raw.pipeline(transaction=False)
            for entry in entries:
                # Whole nodes of the stream are cut off: exact trimming costs as much as the entry.
                pipeline.xadd(self._name, dict(entry), maxlen=self._keep, approximate=True)
            await pipeline.execute()

    async def read(self, after: str = "", most: int = 100) -> Sequence[tuple[str, Mapping[str, bytes]]]:
        with translated(self._client.target.redacted, self._prefix):
            found = await self._client.raw.xrange(self._name, min=f"({after}" if after else "-", count=most)
        return [(at.decode(), {key.decode(): value for key, value in entry.items()}) for at, entry in found]
