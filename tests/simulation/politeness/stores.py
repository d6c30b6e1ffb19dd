"""What the processes of a simulation share: the memory backend, or the scripts on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

import redis

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.backends.redis.backend import RedisBackend
from mocra_scrapy.backends.redis.connection.channels import EVERYTHING
from mocra_scrapy.backends.redis.connection.errors import translated
from mocra_scrapy.backends.redis.connection.scripts import Script

CRAWL, PREFIX = "sim", "mocra"

#: In front of each script: its clock is the simulation's, and what it publishes is read when the call has been answered.
VIRTUAL = """
local redis = (function()
    local real = redis

    local function virtual(how)
        return function(verb, ...)
            if verb == 'TIME' then
                local us = real.call('GET', 'virtual:us')
                return {string.sub(us, 1, -7), string.sub(us, -6)}
            end
            if verb == 'PUBLISH' then return real.call('RPUSH', 'virtual:published', ...) end
            return how(verb, ...)
        end
    end

    return setmetatable({call = virtual(real.call), pcall = virtual(real.pcall)}, {__index = real})
end)()
"""


class Store(Protocol):
    """Attributes:
    backend: makes the tools.
    """

    backend: Any

    def pending(self, slot: str) -> int:
        """What can be leased of *slot*, or waits for its time there."""

    def close(self) -> None: ...


class MemoryStore:
    def __init__(self, draw: Any) -> None:
        self.backend = MemoryBackend()
        self._crawl = self.backend._store.crawl(CRAWL)
        self._crawl.throttle.random = draw  # a seed is always the same story

    def pending(self, slot: str) -> int:
        return self._crawl.slots.pending_in(slot)

    def close(self) -> None:
        """It goes with the simulation."""


class RedisStore:
    """Only this simulation uses *url*: everything there is deleted first. *now*: the server's clock, in seconds.

    A call takes no virtual time on the server, and nothing happens meanwhile; its way there and back is the
    simulation's. Keys whose time to live is the server's to count outlast it: a simulation takes a second.
    """

    def __init__(self, url: str, now: Callable[[], float]) -> None:
        self._client = _Client(redis.Redis.from_url(url), now)
        self._client.raw.flushdb()
        self.backend: Any = RedisBackend(url, prefix=PREFIX, options={}, redacted=url)
        self.backend._client = self._client
        self.backend._channels = self._client.channels

    def pending(self, slot: str) -> int:
        head = f"{PREFIX}:{{{CRAWL}:0}}:q:"
        asking = self._client.raw.pipeline(transaction=False)
        for name in self._client.raw.keys(f"{head}*"):
            if name.decode()[len(head) :].partition(":")[2].partition("\31")[0] == slot:
                asking.llen(name)
        return sum(asking.execute())

    def close(self) -> None:
        self._client.raw.close()


class _Client:
    """Stands for ``RedisClient``: each call is one step of the simulation."""

    prefix = PREFIX

    def __init__(self, raw: redis.Redis, now: Callable[[], float]) -> None:
        self.raw: Any = raw
        self._now = now
        self.channels = _Channels()

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[Any]) -> Any:
        virtual = Script(script.name, VIRTUAL + script.text)
        with translated("the simulation's server", PREFIX):
            step = self.raw.pipeline(transaction=False)
            step.set("virtual:us", round(self._now() * 1e6))
            step.evalsha(virtual.sha, len(keys), *keys, *args)
            step.lpop("virtual:published", 1000)
            _, answer, published = step.execute(raise_on_error=False)
            if isinstance(answer, redis.exceptions.NoScriptError):
                self.raw.script_load(virtual.text)
                return await self.run(script, keys, args)
            if isinstance(answer, Exception):
                raise answer
        told = iter(published or ())
        for channel, message in zip(told, told, strict=True):
            self.channels.tell(channel.decode(), message.decode())
        return answer

    async def subscribe(self, channel: str) -> _Subscriber:
        return _Subscriber(self.channels, channel)

    async def key_names(self, pattern: str) -> list[bytes]:
        return list(self.raw.scan_iter(match=pattern, count=10_000))

    async def delete(self, names: Sequence[bytes]) -> None:
        if names:
            self.raw.unlink(*names)


class _Channels:
    """Stands for ``Channels``. No message is lost."""

    def __init__(self) -> None:
        self._listeners: dict[str, list[asyncio.Queue[str]]] = {}

    def tell(self, channel: str, message: str) -> None:
        for listener in self._listeners.get(channel, ()):
            listener.put_nowait(message)

    async def listen(self, channel: str) -> AsyncIterator[str]:
        mine: asyncio.Queue[str] = asyncio.Queue()
        mine.put_nowait(EVERYTHING)
        self._listeners.setdefault(channel, []).append(mine)
        try:
            while True:
                yield await mine.get()
        finally:
            self._listeners[channel].remove(mine)


class _Subscriber:
    def __init__(self, channels: _Channels, channel: str) -> None:
        self._channels, self._channel = channels, channel

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for message in self._channels.listen(self._channel):
            yield message.encode()

    async def close(self) -> None:
        """Nothing is open."""
