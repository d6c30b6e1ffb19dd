"""``Batcher``: makes batches of what arrives and has them written, until each item is stored, refused,
or spilled.

::

    store() -> waiting --(full | waited long enough | closing)--> batch --> sink
                                                                   | not now      again, after a while;
                                                                   |              closing: spilled in the end
                                                                   | refused      halves, down to the item
                                                                   ' stored       store() returns

An item waits for company while company comes: a batch goes when it is full, when its oldest item has
waited for ``MOCRA_BATCH_WAIT``, or when nothing came for a twentieth of that. While one is written the
next one fills: what has waited for a slow sink goes at once, and together. Nothing here is dropped;
``store()`` returns when its item is safe, or raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, SinkUnavailable
from mocra_scrapy.models.backoff import backoff
from mocra_scrapy.pipelines.patience import LOOK, Patience
from mocra_scrapy.pipelines.sink import Sink, StoredItem
from mocra_scrapy.settings.pipelines import BatchOptions

logger = logging.getLogger(__name__)

#: Seconds beyond the deadline of a close in which a spill file is written.
LAST = 5.0
#: Part of the wait after which nobody is expected to come any more.
LULL = 0.05


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

    def lost(self, items: int, why: str) -> None:
        """So many could neither be written nor spilled: ``store()`` raises for each."""


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
        self._spill = spill
        self._waiting: deque[_Held] = deque()
        self._size = 0  # of what waits, in bytes
        self._arrived = 0  # items, since the start
        self._full = asyncio.Event()
        self._patience = Patience(sink.name, options.close, closing)
        self._task: asyncio.Task[None] | None = None
        self._given_up = self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def store(self, item: StoredItem) -> None:
        """Returns when *item* is stored, or spilled.

        Raises:
            ItemRefused: it can't be.
            SinkUnavailable: the worker closes, the sink is away, and it could not be spilled.
        """
        if self._closed:
            raise SinkUnavailable(f"{self._sink.name}: it is closed")
        loop = asyncio.get_running_loop()
        held = _Held(item, loop.create_future(), loop.time())
        self._waiting.append(held)
        self._size += item.size
        self._arrived += 1
        if self._size >= self._options.size or len(self._waiting) >= self._options.items:
            self._full.set()
        if self._task is None:
            # In a context of its own: it serves all pages, not the one that happens to come first.
            self._task = contextvars.Context().run(loop.create_task, self._run())
        await held.done

    async def close(self) -> None:
        """Write what is left, within the time for closing; spill the rest. Never raises."""
        self._patience.closing(now=True)
        self._closed = True
        self._full.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._options.close + LAST)
        if self._task is not None:
            await end_tasks([self._task])
        try:
            await self._patience.bounded(self._sink.close(), self._options.close, beyond=True)
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
        except asyncio.CancelledError:
            self._fail(batch, "the worker closed before it was written")
            raise
        except Exception as error:  # none of the sink's, which are all looked at: ours
            logger.exception("Items could not be written to %s", self._sink.name)
            self._fail(batch, _text(error))
        finally:
            self._task = None

    async def _company(self) -> None:
        """Wait until a batch is full, its oldest item has waited long enough, or nobody comes."""
        loop = asyncio.get_running_loop()
        until, lull = self._waiting[0].since + self._options.wait, self._options.wait * LULL
        end, before = min(until, loop.time() + lull), self._arrived
        while not self._full.is_set() and not self._patience.closing():
            left = end - loop.time()
            if left > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._full.wait(), min(left, LOOK))
            elif end >= until or self._arrived == before:
                return
            else:
                end, before = min(until, loop.time() + lull), self._arrived

    def _take(self) -> list[_Held]:
        """The next batch: one item at least, and no more than fit."""
        batch: list[_Held] = []
        size = 0
        while self._waiting and len(batch) < self._options.items:
            more = self._waiting[0].item.size
            if batch and size + more > self._options.size:
                break
            held = self._waiting.popleft()
            self._size -= more
            if not held.done.done():  # whoever waited for it may have been let go
                batch.append(held)
                size += more
        if self._size < self._options.size and len(self._waiting) < self._options.items and not self._closed:
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
        items, attempt = [held.item for held in part], 0
        while not self._given_up:
            began = asyncio.get_running_loop().time()
            try:
                await self._patience.bounded(self._sink.write(items), self._options.timeout)
            except ItemRefused as error:
                self._came_back()
                return error
            except (SinkUnavailable, ConfigurationError, OSError, asyncio.TimeoutError) as error:
                attempt += 1
                self._went_away(error, began)
                self._report.retried()
                await self._patience.pause(backoff(attempt, self._options.retry_base, self._options.retry_cap))
                self._given_up = self._patience.over()
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
        why = "MOCRA_SPILL_DIR is empty"
        if self._spill is not None:
            try:
                await self._spill([held.item for held in part])
            except Exception as error:
                why = _text(error)
            else:
                self._report.spilled(len(part))
                _settle(part)
                return
        self._report.lost(len(part), why)
        self._fail_part(part, f"it is away, and the item was not spilled: {why}")

    # ------------------------------------------------------------------ what is told

    def _went_away(self, error: Exception, began: float) -> None:
        if self._patience.away_since is None:
            self._patience.away_since = began
            self._report.away(error)

    def _came_back(self) -> None:
        since, self._patience.away_since = self._patience.away_since, None
        if since is not None:
            self._report.back(asyncio.get_running_loop().time() - since)

    def _refuse(self, held: _Held, reason: str) -> None:
        self._report.refused(held.item, reason)
        if not held.done.done():
            held.done.set_exception(ItemRefused(f"{self._sink.name} refused it: {reason}"))

    def _fail(self, batch: Iterable[_Held], text: str) -> None:
        """*batch* and all that waits."""
        self._fail_part([*batch, *self._waiting], text)
        self._waiting.clear()
        self._size = 0

    def _fail_part(self, part: Iterable[_Held], text: str) -> None:
        for held in part:
            if not held.done.done():
                held.done.set_exception(SinkUnavailable(f"{self._sink.name}: {text}"))


def _settle(part: Sequence[_Held]) -> None:
    for held in part:
        if not held.done.done():
            held.done.set_result(None)


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
