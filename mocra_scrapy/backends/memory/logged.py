"""The part of :class:`~mocra_scrapy.backends.memory.queue.MemoryRequestQueue` that serves a log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from mocra_scrapy.backends.embedded import feeding, runs
from mocra_scrapy.backends.embedded.exchange import exchange
from mocra_scrapy.backends.embedded.logged_exchange import LoggedTurn
from mocra_scrapy.backends.memory.store import MemoryCrawl
from mocra_scrapy.models import (
    NOTHING_FINISHED,
    NOWHERE,
    UNBOUNDED,
    Bounds,
    Burial,
    Entry,
    Exchange,
    Fed,
    Feed,
    Finish,
    Lease,
    LogAnswer,
    LogState,
    LogTurn,
    Offsets,
    QueueOptions,
)


class MemoryLog:
    """The verbs of :class:`~mocra_scrapy.interfaces.ILoggedQueue` that no other queue has."""

    options: QueueOptions
    empty_log: Callable[[], Awaitable[None]] | None = None
    _crawl: MemoryCrawl
    _clock: Callable[[], float]
    _wall: Callable[[], float]

    async def exchange_logged(
        self,
        worker: str,
        call: int,
        log: LogTurn,
        *,
        push: Sequence[Entry] = (),
        ack: Sequence[Lease] = (),
        release: Sequence[Lease] = (),
        bury: Sequence[Burial] = (),
        want: int = 0,
        bounds: Bounds = UNBOUNDED,
        positions: Mapping[str, bytes] = NOWHERE,
    ) -> tuple[Exchange, LogAnswer]:
        crawl, now, wall = self._crawl, self._clock(), self._wall()
        turn = LoggedTurn(crawl, self.options, worker, log, now=now, wall=wall)
        answer = exchange(
            crawl,
            self.options,
            worker,
            call,
            now=now,
            wall=wall,
            push=push,
            ack=ack,
            release=release,
            bury=bury,
            want=want,
            bounds=bounds,
            positions=positions,
            turn=turn,
        )
        return answer, turn.log_answer(push)

    async def feed(
        self,
        feeds: Sequence[Feed] = (),
        *,
        confirm: Mapping[str, Sequence[Offsets]] = NOTHING_FINISHED,
        collect: Collection[str] = (),
        most: int = 1000,
    ) -> Fed:
        return feeding.feed(
            self._crawl, self.options, feeds, confirm=confirm, collect=collect, most=most, now=self._clock()
        )

    async def begin_log(self, run: int, begins: Mapping[str, int]) -> LogState:
        self._crawl.log.begin(run, dict(begins))
        return feeding.log_state(self._crawl)

    async def log_state(self) -> LogState:
        return feeding.log_state(self._crawl)

    async def finish_logged(self, worker: str, moves: int) -> Finish:
        if not self._crawl.finished and self._crawl.log.moves != moves:
            return Finish.BUSY
        return runs.finish(self._crawl, self.options, worker, self._clock())
