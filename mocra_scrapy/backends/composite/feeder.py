"""What was read of the log goes into the window, and what is finished there is committed to the group."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.backends.composite.backlog import Backlog
from mocra_scrapy.backends.composite.beginnings import begin
from mocra_scrapy.backends.composite.gaps import tell_gap, tell_grown
from mocra_scrapy.backends.composite.partitions import Reading, Readings
from mocra_scrapy.backends.kafka.log_names import Log, LogPartition
from mocra_scrapy.backends.kafka.log_reader import LogReader
from mocra_scrapy.backends.kafka.log_values import (
    Assigned,
    Commit,
    Gap,
    Grown,
    LogBatch,
    Lost,
    Marks,
    News,
    Recovered,
    Revoked,
    Start,
    Trouble,
    Truncated,
)
from mocra_scrapy.backends.kafka.offsets import Finished
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models import Entry, Fed, Feed, LogState, QueueSize

logger = logging.getLogger(__name__)

#: Seconds between two commits, between two looks where nothing happens, and after a failure.
PACE, IDLE, AGAIN = 0.5, 2.0, 1.0
#: Seconds between two deletions of what is finished at the beginning of the log.
TRIM = 60.0
#: Seconds between two looks at what is finished where partitions wait for it.
SOON = 0.05
#: Requests in the window below which it is fed at once.
LOW = 100
#: Messages of one feed; notes of one partition that are asked for at once.
PART, NOTES = 500, 2000
#: Messages that others fed, from which on they are skipped rather than read.
FAR = 200


class Feeder:
    """Of one queue object: a member of the crawl's group.

    Args:
        window: gets what is read.
        clock: epoch seconds.
    """

    def __init__(self, window: ILoggedQueue, log: Log, backlog: Backlog, clock: Callable[[], float]) -> None:
        self._window, self._log, self._backlog = window, log, backlog
        self._reader = LogReader(log, clock)
        self._readings = Readings(log.options.window, log.options.ahead)
        self._marks: dict[LogPartition, Marks] = {}  # ours, not begun yet
        self._news: deque[News] = deque()  # not heard yet
        self._pending: list[LogBatch] = []  # taken, perhaps not fed yet
        self._state = LogState()
        self._kicked = asyncio.Event()
        self._looked = self._collected = 0.0
        self._trimmed = time.monotonic()
        self._told = ""
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Join the group.

        Raises:
            BackendUnavailable, ConfigurationError: see :meth:`LogReader.open`.
        """
        await self._reader.open()
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Commit, and leave the group."""
        if self._task is not None:
            await end_tasks([self._task])
            self._task = None
        commits: dict[LogPartition, Commit] = {}
        try:
            await self._collect(self._readings)
            commits = self._readings.commits(self._readings)
        except MocraError as error:
            logger.warning("What is finished of the log was not committed at the end: %s", error)
        if not await self._reader.close(commits):
            logger.warning("The group of the log was not left in time; others have its partitions a little later")

    def kick(self) -> None:
        """There is reason to look."""
        self._looked = 0.0
        self._kicked.set()

    def window_is(self, size: QueueSize) -> None:
        """So much is in the window now."""
        before, room = self._readings.room, self._log.options.window - size.pending
        self._readings.room = room
        if before <= 0 < room or (size.pending < LOW and self._backlog.size):
            self._kicked.set()

    def begin_anew(self) -> None:
        """Another run: all positions are others, also those of partitions that are being begun now."""
        for partition in [*self._readings, *self._marks]:
            self._marks[partition] = Marks(0, 0)
        self._readings.drop(list(self._readings))
        self._pending.clear()
        self._kicked.set()

    # ------------------------------------------------------------------ the loop

    async def _run(self) -> None:
        while True:
            self._reader.ready.clear()
            self._kicked.clear()
            try:
                busy = await self._turn()
                self._told = ""
            except MocraError as error:
                busy = False
                if str(error) != self._told:  # once for each reason
                    self._told = str(error)
                    logger.warning("The log of crawl %r is not fed for now: %s", self._log.names.crawl, error)
                await asyncio.sleep(AGAIN)
            except Exception:
                busy = False
                logger.exception("Feeding the window of crawl %r failed", self._log.names.crawl)
                await asyncio.sleep(AGAIN)
            if not busy:
                await self._rest()

    async def _rest(self) -> None:
        """Until there is something to do, or is to be looked at."""
        waits = [asyncio.ensure_future(one.wait()) for one in (self._reader.ready, self._kicked)]
        patience = PACE if self._readings.is_waiting else IDLE
        try:
            await asyncio.wait(waits, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(waits)

    async def _turn(self) -> bool:
        """Whether there may be more to do at once."""
        self._news += self._reader.news()
        while self._news:
            await self._hear(self._news[0])  # is told once: what could not be done about it is tried again
            self._news.popleft()
        if self._marks:
            await self._begin(dict(self._marks))
        if not self._pending:
            limits = self._readings.limits()
            self._pending = self._reader.take(PART, [partition for partition, n in limits.items() if not n], limits)
            if not self._pending and not all(limits.values()) and time.monotonic() - self._collected >= SOON:
                await self._collect(self._readings)  # they wait for what is finished meanwhile
        fed = bool(self._pending)
        if fed:
            await self._feed(self._pending)
            self._pending = []
        if time.monotonic() - self._looked >= PACE:
            self._looked = time.monotonic()
            await self._settle()
        return fed

    # ------------------------------------------------------------------ news

    async def _hear(self, news: News) -> None:
        crawl = self._log.names.crawl
        if isinstance(news, Assigned):
            self._marks.update(news.partitions)
        elif isinstance(news, Revoked):
            await self._give_free(news)
        elif isinstance(news, Lost):
            self._drop(news.partitions)
        elif isinstance(news, Truncated):
            if news.gap.kind != "deleted":  # what that lost is told where it begins anew
                await self._gone({news.partition: news.gap})
            if news.gap.kind != "beyond":
                self._marks.setdefault(news.partition, Marks(0, 0))
        elif isinstance(news, Grown):
            await begin(self._window, self._reader.lookup, crawl)
            tell_grown(crawl, news)
        elif isinstance(news, Trouble):
            logger.warning("The log of crawl %r can't be read for now: %s", crawl, news.error)
        elif isinstance(news, Recovered):
            logger.info("The log of crawl %r is read again", crawl)

    async def _give_free(self, news: Revoked) -> None:
        """What is finished is committed; what is not is the window's, whoever reads on."""
        mine = [partition for partition in news.partitions if partition in self._readings]
        commits: dict[LogPartition, Commit] = {}
        try:
            patience = max(0.0, news.deadline - time.monotonic())
            await asyncio.wait_for(self._collect(mine), patience)
            commits = self._readings.commits(mine)
        except (MocraError, asyncio.TimeoutError) as error:
            logger.warning(
                "What is finished was not committed before others read on: %s", str(error) or "no time was left"
            )
        self._drop(news.partitions)
        self._reader.release(news.partitions, commits)

    def _drop(self, partitions: Collection[LogPartition]) -> None:
        self._pending = [batch for batch in self._pending if batch.partition not in partitions]
        self._readings.drop(partitions)
        for partition in partitions:
            self._marks.pop(partition, None)

    async def _begin(self, marks: Mapping[LogPartition, Marks]) -> None:
        """Read on where the window was fed up to, which says more than what was committed."""
        lookup = self._reader.lookup
        self._state = await begin(self._window, lookup, self._log.names.crawl)
        told = await lookup.marks(list(marks))
        starts: dict[LogPartition, Start] = {}
        readings = {}
        for partition in marks:
            mark, name = told[partition], str(partition)
            position = self._state.positions.get(name)
            if position is None:
                continue
            base = max(mark.committed or 0, self._state.begins.get(name, 0))
            committed = None if mark.committed is None else Commit(mark.committed, mark.finished)
            ahead = mark.finished.clipped(base, max(base, mark.end))
            readings[partition] = Reading(position, Finished(base, ahead), committed, mark.finished)
            starts[partition] = Start(position, mark.finished)
        gaps = await self._reader.begin(starts)
        self._backlog.fed(self._state.positions)
        for partition, mark in told.items():
            self._backlog.written(partition, mark.end)
        self._readings.update(readings)
        await self._gone(gaps)
        for partition in readings:
            if self._marks.get(partition) is marks[partition]:  # or it is to be begun once more
                del self._marks[partition]

    async def _gone(self, gaps: Mapping[LogPartition, Gap]) -> None:
        """The log does not have what is to be read. What is deleted is told when the window has passed it over."""
        for partition, gap in gaps.items():
            if gap.kind == "deleted":
                await self._feed([LogBatch(partition, gap.position, gap.first, ())])
            tell_gap(self._log.names, partition, gap)

    # ------------------------------------------------------------------ into the window

    async def _feed(self, batches: Collection[LogBatch]) -> None:
        news = [self._feed_of(batch) for batch in batches if batch.next > self._position(batch.partition)]
        positions: Mapping[str, int | None] = {}
        if news:
            fed = await self._window.feed(news)
            self._take_in(fed)
            self._readings.are_fed(news)
            positions = fed.positions
        far = {}
        for batch in batches:
            reading = self._readings.get(batch.partition)
            position = positions.get(str(batch.partition), self._position(batch.partition))
            if position is None:  # nobody said where it begins: the record is gone
                self._marks.setdefault(batch.partition, Marks(0, 0))
            elif reading is not None and (position > batch.next + FAR or position < batch.start):
                far[batch.partition] = Start(position, reading.skip)
        if far:
            await self._gone(await self._reader.begin(far))

    def _position(self, partition: LogPartition) -> int:
        reading = self._readings.get(partition)
        return -1 if reading is None else reading.position

    def _feed_of(self, batch: LogBatch) -> Feed:
        state = self._state
        # What an earlier run left is nobody's: it was in the log twice.
        records = [one for one in batch.records if not (one.born == state.born and 0 < one.run < state.run)]
        entries = [
            (one.offset, replace(one.entry, fingerprint=one.fingerprint) if one.fingerprint else one.entry)
            for one in records
        ]
        transit = {one.offset: one.transit for one in records if one.transit and one.born == state.born}
        for one in batch.unreadable:
            logger.error(
                "Message %d of %s is no request: %s. It will be a dead letter", one.offset, batch.partition, one.reason
            )
            entries.append((one.offset, Entry(one.value)))
        return Feed(str(batch.partition), batch.start, batch.next, sorted(entries, key=lambda one: one[0]), transit)

    # ------------------------------------------------------------------ what is finished

    async def _settle(self) -> None:
        """Ask what is finished, commit it, and let the window forget that."""
        await self._collect(self._readings)
        commits = self._readings.commits(self._readings)
        if not commits:
            return
        reasons = await self._reader.commit(commits)
        done = {partition: commit for partition, commit in commits.items() if partition not in reasons}
        await self._window.feed(confirm=self._readings.confirmed(done))
        if self._log.options.trim and time.monotonic() - self._trimmed >= TRIM:
            self._trimmed = time.monotonic()
            # Best effort: a user may lack the right, and then the topics' retention decides.
            await self._reader.lookup.trim({partition: commit.offset for partition, commit in done.items()})

    async def _collect(self, partitions: Iterable[LogPartition]) -> None:
        self._collected = time.monotonic()
        names = [str(partition) for partition in partitions if partition in self._readings]
        if names:
            self._take_in(await self._window.feed(collect=names, most=NOTES))

    def _take_in(self, fed: Fed) -> None:
        self._backlog.fed(fed.positions)
        self._readings.take_in(fed)
