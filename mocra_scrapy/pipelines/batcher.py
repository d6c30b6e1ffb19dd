"""``Batcher``: makes batches of what arrives and has them written, until each item is stored, refused,
or spilled.

::

    store() -> waiting --(full | waited long enough | closing)--> batch --> sink
                                                                   | not now      again, after a while;
                                                                   |              closing: spilled in the end
                                                                   | refused      halves, down to the item
                                                                   ' stored       store() returns

While one batch is written the next one fills: what has waited for a slow sink goes at once, and
together. Nothing here is dropped; ``store()`` returns when its item is safe, or raises.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, SinkUnavailable
from mocra_scrapy.models.backoff import backoff
from mocra_scrapy.pipelines.sink import Sink, StoredItem
from mocra_scrapy.settings.pipelines import BatchOptions

logger = logging.getLogger(__name__)

#: Seconds between two looks whether the worker closes, while the sink keeps us waiting.
LOOK = 0.5
#: Seconds beyond the deadline of a close in which a spill file is written.
LAST = 5.0


class Report(Protocol):
    """Who counts, and tells others."""

    def stored(self, items: int, size: int) -> None:
        """A batch was."""

    def refused(self, item: StoredItem, reason: str) -> None:
        """An item was, for good."""

    def retried(self) -> None:
        """A write failed and is repeated."""

    def away(self, error: Exception) -> None:
        """The sink does not answer, as of now."""

    def back(self, seconds: float) -> None:
        """It answers again, after so long."""

    def spilled(self, items: int) -> None:
        """So many went to the spill file."""


@dataclass(slots=True, eq=False)
class _Held:
    item: StoredItem
    done: asyncio.Future[None]
    since: float


class Batcher:
    """Of one sink.

    Args:
        closing: whether this worker closes its spider.
        spill: keeps items elsewhere, durably; raises if it can't. ``None``: there is no such place.
    """

    def __init__(
        self,
        sink: Sink,
        options: BatchOptions,
        report: Report,
        *,
        closing: Callable[[], bool],
        spill: Callable[[Sequence[StoredItem]], Awaitable[None]] | None,
    ) -> None:
        self._sink, self._options, self._report = sink, options, report
        self._is_closing, self._spill = closing, spill
        self._waiting: deque[_Held] = deque()
        self._size = 0
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._deadline: float | None = None  # of a close, by the loop's clock
        self._away_since: float | None = None
        self._given_up = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def store(self, item: StoredItem) -> None:
        """Returns when *item* is stored, or spilled.

        Raises:
            ItemRefused: it can't be.
            SinkUnavailable: the worker closes, the sink is away, and it could not be spilled.
        """
        loop = asyncio.get_running_loop()
        held = _Held(item, loop.create_future(), loop.time())
        self._waiting.append(held)
        self._size += item.size
        if self._size >= self._options.size or len(self._waiting) >= self._options.items:
            self._full.set()
        if self._task is None:
            # In a context of its own: it serves all pages, not the one that happens to come first.
            self._task = contextvars.Context().run(loop.create_task, self._run())
        await held.done

    async def close(self) -> None:
        """Write what is left, within the time for closing; spill the rest. Never raises."""
        self._closing(now=True)
        self._full.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._options.close + LAST)
        if self._task is not None:
            await end_tasks([self._task])
        self._fail(self._waiting, f"{self._sink.name}: the worker closed before it was written")
        self._waiting.clear()
        try:
            await self._bounded(self._sink.close(), self._options.close, beyond=True)
        except Exception as error:
            logger.warning("%s did not close properly: %s", self._sink.name, _text(error))

    # ------------------------------------------------------------------ batches

    async def _run(self) -> None:
        batch: list[_Held] = []
        try:
            while self._waiting:
                await self._company()
                batch = self._take()
                await self._write(batch)
        except Exception as error:  # none of the sink's, which are all looked at: ours
            logger.exception("Items could not be written to %s", self._sink.name)
            self._fail([*batch, *self._waiting], f"{self._sink.name}: {_text(error)}")
            self._waiting.clear()
            self._size = 0
        finally:
            self._task = None

    async def _company(self) -> None:
        """Wait until a batch is full, or its oldest item has waited long enough."""
        loop = asyncio.get_running_loop()
        until = self._waiting[0].since + self._options.wait
        while not self._full.is_set() and not self._closing():
            left = until - loop.time()
            if left <= 0:
                return
            with_company = asyncio.ensure_future(self._full.wait())
            try:
                await asyncio.wait({with_company}, timeout=min(left, LOOK))
            finally:
                await end_tasks([with_company])

    def _take(self) -> list[_Held]:
        """The next batch: one item at least, and no more than fit."""
        batch, size = [], 0
        while self._waiting and len(batch) < self._options.items:
            more = self._waiting[0].item.size
            if batch and size + more > self._options.size:
                break
            held = self._waiting.popleft()
            self._size -= more
            if not held.done.done():  # whoever waited for it may have been let go
                batch.append(held)
                size += more
        if self._size < self._options.size and len(self._waiting) < self._options.items and self._deadline is None:
            self._full.clear()
        return batch

    async def _write(self, batch: list[_Held]) -> None:
        """Until each item of *batch* has met its fate. What is refused is looked for by halving: an
        item among 500 is found with 18 writes, and all others are stored on the way.
        """
        parts = [batch]
        while parts:
            part = [held for held in parts.pop() if not held.done.done()]
            if not part:
                continue
            refusal = await self._insist(part)
            if refusal is None:
                continue
            if refusal.which:
                for at, reason in refusal.which.items():
                    self._refuse(part[at], reason)
                parts.append(part)
            elif len(part) == 1:
                self._refuse(part[0], refusal.reason)
            else:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]

    async def _insist(self, part: list[_Held]) -> ItemRefused | None:
        """Write *part* until the sink has taken or refused it, or it is spilled."""
        items, attempt, loop = [held.item for held in part], 0, asyncio.get_running_loop()
        while not self._given_up:
            try:
                await self._bounded(self._sink.write(items), self._options.timeout)
            except ItemRefused as error:
                self._came_back()
                return error
            except (SinkUnavailable, ConfigurationError, OSError, asyncio.TimeoutError) as error:
                attempt += 1
                self._went_away(error)
                self._report.retried()
                await self._pause(backoff(attempt, self._options.retry_base, self._options.retry_cap))
                self._given_up = self._closing() and loop.time() >= (self._deadline or 0.0)
            except Exception as error:
                logger.debug("%s refused a batch", self._sink.name, exc_info=True)
                return ItemRefused(f"{type(error).__name__}: {error}")
            else:
                self._came_back()
                self._report.stored(len(part), sum(item.size for item in items))
                _settle(part)
                return None
        await self._put_aside(part)
        return None

    async def _put_aside(self, part: list[_Held]) -> None:
        """The worker closes and the sink is away."""
        try:
            if self._spill is None:
                raise SinkUnavailable("MOCRA_SPILL_DIR is empty")  # noqa: TRY301
            await self._spill([held.item for held in part])
        except Exception as error:
            logger.error(
                "%s is away, and items could not be spilled: %s. Their pages leave dead letters (reason item)",
                self._sink.name,
                _text(error),
            )
            self._fail(part, f"{self._sink.name} is away, and it was not spilled: {_text(error)}")
        else:
            self._report.spilled(len(part))
            _settle(part)

    # ------------------------------------------------------------------ time

    def _closing(self, *, now: bool = False) -> bool:
        """Whether the worker closes. The time for it runs from when that was first seen."""
        if self._deadline is None and (now or self._is_closing()):
            self._deadline = asyncio.get_running_loop().time() + self._options.close
        return self._deadline is not None

    async def _pause(self, seconds: float) -> None:
        """For *seconds*, at most until the deadline of a close that begins meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := min(until, self._limit()) - loop.time()) > 0:  # noqa: ASYNC110 - nobody tells when a close begins
            await asyncio.sleep(min(left, LOOK))

    def _limit(self) -> float:
        return self._deadline if self._closing() and self._deadline is not None else float("inf")

    async def _bounded(self, work: Coroutine[Any, Any, None], seconds: float, *, beyond: bool = False) -> None:
        """Await *work*, for *seconds* at most, and unless *beyond* not after the deadline of a close."""
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)
        until = loop.time() + seconds
        try:
            while not task.done():
                left = (until if beyond else min(until, self._limit())) - loop.time()
                if left <= 0:
                    break
                await asyncio.wait({task}, timeout=min(left, LOOK))
            else:
                task.result()
                return
        finally:
            await end_tasks([task])
        raise SinkUnavailable(f"{self._sink.name} did not answer in time (MOCRA_BATCH_TIMEOUT)")

    # ------------------------------------------------------------------ what is told

    def _went_away(self, error: Exception) -> None:
        if self._away_since is None:
            self._away_since = asyncio.get_running_loop().time()
            self._report.away(error)

    def _came_back(self) -> None:
        since, self._away_since = self._away_since, None
        if since is not None:
            self._report.back(asyncio.get_running_loop().time() - since)

    def _refuse(self, held: _Held, reason: str) -> None:
        self._report.refused(held.item, reason)
        if not held.done.done():
            held.done.set_exception(ItemRefused(f"{self._sink.name} refused it: {reason}"))

    @staticmethod
    def _fail(part: Iterable[_Held], text: str) -> None:
        for held in part:
            if not held.done.done():
                held.done.set_exception(SinkUnavailable(text))


def _settle(part: Sequence[_Held]) -> None:
    for held in part:
        if not held.done.done():
            held.done.set_result(None)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
