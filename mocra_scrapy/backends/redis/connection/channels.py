"""What others announce: the channels of coordination, all on one connection of the process.

Messages may be lost (a reconnect, a fail-over), so whoever listens hears ``"*"`` at the beginning
and after each reconnection, and looks for itself. A connection on which nothing arrives is probed,
so that one that was cut silently is noticed within half a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from typing import Any

from redis.exceptions import RedisError

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.backends.redis.connection.client import RedisClient, close_client, make_listener

EVERYTHING = "*"
#: The last two: redis-py's "not connected", and what asyncio and uvloop raise when something is
#: written to a lost connection.
FAILURES = (RedisError, OSError, asyncio.TimeoutError, RuntimeError, AttributeError)
PROBE = 10.0  # s of silence after which the connection is probed, and again until it counts as dead


class Channels:
    """The channels that somebody in this process listens to. Made without I/O; connected while
    there is a listener.
    """

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._listeners: dict[str, list[asyncio.Queue[str]]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._pubsub: Any = None

    async def listen(self, channel: str) -> AsyncIterator[str]:
        """Messages of *channel*, for ever; ``"*"`` when some may have been missed, and when
        listening begins.
        """
        mine: asyncio.Queue[str] = asyncio.Queue()
        self._listeners.setdefault(channel, []).append(mine)
        try:
            if self._reader is None or self._reader.done():
                self._reader = asyncio.create_task(self._read(), name="mocra channels")
            elif len(self._listeners[channel]) > 1:
                mine.put_nowait(EVERYTHING)  # subscribed already
            elif self._pubsub is not None:
                await self._quietly(self._pubsub.subscribe(channel))
            while True:
                message = await mine.get()
                yield message
        finally:
            self._listeners[channel].remove(mine)
            if not self._listeners[channel]:
                del self._listeners[channel]
                if self._pubsub is not None and self._listeners:
                    await self._quietly(self._pubsub.unsubscribe(channel))
            if not self._listeners:
                await self.close()

    async def _quietly(self, call: Any) -> None:
        """A connection that is gone is the reader's to mend: it subscribes to everything anew."""
        with contextlib.suppress(*FAILURES):
            await call

    async def _read(self) -> None:
        pause = 0.05
        while True:
            client, pubsub = None, None
            try:
                client = make_listener(self._client.target)
                pubsub = client.pubsub()
                wanted = set(self._listeners)
                await pubsub.subscribe(*wanted)
                self._pubsub = pubsub  # from here on those who come subscribe themselves
                if came := set(self._listeners) - wanted:
                    await pubsub.subscribe(*came)
                pause = 0.05
                await self._pass_on(pubsub)
            except FAILURES:
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
                pause = min(2 * pause, 2.0)
            finally:
                self._pubsub = None
                if pubsub is not None:
                    await self._quietly(pubsub.aclose())
                if client is not None:
                    await close_client(client)

    async def _pass_on(self, pubsub: Any) -> None:
        probed = False
        while True:
            message = await pubsub.get_message(timeout=PROBE)
            if message is None:
                if probed:
                    raise asyncio.TimeoutError
                probed = True
                await pubsub.ping()
                continue
            probed = False
            if message["type"] == "subscribe":
                self._tell(_text(message["channel"]), EVERYTHING)
            elif message["type"] == "message":
                self._tell(_text(message["channel"]), _text(message["data"]))

    def _tell(self, channel: str, message: str) -> None:
        for queue in self._listeners.get(channel, ()):
            queue.put_nowait(message)

    async def close(self) -> None:
        """Disconnect. May be called twice."""
        task, self._reader = self._reader, None
        if task is not None and task is not asyncio.current_task():
            await end_tasks([task])


def _text(raw: bytes | str) -> str:
    return raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else raw
