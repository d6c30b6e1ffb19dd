"""One sink and the records that wait for it: a bounded queue, one task, nobody who waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.events.envelope import redact_text
from mocra_scrapy.events.sink import Refused
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from mocra_scrapy.events.envelope import Record
    from mocra_scrapy.events.sink import Sink

logger = logging.getLogger(__name__)

#: Records and bytes of one batch, at most.
BATCH, BATCH_BYTES = 100, 256 * 1024
#: Attempts at one batch; s between the first two, doubled for each further one; at most. Together five
#: minutes: a server that is restarted loses nothing.
TRIES, FIRST_PAUSE, LONGEST_PAUSE = 12, 0.5, 60.0
#: Of the queue, the part that events which come with each page may fill.
BULK = 0.9
#: s between two attempts while the worker closes.
CLOSING_PAUSE = 0.2


class Outlet:
    """The way to one sink.

    Args:
        name: as the setting calls it.
        most: records that may wait.
        count: adds to a stat.
    """

    def __init__(self, name: str, sink: Sink, most: int, count: Callable[[str, int], None]) -> None:
        self.name = name
        self._sink = sink
        self._most, self._most_bulk = most, int(most * BULK)
        self._count = count
        self._queue: deque[Record] = deque()
        self._in_hand = 0
        self._there, self._enough, self._empty = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._closing = asyncio.Event()
        self._away = self._overflows = False
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Records that were not taken by the sink yet."""
        return len(self._queue) + self._in_hand

    def put(self, record: Record) -> None:
        """Have *record* sent in a moment; dropped, where too many wait. Never waits."""
        waiting = len(self)
        if waiting >= (self._most_bulk if record.event.bulk else self._most):
            self._drop(1)
            if not self._overflows:
                self._overflows = True
                logger.warning(
                    "Events for %r are dropped (mocra/events/dropped): %s wait for it. MOCRA_EVENTS_QUEUE_MAX = %d;"
                    ' MOCRA_EVENTS_SAMPLE and the sink\'s "events" say which there are',
                    self.name,
                    counted(waiting, "record"),
                    self._most,
                )
            return
        self._queue.append(record)
        self._there.set()
        if waiting + 1 >= BATCH:
            self._enough.set()

    def start(self) -> None:
        """Begin to send. In the running loop."""
        self._task = asyncio.create_task(self._run(), name=f"mocra events {self.name}")

    async def close(self) -> None:
        """Send what is left; whoever waits for this says how long. Then :meth:`end`."""
        self._closing.set()
        self._there.set()
        self._enough.set()
        if self._task is not None and len(self):
            self._empty.clear()
            await self._empty.wait()

    async def end(self) -> int:
        """Stop at once; how many records were not sent. They count as dropped."""
        if self._task is not None:
            await end_tasks([self._task])
        left = len(self)
        if left:
            self._drop(left)
            self._queue.clear()
            self._in_hand = 0
        with contextlib.suppress(Exception):  # it may be what is broken
            await asyncio.wait_for(self._sink.close(), 1.0)
        return left

    # ------------------------------------------------------------------ the task

    async def _run(self) -> None:
        while True:
            if not self._queue:
                self._empty.set()
                self._there.clear()
                await self._there.wait()
                if not self._queue:
                    await asyncio.sleep(0)
                    continue
            if len(self._queue) < BATCH and self._sink.linger and not self._closing.is_set():
                self._enough.clear()
                await _wait(self._enough, self._sink.linger)
            batch = self._take()
            self._in_hand = len(batch)
            if await self._deliver(batch):
                self._count("mocra/events/sent", len(batch))
                self._overflows = self._overflows and len(self._queue) > self._most // 2
            else:
                self._drop(len(batch))
            self._in_hand = 0

    def _take(self) -> list[Record]:
        batch: list[Record] = []
        size = 0
        while self._queue and len(batch) < BATCH and size < BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += len(batch[-1].encoded)
        return batch

    async def _deliver(self, batch: list[Record]) -> bool:
        """Whether the sink took *batch*, in the end."""
        pause, failed = FIRST_PAUSE, 0
        while True:
            try:
                await asyncio.wait_for(self._sink.send(batch), self._sink.timeout)
            except Exception as error:  # whatever a client or server may come up with
                self._count("mocra/events/send_failed", 1)
                failed += 1
                refused = isinstance(error, Refused)
                self._tell(error, refused)
                if refused:
                    return False
                if failed >= TRIES and not self._closing.is_set():  # then there is a deadline
                    logger.warning(
                        "%s for %r given up after %d attempts, and dropped (mocra/events/dropped)",
                        counted(len(batch), "event"),
                        self.name,
                        failed,
                    )
                    return False
                after = min(getattr(error, "after", 0.0), LONGEST_PAUSE)
                await self._rest(max(pause * random.uniform(0.75, 1.25), after))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if self._away:
                    self._away = False
                    logger.info("Events reach %r again", self.name)
                return True

    async def _rest(self, seconds: float) -> None:
        if self._closing.is_set():
            await asyncio.sleep(CLOSING_PAUSE)
        else:
            await _wait(self._closing, seconds)

    def _tell(self, error: Exception, refused: bool) -> None:
        """Once an outage."""
        late = isinstance(error, (TimeoutError, asyncio.TimeoutError))
        why = f"no answer within {self._sink.timeout:g} s" if late and not str(error) else str(error) or repr(error)
        fate = "these are dropped" if refused else "they wait, and are sent again"
        level = logging.DEBUG if self._away else logging.WARNING
        self._away = True
        logger.log(level, "Events don't reach %r, %s: %s", self.name, fate, redact_text(why))

    def _drop(self, number: int) -> None:
        self._count("mocra/events/dropped", number)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
