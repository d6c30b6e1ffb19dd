"""Deleting a crawl, a bounded number of keys a step, so that nobody joins what is half deleted."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import WorkerInfo

if TYPE_CHECKING:
    from mocra_scrapy.backends.redis.exchange_division import DividedExchanges
    from mocra_scrapy.backends.redis.shards import Shards

BEGIN, STEP = load_script("reset_begin"), load_script("reset_step")

#: Seconds after which a deletion that made no step was given up: whoever joins goes on with it.
PATIENCE = 10.0


class RedisReset:
    """The part of :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` that deletes.

    The record goes first, and in its place stands who deletes the crawl and when it last did. Then
    the keys go, in any order, then what is in a log; at the end the mark.
    """

    crawl: str
    empty_log: Callable[[], Awaitable[None]] | None = None
    _shards: Shards
    _divided: DividedExchanges

    async def reset(self, by: str, force: bool = False) -> Sequence[WorkerInfo]:
        answer = await self._shards.run(BEGIN, 0, by, str(int(force)), str(int(PATIENCE * 1000)))
        if answer[0] == b"busy":
            raise BackendUnavailable(
                f"Crawl {self.crawl!r} is being deleted by {answer[1].decode()}; wait until that is done"
            )
        if answer[0] == b"alive":
            pairs = zip(answer[1::2], answer[2::2], strict=True)
            return [WorkerInfo(name.decode(), int(left) / 1000, 0) for name, left in pairs]
        async for _ in self._shards.delete_some():
            await self._step(by)
        if self.empty_log is not None:
            await self.empty_log()
        await self._step(by, is_over=True)
        self._shards.forget()
        self._divided.clear()
        return []

    async def _step(self, by: str, *, is_over: bool = False) -> None:
        if not int(await self._shards.run(STEP, 0, by, str(int(is_over)))):
            raise BackendUnavailable(f"Somebody else deletes crawl {self.crawl!r} now; wait until that is done")

    async def wait_for_reset(self, worker: str, since: float) -> None:
        """Somebody deletes the crawl that *worker* wants to join, and did for the last time *since*
        seconds ago. Wait a moment; or, when it seems to have died of it, finish that.
        """
        if since < PATIENCE:
            await asyncio.sleep(0.1)
            return
        try:
            await self.reset(worker, force=True)
        except BackendUnavailable:
            await asyncio.sleep(0.1)  # another one was first, or the server is away, which the next call tells

    async def clear(self) -> None:
        await self.reset(f"clear-{secrets.token_hex(8)}", force=True)
