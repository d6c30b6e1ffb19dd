"""Wake-ups of idle workers: one pub/sub channel a crawl, one connection a process.

A message names the workers that are meant, one a line, or ``*``. It may be lost (a reconnect, a
fail-over): idle workers look for themselves now and then. So this never fails: without a connection
it only sleeps.
"""

from __future__ import annotations

import asyncio

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.backends.redis.connection.client import RedisClient


class Wakeups:
    """Turns the messages of *channel* into events, one for each worker of this process."""

    def __init__(self, client: RedisClient, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._events: dict[str, asyncio.Event] = {}
        self._stop: asyncio.Task[None] | None = None

    async def listen(self, worker: str) -> None:
        """From now on remember wake-ups of *worker*."""
        self._events.setdefault(worker, asyncio.Event())
        if self._stop is None:
            self._stop = asyncio.create_task(self._read(), name=f"mocra wake-ups {self._channel}")

    async def _read(self) -> None:
        subscriber = await self._client.subscribe(self._channel)
        try:
            async for message in subscriber:
                names = message.decode("utf-8", "replace").split("\n")
                for worker, event in self._events.items():
                    if worker in names or "*" in names:
                        event.set()
        finally:
            await subscriber.close()

    async def wait(self, worker: str, timeout: float) -> bool:
        """``True`` as soon as *worker* was named since the last ``True``, ``False`` after *timeout*
        seconds.
        """
        await self.listen(worker)
        event = self._events[worker]
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        event.clear()
        return True

    async def forget(self, worker: str) -> None:
        """*worker* left."""
        self._events.pop(worker, None)
        if not self._events:
            await self.close()

    async def close(self) -> None:
        """Stop reading. May be called twice."""
        task, self._stop = self._stop, None
        if task is not None:
            await end_tasks([task])
