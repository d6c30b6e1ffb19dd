"""A crawl's log, read by the partitions that the group gives this worker. For one event loop's thread; the
client has a thread of its own, and nothing here blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from mocra_scrapy._tasks import end_tasks, in_a_thread
from mocra_scrapy.backends.kafka.admin import Admin
from mocra_scrapy.backends.kafka.log_names import Log, LogPartition
from mocra_scrapy.backends.kafka.log_values import (
    Assigned,
    Commit,
    Gap,
    Grown,
    LogBatch,
    Lost,
    News,
    Revoked,
    Start,
    Trouble,
    Truncated,
)
from mocra_scrapy.backends.kafka.look_ahead import LookAhead
from mocra_scrapy.backends.kafka.offset_lookup import OffsetLookup
from mocra_scrapy.backends.kafka.reader_thread import ReaderThread
from mocra_scrapy.backends.kafka.rebalance import Listener
from mocra_scrapy.backends.kafka.topics import look_for_log
from mocra_scrapy.exceptions import BackendUnavailable, MocraError

#: Seconds between two attempts to find out where partitions stand, and between two looks whether topics
#: have more partitions.
AGAIN, WATCH = 1.0, 30.0
#: Seconds that a commit may take.
PATIENCE = 30.0


class LogReader:
    """Of one worker and one crawl.

    Args:
        clock: epoch seconds.

    Attributes:
        ready: set when there are news, or something to take. Whoever waits for it clears it first.
        owned: partitions that are this worker's, as far as :meth:`news` told.
        lookup: where any partition stands.
    """

    def __init__(self, log: Log, clock: Callable[[], float] = time.time) -> None:
        self._log, self._clock = log, clock
        self._ahead = LookAhead(log.options)
        self._news: deque[News] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread: ReaderThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        #: Ours by the group, in the order of what the thread said; news tell of them when it is known where they stand.
        self._ours: set[LogPartition] = set()
        self._due: asyncio.TimerHandle | None = None
        #: What is being committed, and who waits for the answer.
        self._committing: list[tuple[Mapping[LogPartition, Commit], asyncio.Future[dict[LogPartition, str]]]] = []
        self.ready = asyncio.Event()
        self.owned: frozenset[LogPartition] = frozenset()
        self.lookup = OffsetLookup(log)

    async def open(self) -> None:
        """Join the group.

        Raises:
            ConfigurationError: there are no topics, this user may not read, the password is wrong.
            BackendUnavailable: no broker answers.
        """
        await look_for_log(Admin(self._log.address), self._log)
        self._loop = asyncio.get_running_loop()
        listener = Listener(
            lambda news: self._call(lambda: self._heard(news)),
            lambda new: self._call(lambda: self._came(new)),
            lambda: self._call(self._look),
        )
        self._thread = ReaderThread(self._log, self._ahead, listener)
        self._thread.start()
        self._spawn(self._watch())

    # ------------------------------------------------------------------ what happened

    def news(self) -> list[News]:
        """What happened since the last call, in order."""
        found = list(self._news)
        self._news.clear()
        for one in found:
            if isinstance(one, Assigned):
                self.owned |= one.partitions.keys()
            elif isinstance(one, (Revoked, Lost)):
                self.owned -= one.partitions
        return found

    def _heard(self, news: News) -> None:
        if isinstance(news, (Revoked, Lost)):
            self._ours -= news.partitions
        if isinstance(news, Revoked):
            # The thread waits for what is to be committed now, so no answer comes before that is said.
            for commits, done in self._committing:
                if not done.done():
                    done.set_result(dict.fromkeys(commits, "the group is about to change"))
        if isinstance(news, Truncated):
            self._spawn(self._find_out(news))
        else:
            self._say(news)

    def _say(self, news: News) -> None:
        self._news.append(news)
        self.ready.set()

    def _came(self, new: frozenset[LogPartition]) -> None:
        self._ours |= new
        self._spawn(self._look_up(new))

    async def _look_up(self, new: frozenset[LogPartition]) -> None:
        """Where they stand, however long that takes."""
        troubled = False
        while wanted := new & self._ours:
            try:
                marks = await self.lookup.marks(wanted)
            except MocraError as error:
                if not troubled:
                    self._say(Trouble(error))
                troubled = True
                await asyncio.sleep(AGAIN)
                continue
            known = {partition: mark for partition, mark in marks.items() if partition in self._ours}
            if known:
                self._say(Assigned(known))
            return

    async def _find_out(self, news: Truncated) -> None:
        """What became of what was to be read next."""
        while news.partition in self._ours:
            try:
                bounds = await self.lookup.bounds([news.partition])
            except MocraError:
                await asyncio.sleep(AGAIN)
                continue
            position, (first, end) = news.gap.position, bounds[news.partition]
            gap = Gap("again", position, first, end)
            if not first <= position <= end:
                gap = gap._replace(kind="deleted" if position < first else "beyond")
            else:
                await asyncio.sleep(AGAIN)  # it may take its leader a while
            if news.partition in self._ours:
                self._say(Truncated(news.partition, gap))
            return

    async def _watch(self) -> None:
        """Topics may be given more partitions, and a client may stand still."""
        before: Mapping[str, int] = {}
        behind: Mapping[LogPartition, int] = {}
        while True:
            try:
                now = await self.lookup.partitions()
                for tier, count in now.items():
                    if before.get(tier, count) != count:
                        self._say(Grown(tier, before[tier], count))
                before = now
                behind = await self._wake_those_that_stand(behind)
            except MocraError:
                behind = {}  # brokers are away, and nothing can move
            await asyncio.sleep(WATCH)

    async def _wake_those_that_stand(self, before: Mapping[LogPartition, int]) -> dict[LogPartition, int]:
        """What could be read, and where that is. What stood there *before* is read anew: a client that has
        lost its place says nothing, and its crawl would never end.
        """
        next_ones = {partition: self._ahead.expected(partition) for partition in self._ours}
        begun = {partition: offset for partition, offset in next_ones.items() if offset is not None}
        bounds = await self.lookup.bounds(begun.keys())
        full = self._ahead.full()
        behind = {
            partition: offset
            for partition, offset in begun.items()
            if offset < bounds[partition][1] and partition not in full and offset == self._ahead.expected(partition)
        }
        stand = {partition: offset for partition, offset in behind.items() if before.get(partition) == offset}
        if stand and self._thread is not None:
            self._thread.read_anew(stand)
        return behind

    # ------------------------------------------------------------------ reading

    async def begin(self, starts: Mapping[LogPartition, Start]) -> dict[LogPartition, Gap]:
        """Read these partitions from there on; may be called again for those that are read. Answers where
        something is wrong, see :class:`~mocra_scrapy.backends.kafka.log_values.Gap`.

        Raises:
            BackendUnavailable, ConfigurationError: nobody says where they stand; nothing was changed.
        """
        gaps: dict[LogPartition, Gap] = {
            partition: Gap("not ours", start.offset)
            for partition, start in starts.items()
            if partition not in self._ours
        }
        wanted = {partition: start for partition, start in starts.items() if partition not in gaps}
        bounds = await self.lookup.bounds(wanted.keys())
        begun = {}
        for partition, start in wanted.items():
            first, end = bounds[partition]
            if start.offset > end:
                gaps[partition] = Gap("beyond", start.offset, first, end)
            elif start.offset < first:
                gaps[partition] = Gap("deleted", start.offset, first, end)
                begun[partition] = Start(first, start.skip)
            else:
                begun[partition] = start
        if begun:
            self._opened().begin(begun)
        return gaps

    def take(
        self, limit: int, skip: Collection[LogPartition] = (), limits: Mapping[LogPartition, int] | None = None
    ) -> list[LogBatch]:
        """Up to *limit* messages that were read ahead, tiers by their weights. Of partitions in *skip*
        none, of those in *limits* not more than that.
        """
        now = self._clock()
        found = self._ahead.take(limit, now, skip, limits)
        self._wait_for_head(now)
        return found

    def next_due(self) -> float | None:
        """Seconds until a delayed request may be taken; ``None``: none is waited for. ``ready`` is set
        then.
        """
        return self._ahead.next_due(self._clock())

    def _look(self) -> None:
        now = self._clock()
        if self._ahead.has_some(now):
            self.ready.set()
        self._wait_for_head(now)

    def _wait_for_head(self, now: float) -> None:
        due = self._ahead.next_due(now)
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if due and self._loop is not None:
            self._due = self._loop.call_later(due + 0.001, self.ready.set)

    # ------------------------------------------------------------------ what is finished

    async def commit(self, commits: Mapping[LogPartition, Commit]) -> dict[LogPartition, str]:
        """The reasons of those that were not committed: because they are others' now, or because the
        group is about to change.

        Raises:
            BackendUnavailable: no answer.
        """
        if not commits:
            return {}
        loop, thread = asyncio.get_running_loop(), self._opened()
        done: asyncio.Future[dict[LogPartition, str]] = loop.create_future()

        def tell(reasons: Mapping[LogPartition, str]) -> None:
            self._call(lambda: None if done.done() else done.set_result(dict(reasons)))

        self._committing.append((commits, done))
        try:
            thread.commit(commits, tell)
            return await asyncio.wait_for(done, PATIENCE)
        except asyncio.TimeoutError:
            raise BackendUnavailable(f"the group of the log did not answer within {PATIENCE:g} s") from None
        finally:
            self._committing.remove((commits, done))

    def release(self, partitions: Collection[LogPartition], commits: Mapping[LogPartition, Commit]) -> None:
        """Of what was revoked all that could be settled is; *commits* is where that leaves them."""
        self._opened().release.give(partitions, commits)

    async def close(self, commits: Mapping[LogPartition, Commit] | None = None, timeout: float = 10.0) -> bool:
        """Commit and leave the group; others have the partitions at once. ``False``: not within *timeout*
        seconds; others have them after the session's time-out. May be called twice.
        """
        await end_tasks(self._tasks)
        if self._due is not None:
            self._due.cancel()
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        last = commits or {}
        return await in_a_thread(lambda: thread.stop(last, timeout), "mocra kafka reader")

    # ------------------------------------------------------------------ inside

    def _opened(self) -> ReaderThread:
        if self._thread is None:
            raise BackendUnavailable("the log's reader is closed")
        return self._thread

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _call(self, work: Callable[[], None]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(work)
