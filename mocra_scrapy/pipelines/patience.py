"""How long a batch waits for its sink: for ever while the worker crawls, a bounded time when it closes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import SinkUnavailable

#: Seconds between two looks whether the worker closes, while the sink keeps us waiting.
LOOK = 0.5


class Patience:
    """With one sink. Times are those of the running loop's clock.

    Attributes:
        away_since: when the sink stopped answering; ``None``: it answers.

    Args:
        name: of the sink.
        close: seconds that a worker which closes gives a sink that is away.
        closing: whether this worker closes its spider.
    """

    def __init__(self, name: str, close: float, closing: Callable[[], bool]) -> None:
        self._name, self._close, self._is_closing = name, close, closing
        self._closing_since: float | None = None
        self.away_since: float | None = None

    def closing(self, *, now: bool = False) -> bool:
        """Whether the worker closes; *now*: it does, from now on."""
        if self._closing_since is None and (now or self._is_closing()):
            self._closing_since = asyncio.get_running_loop().time()
        return self._closing_since is not None

    def over(self) -> bool:
        """Whether the worker closes and has waited long enough for a sink that is away."""
        return asyncio.get_running_loop().time() >= self._limit()

    def _limit(self, began: float | None = None) -> float:
        """The time runs from when both were so: a close may take long, and needs its sink until the
        end. *began*: of a write that has no answer yet.
        """
        if not self.closing() or self._closing_since is None:
            return float("inf")
        away = began if self.away_since is None else self.away_since
        return max(self._closing_since, away or 0.0) + self._close

    async def pause(self, seconds: float) -> None:
        """For *seconds*; a worker that closes tries again soon, as long as it tries at all."""
        loop = asyncio.get_running_loop()
        until, hurries = loop.time() + seconds, False
        while (left := min(until, self._limit()) - loop.time()) > 0:
            if self.closing() and not hurries:
                hurries, until = True, min(until, loop.time() + LOOK)
            else:
                await asyncio.sleep(min(left, LOOK))

    async def bounded(self, work: Coroutine[Any, Any, None], seconds: float, *, beyond: bool = False) -> None:
        """Await *work*, for *seconds* at most, and unless *beyond* not longer than a close waits.

        Raises:
            SinkUnavailable: it took too long, and was cancelled.
            Exception: what *work* raises.
        """
        loop = asyncio.get_running_loop()
        task, began = asyncio.ensure_future(work), loop.time()
        until = began + seconds
        try:
            while not task.done():
                left = (until if beyond else min(until, self._limit(began))) - loop.time()
                if left <= 0:
                    break
                await asyncio.wait({task}, timeout=min(left, LOOK))
            else:
                task.result()
                return
        finally:
            await end_tasks([task])
        why = " (MOCRA_BATCH_TIMEOUT)" if loop.time() >= until and not beyond else ""
        raise SinkUnavailable(f"{self._name} did not answer within {loop.time() - began:.1f} s{why}")
