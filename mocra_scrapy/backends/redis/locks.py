"""``RedisLocks``: a sorted set of owners by the end of their hold, a hash of their numbers, one
channel for all releases.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from zope.interface import implementer

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.backends.redis.connection.channels import EVERYTHING, Channels
from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.election import milliseconds
from mocra_scrapy.backends.redis.shards import quote_name
from mocra_scrapy.interfaces import ILocks
from mocra_scrapy.models import Grant

ACQUIRE, RENEW, RELEASE, HOLDERS = (load_script(f"lock_{verb}") for verb in ("acquire", "renew", "release", "holders"))


@implementer(ILocks)
class RedisLocks:
    """See :class:`~mocra_scrapy.interfaces.ILocks`. Every verb may be repeated: an owner's grant is
    its own.
    """

    def __init__(self, client: RedisClient, prefix: str, channels: Channels) -> None:
        self._client = client
        self._prefix = prefix
        self._channel = f"{prefix}:+lock:released"
        self._channels = channels
        self._events: dict[str, list[asyncio.Event]] = {}
        self._listener: asyncio.Task[None] | None = None

    def _key(self, name: str) -> list[str]:
        return [f"{self._prefix}:{{+lock:{quote_name(name)}}}:permits"]

    async def acquire(
        self, name: str, owner: str, ttl: float, *, limit: int = 1, patience: float = 0.0
    ) -> Grant | None:
        stands = milliseconds(patience) if patience else "0"
        got = await self._client.run(ACQUIRE, self._key(name), [owner, milliseconds(ttl), str(limit), stands])
        return Grant(name, owner, int(got[0]), int(got[1]) / 1000) if got else None

    async def renew(self, name: str, owner: str, number: int, ttl: float) -> bool:
        return bool(await self._client.run(RENEW, self._key(name), [owner, str(number), milliseconds(ttl)]))

    async def release(self, name: str, owner: str, number: int) -> bool:
        args = [owner, str(number), self._channel, quote_name(name)]
        return bool(await self._client.run(RELEASE, self._key(name), args))

    async def wait(self, name: str, timeout: float) -> bool:
        event, told = asyncio.Event(), quote_name(name)
        self._events.setdefault(told, []).append(event)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen(), name="mocra locks")
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(event.wait(), timeout)
        finally:
            self._events[told].remove(event)
            if not self._events[told]:
                del self._events[told]
        return event.is_set()

    async def _listen(self) -> None:
        async for message in self._channels.listen(self._channel):
            names = list(self._events) if message == EVERYTHING else [message]
            for name in names:
                for event in self._events.get(name, ()):
                    event.set()

    async def holders(self, name: str) -> Sequence[Grant]:
        flat = await self._client.run(HOLDERS, self._key(name), [])
        return [
            Grant(name, flat[i].decode("utf-8", "surrogateescape"), int(flat[i + 1]), int(flat[i + 2]) / 1000)
            for i in range(0, len(flat), 3)
        ]

    async def close(self) -> None:
        task, self._listener = self._listener, None
        if task is not None:
            await end_tasks([task])
