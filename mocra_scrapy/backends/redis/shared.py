"""``RedisShared``: a namespace of values is one hash, its changes are announced on one channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.channels import Channels
from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.shards import quote_name
from mocra_scrapy.interfaces import IShared
from mocra_scrapy.models import SharedValue
from mocra_scrapy.models.coordination import MOST_ENDING

GET, PUT, EVERYTHING, VERSIONS = (load_script(f"shared_{verb}") for verb in ("get", "put", "everything", "versions"))


def _value(version: Any, fence: Any, value: bytes | None) -> SharedValue:
    return SharedValue(value, int(version), int(fence))


@implementer(IShared)
class RedisShared:
    """See :class:`~mocra_scrapy.interfaces.IShared`. ``put`` is sent once: after BackendUnavailable
    its outcome is unknown.
    """

    def __init__(self, client: RedisClient, prefix: str, namespace: str, channels: Channels) -> None:
        self._client = client
        self._keys = [f"{prefix}:{{+shared:{quote_name(namespace)}}}:values"]
        self._channel = f"{prefix}:+shared:{quote_name(namespace)}"
        self._channels = channels

    async def get(self, name: str) -> SharedValue:
        return _value(*await self._client.run(GET, self._keys, [name]))

    async def everything(self, prefix: str = "") -> Mapping[str, SharedValue]:
        flat = await self._client.run(EVERYTHING, self._keys, [prefix])
        return {
            flat[i].decode("utf-8", "surrogateescape"): _value(*flat[i + 1 : i + 4]) for i in range(0, len(flat), 4)
        }

    async def versions(self, prefix: str = "") -> Mapping[str, int]:
        flat = await self._client.run(VERSIONS, self._keys, [prefix])
        return {flat[i].decode("utf-8", "surrogateescape"): int(flat[i + 1]) for i in range(0, len(flat), 2)}

    async def put(
        self,
        name: str,
        value: bytes | None,
        *,
        version: int | None = None,
        fence: int | None = None,
        lasts: float | None = None,
    ) -> SharedValue | None:
        given = [b"" if value is None else value, "0" if value is None else "1"]
        conditions = ["" if one is None else str(one) for one in (version, fence)]
        ends = [] if lasts is None else [str(max(1, round(lasts * 1000))), str(MOST_ENDING)]
        got = await self._client.run(PUT, self._keys, [name, *given, *conditions, self._channel, *ends])
        return _value(*got) if got else None

    async def watch(self) -> AsyncIterator[str]:
        async with aclosing(self._channels.listen(self._channel)) as messages:  # type: ignore[type-var]
            async for message in messages:
                yield message

    async def close(self) -> None:
        """Watchers end with the tasks that iterate over them."""
