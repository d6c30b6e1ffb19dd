"""``KafkaRequestQueue``: the rules of :class:`~mocra_scrapy.interfaces.IRequestQueue` over a log and its
window.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from zope.interface import implementer

from mocra_scrapy.backends.composite.backlog import Backlog, unread
from mocra_scrapy.backends.composite.beginnings import begin
from mocra_scrapy.backends.composite.feeder import Feeder
from mocra_scrapy.backends.composite.storing import STEPS, Call, Storing, joined, rest_of
from mocra_scrapy.backends.composite.window import Window
from mocra_scrapy.backends.kafka.log_names import Log, LogPartition
from mocra_scrapy.backends.kafka.log_writer import LogWriter
from mocra_scrapy.backends.kafka.offset_lookup import OffsetLookup
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.interfaces import ILoggedQueue, IRequestQueue
from mocra_scrapy.models import (
    NOWHERE,
    UNBOUNDED,
    Bounds,
    Burial,
    CrawlState,
    Entry,
    Exchange,
    Finish,
    Job,
    Lease,
    LogTurn,
    QueueSize,
    WorkerInfo,
)
from mocra_scrapy.models.wording import counted

logger = logging.getLogger(__name__)

#: Seconds between two looks at what others fed.
LOOK = 0.2
T = TypeVar("T")
PLAIN = LogTurn()
#: Seconds for what has to be done before a worker begins, unless somebody says otherwise; between two attempts.
PATIENCE, AGAIN = 15.0, 0.2


@implementer(IRequestQueue)
class KafkaRequestQueue(Window):
    """One crawl's queue.

    Its window decides and keeps account of everything, see
    :class:`~mocra_scrapy.interfaces.ILoggedQueue`; the log has each request from before its parent is
    acknowledged until it is finished.

    Args:
        window: the crawl's queue on the state's backend.
        log: its topics.
        clock: epoch seconds.
        patience: seconds for what has to be done before a worker begins.
    """

    def __init__(
        self,
        window: ILoggedQueue,
        log: Log,
        clock: Callable[[], float] = time.time,
        patience: Callable[[], float] = lambda: PATIENCE,
    ) -> None:
        self.window, self.options = window, window.options
        window.empty_log = self._empty_log
        self._log, self._clock, self._patience = log, clock, patience
        self._backlog = Backlog()
        self._lookup = OffsetLookup(log)
        self._writer = LogWriter(log, clock)
        self._storing = Storing(window, self._writer, self._backlog, log.names.crawl, log.options.window)
        self._feeder: Feeder | None = None
        self._calls: dict[str, Call] = {}
        self._joined: set[str] = set()
        self._opening = asyncio.Lock()
        self._looked = 0.0
        self._is_open = False
        self._began: tuple[int, int] | None = None  # run and record of which it is known where they begin

    # ------------------------------------------------------------------ coming and going

    async def join(self, worker: str, job: Job | None = None) -> CrawlState:
        state = await self.window.join(worker, job)
        await self._open()
        await self._begin(state)
        async with self._opening:
            if self._feeder is None:
                feeder = Feeder(self.window, self._log, self._backlog, self._clock)
                await self._patiently(feeder.start)
                self._feeder = feeder
        self._joined.add(worker)
        return state

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """What *work* gives: brokers that were just started, or lost one of them, don't know at once who has
        the group, nor all topics that were just created.
        """
        patience = self._patience()
        until = time.monotonic() + patience
        while True:
            try:
                return await work()
            except BackendUnavailable as error:
                if time.monotonic() > until:
                    raise BackendUnavailable(f"{error} (MOCRA_START_TIMEOUT = {patience:g} s)") from error
            await asyncio.sleep(AGAIN)

    async def _open(self) -> None:
        async with self._opening:
            if not self._is_open:
                await self._patiently(self._writer.open)
                self._is_open = True

    async def _begin(self, state: CrawlState) -> None:
        if self._began != (state.run, state.born):
            self._backlog.clear()
            known = await self._patiently(lambda: begin(self.window, self._lookup, self._log.names.crawl))
            self._backlog.fed(known.positions)
            # Others read most of it: nobody tells this process how much there is.
            self._ends_are(await self._patiently(self._lookup.ends))
            self._began = state.run, state.born
            if self._feeder is not None:
                self._feeder.begin_anew()

    def _ends_are(self, ends: Mapping[LogPartition, int]) -> None:
        for partition, end in ends.items():
            self._backlog.written(partition, end)

    async def close_worker(self, worker: str) -> int:
        self._calls.pop(worker, None)
        self._joined.discard(worker)
        if not self._joined:
            await self._stop_feeding()
        return await self.window.close_worker(worker)

    async def _stop_feeding(self) -> None:
        feeder, self._feeder = self._feeder, None
        if feeder is not None:
            await feeder.stop()

    # ------------------------------------------------------------------ the turn

    async def exchange(
        self,
        worker: str,
        call: int,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
        positions: Mapping[str, bytes] = NOWHERE,
    ) -> Exchange:
        known = self._calls.get(worker)
        if known is None or known.number != call:
            known = self._calls[worker] = Call(call)
        if push and known.stored is None:
            await self._open()
            if self._began is None:
                await self._begin(await self.window.state())
            await self._storing.store(worker, known, push, bounds)
        answer, log = await self.window.exchange_logged(
            worker,
            STEPS * call + STEPS - 1,
            known.stored or PLAIN,
            ack=ack,
            release=release,
            bury=bury,
            want=want,
            bounds=bounds if known.held is None else rest_of(bounds),
            positions=positions,
        )
        self._storing.settled(known, log)
        self._heard(answer.size)
        if not answer.size.pending and self._backlog.size:
            await self._look_again()
        if self._joined and (answer.state.run, answer.state.born) != self._began and answer.state.run:
            await self._begin(answer.state)  # somebody began another run
        if known.held is not None:
            answer = joined(known.held, answer)
        return replace(answer, size=self._with_backlog(answer.size))

    def _heard(self, size: QueueSize) -> None:
        """How full the window is."""
        self._storing.window_is(size, self._log.options.window)
        if self._feeder is not None:
            self._feeder.window_is(size)

    async def _look_again(self) -> None:
        """Nothing waits in the window, and something in the log, as it seems: others may have fed what they read."""
        if time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            self._backlog.fed((await self.window.log_state()).positions)

    def _with_backlog(self, size: QueueSize) -> QueueSize:
        left = self._backlog.size
        return replace(size, pending=size.pending + left) if left else size

    async def size(self) -> QueueSize:
        known, size = await self.window.log_state(), await self.window.size()
        if not known.positions:  # it never began, and may have no topics
            return size
        return replace(size, pending=size.pending + unread(await self._lookup.ends(), known.positions))

    # ------------------------------------------------------------------ the end

    async def finish(self, worker: str) -> Finish:
        # In this order: what went from transit into the log behind the look at its ends makes `moves` grow.
        known = await self.window.log_state()
        ends = await self._lookup.ends()
        self._backlog.fed(known.positions)
        if unread(ends, known.positions) and not (await self.window.state()).finished:
            self._ends_are(ends)
            if self._feeder is not None:
                self._feeder.kick()
            return Finish.BUSY
        return await self.window.finish_logged(worker, known.moves)

    async def reset(self, by: str, force: bool = False) -> Sequence[WorkerInfo]:
        return await self.window.reset(by, force)

    async def clear(self) -> None:
        await self.window.clear()

    async def _empty_log(self) -> None:
        """So that the next run finds nothing.

        Raises:
            BackendUnavailable: brokers did not delete all: repeat it.
        """
        self._began = None
        self._backlog.clear()
        failed = await self._lookup.trim(await self._lookup.ends())
        if failed:
            partition, reason = next(iter(failed.items()))
            raise BackendUnavailable(
                f"Crawl {self._log.names.crawl!r} is deleted but for {counted(len(failed), 'partition')} of its log"
                f" ({partition}: {reason}). Repeat it, or the next run finds what is there"
            )

    async def close(self) -> None:
        await self._stop_feeding()
        self._is_open = False
        await self._writer.close()
        await self.window.close()
