"""The part of :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` that serves a log."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.exchange_wire import ShardTurn
from mocra_scrapy.backends.redis.log_wire import log_of, open_fed, open_log_state, pack_feed, pack_notes
from mocra_scrapy.backends.redis.shards import REOPEN_CRAWL, Shards, gather_all
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

FEED, LOOK, BEGIN = (load_script(name) for name in ("feed", "log_look", "log_begin"))


class RedisLog:
    """The verbs of :class:`~mocra_scrapy.interfaces.ILoggedQueue` that no other queue has."""

    options: QueueOptions
    _shards: Shards

    @abstractmethod
    async def _exchange(self, worker: str, call: int, turn: ShardTurn) -> Exchange: ...

    @abstractmethod
    async def _finish(self, worker: str, moves: int | None) -> Finish: ...

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
        turn = ShardTurn(push, ack, release, bury, want, bounds, positions=positions, log=log)
        answer = await self._exchange(worker, call, turn)
        return answer, log_of(answer)

    async def feed(
        self,
        feeds: Sequence[Feed] = (),
        *,
        confirm: Mapping[str, Sequence[Offsets]] = NOTHING_FINISHED,
        collect: Collection[str] = (),
        most: int = 1000,
    ) -> Fed:
        shards, looked_at = await self._shards.known(), list(collect)
        parts: list[list[list[tuple[int, Entry]]]] = [[[] for _ in feeds] for _ in range(shards)]
        for place, feed in enumerate(feeds):
            for one in feed.entries:
                parts[self._shards.of(one[1].slot)][place].append(one)
        asked: dict[str, Any] = {
            "collect": looked_at,
            "most": most,
            "lifo": int(self.options.lifo),
            "channel": self._shards.channel,
            "dead_ttl": int((self.options.dead_ttl or 0) * 1000),
        }
        if any(confirm.values()):
            asked["confirm"] = {name: pack_notes(notes) for name, notes in confirm.items() if notes}

        async def one_shard(shard: int) -> bytes:
            packed = [
                pack_feed(feed, entries, with_gaps=shard == 0)
                for feed, entries in zip(feeds, parts[shard], strict=True)
            ]
            answer: bytes = await self._shards.ask(FEED, shard, {**asked, "feeds": packed, "control": int(shard == 0)})
            return answer

        answers = await gather_all([one_shard(shard) for shard in range(shards)])
        fed, is_over = open_fed(answers, [feed.partition for feed in feeds], looked_at, most)
        if is_over and fed.size.unfinished:  # another shard than the record's stored something after the end
            await self._shards.run(REOPEN_CRAWL, 0)
        return fed

    async def begin_log(self, run: int, begins: Mapping[str, int]) -> LogState:
        def told(offsets: Mapping[str, int]) -> list[str]:
            return [str(run), *(text for name, at in offsets.items() for text in (name, str(at)))]

        await self._shards.known()
        first = await self._shards.run(BEGIN, 0, *told(begins))
        decided = open_log_state([first])
        if decided.log_run != run:
            return await self.log_state()
        others = range(1, self._shards.count)
        rest = await gather_all([self._shards.run(BEGIN, shard, *told(decided.begins)) for shard in others])
        return open_log_state([first, *rest])

    async def log_state(self) -> LogState:
        async def look(shard: int) -> Sequence[Any]:
            answer: Sequence[Any] = await self._shards.run(LOOK, shard)
            return answer

        return open_log_state(await self._shards.everywhere(look))

    async def finish_logged(self, worker: str, moves: int) -> Finish:
        return await self._finish(worker, moves)
