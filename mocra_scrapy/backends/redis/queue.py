"""``RedisRequestQueue``: the rules of :class:`~mocra_scrapy.interfaces.IRequestQueue` on Redis,
Valkey or a cluster of them.

One script a shard and turn, see ``lua/_prelude.lua`` for the keys. A slot lives on one shard, so
the filter, the order and the fairness within it need no agreement between shards; what needs one
(children before their parent, the end) is done here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.client import RedisClient, load_script
from mocra_scrapy.backends.redis.dictionaries import RedisDictionaries
from mocra_scrapy.backends.redis.exchange_division import divide, gather_flags
from mocra_scrapy.backends.redis.exchange_wire import (
    ShardAnswer,
    ShardTurn,
    open_answer,
    open_state,
    pack_turn,
)
from mocra_scrapy.backends.redis.inspection import RedisQueueInspection
from mocra_scrapy.backends.redis.shards import STATE, Shards, gather_all
from mocra_scrapy.backends.redis.wakeups import Wakeups
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import IRequestQueue
from mocra_scrapy.models import (
    UNBOUNDED,
    Bounds,
    Burial,
    CrawlState,
    Entry,
    Exchange,
    Finish,
    Lease,
    QueueOptions,
    QueueSize,
    Seeding,
)

EXCHANGE = load_script("exchange", "_prelude", "_throttle")
JOIN, LEAVE, SEEDING, FINISH = (load_script(name) for name in ("join", "leave", "seeding", "finish"))


@dataclass(slots=True)
class _Call:
    """A worker's last call: how its leases were divided, and, until all shards answered, what those
    that did said.
    """

    number: int
    shares: Mapping[int, int]
    answers: dict[tuple[int, int], ShardAnswer] = field(default_factory=dict)


@implementer(IRequestQueue)
class RedisRequestQueue(RedisDictionaries, RedisQueueInspection):
    """One crawl's queue.

    Args:
        client: connected; owned by the backend.
        prefix: what all key names begin with.
        crawl: the crawl's name, any text.
        options: see :class:`~mocra_scrapy.models.QueueOptions`.
        default_shards: shards of a crawl that is begun now, when ``options.shards`` is ``None``.
    """

    def __init__(
        self, client: RedisClient, prefix: str, crawl: str, options: QueueOptions, default_shards: int = 1
    ) -> None:
        self.options = options
        self.crawl = crawl
        self._shards = Shards(client, prefix, crawl, options.shards, 1 if options.scopes else default_shards)
        self._sizes: dict[int, QueueSize] = {}
        self._turn = 0
        self._held: dict[str, dict[int, int]] = {}  # worker -> shard -> entries it holds there
        self._calls: dict[str, _Call] = {}  # worker -> its last call
        self._wakeups = Wakeups(client, self._shards.channel)

    # ------------------------------------------------------------------ coming and going

    async def join(self, worker: str) -> CrawlState:
        await self._end_an_exhausted_run(worker)
        lease, keep = str(int(self.options.lease * 1000)), str(int(self.options.keep_seen))
        rules = self.options.rules
        record = await self._shards.run(JOIN, 0, worker, lease, "1", "0", keep, self._shards.wish_argument, rules)
        if record[0] == b"shards":
            raise ConfigurationError(
                "MOCRA_SHARDS",
                f"crawl {self.crawl!r} was begun with {int(record[1])} shards, not {self._shards.wish}",
                f"Set it to {int(record[1])}, or leave it out, or delete the crawl first",
            )
        self._shards.count = int(record[4])
        if self.options.scopes and self._shards.count > 1:
            raise ConfigurationError(
                "MOCRA_THROTTLE",
                f"it has scopes, which hold on one shard only, but crawl {self.crawl!r} was begun with {self._shards.count}",
                "Take out the scopes, or clear the crawl and begin it again",
            )
        run = open_state(record)
        await gather_all(
            [
                self._shards.run(JOIN, s, worker, lease, "0", str(run.run), keep, "0", rules)
                for s in range(1, self._shards.count)
            ],
        )
        await self._wakeups.listen(worker)
        return CrawlState(run.run, run.finished, run.seeding, resumed=bool(int(record[3])))

    async def _end_an_exhausted_run(self, worker: str) -> None:
        """Everything is done and everybody is gone, but nobody said that it was finished: say so,
        so that a new run begins.
        """
        state = await self.state()
        if state.run and not state.finished and state.seeding is Seeding.DONE and not await self.workers():
            await self.finish(worker)

    async def close_worker(self, worker: str) -> int:
        isolate = str(self.options.isolate_after)

        async def leave(shard: int) -> int:
            given = 0
            while True:
                some, left = await self._shards.run(
                    LEAVE, shard, worker, isolate, str(int(shard == 0)), self._shards.channel
                )
                given += int(some)
                if not int(left):
                    return given

        given = sum(await self._shards.everywhere(leave))
        self._held.pop(worker, None)
        self._calls.pop(worker, None)
        await self._wakeups.forget(worker)
        return given

    async def claim_seeding(self, worker: str) -> bool:
        lease = str(int(self.options.lease * 1000))
        return bool(int(await self._shards.run(SEEDING, 0, "claim", worker, lease, self._shards.channel)))

    async def complete_seeding(self, worker: str) -> bool:
        return bool(int(await self._shards.run(SEEDING, 0, "complete", worker, "0", self._shards.channel)))

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
    ) -> Exchange:
        await self._shards.known()
        known = self._calls.get(worker)
        if known is None or known.number != call:
            known = self._calls[worker] = _Call(call, self._shares(want))
        turns = divide(self._shards, push, ack, release, bury)
        for shard, held in self._held.get(worker, {}).items():
            if held > 0:
                turns.setdefault(shard, ShardTurn())  # each call renews all that the worker holds
        for shard, share in known.shares.items():
            turns.setdefault(shard, ShardTurn()).want = share

        for name in (*bounds.keep_permits, *bounds.limits):
            turns.setdefault(self._shards.of(name), ShardTurn())

        async def ask(turn: ShardTurn, phase: int, shard: int) -> ShardAnswer:
            return await self._ask(worker, 2 * call + phase, shard, turn, bounds)

        # Children are stored before their parent goes, acknowledged or buried (a callback may yield
        # some and then raise): where these are on different shards, in two steps. What is released
        # stays stored, so it waits for nothing.
        pushing = {s for s, t in turns.items() if t.push}
        going = {s for s, t in turns.items() if t.ack or t.bury}
        first: dict[int, ShardAnswer] = {}
        if going and pushing and len(pushing | going) > 1:
            pushes = {s: ShardTurn(push=turns[s].push) for s in pushing}
            answers = await gather_all([ask(turn, 0, s) for s, turn in pushes.items()])
            first = dict(zip(pushes, answers, strict=True))
            for s in pushing:
                turns[s].push = []
        answers = await gather_all([ask(turn, 1, s) for s, turn in turns.items()])
        second = dict(zip(turns, answers, strict=True))
        for s, answer in first.items():
            second[s].stored = answer.stored
            second[s].lost |= answer.lost
            second[s].reclaimed += answer.reclaimed
            second[s].given_up += answer.given_up
            second[s].permits = {**answer.permits, **second[s].permits}
            second[s].held = {**answer.held, **second[s].held}
        known.answers.clear()
        return await self._merge(turns, second, (len(push), len(ack), len(release), len(bury)))

    def _shares(self, want: int) -> dict[int, int]:
        """How many to ask of which shard: of those that have something if any is known to, else of
        all, in turn.
        """
        if want <= 0:
            return {}
        self._turn += 1
        order = [(s + self._turn) % self._shards.count for s in range(self._shards.count)]
        promising = [s for s in order if s not in self._sizes or self._sizes[s].pending > 0] or order
        each, rest = divmod(want, len(promising))
        return {s: each + (1 if i < rest else 0) for i, s in enumerate(promising) if each or i < rest}

    async def _ask(self, worker: str, number: int, shard: int, turn: ShardTurn, bounds: Bounds) -> ShardAnswer:
        """One shard's part. An answer that came is kept, so that repeating the call asks only those
        that gave none.
        """
        answers = self._calls[worker].answers
        if (known := answers.get((number, shard))) is not None:
            return known
        options = self.options
        packed = pack_turn(
            turn,
            worker,
            number,
            int(options.lease * 1000),
            options.max_deliveries,
            options.isolate_after,
            int(options.lifo),
            int((options.seen_ttl or 0) * 1000),
            [options.max_dead, int((options.dead_ttl or 0) * 1000)],
            int(shard == 0),
            self._shards.channel,
            bounds=self._shards.part(bounds, shard),
            options=options,
        )
        answer = open_answer(await self._shards.run(EXCHANGE, shard, packed), number, shard)
        answers[number, shard] = answer
        settled = sum(answer.acked) + sum(answer.released) + sum(answer.buried)
        held = self._held.setdefault(worker, {})
        held[shard] = max(0, held.get(shard, 0) + len(answer.leases) - settled)
        self._sizes[shard] = answer.size
        return answer

    async def _merge(
        self, turns: dict[int, ShardTurn], answers: dict[int, ShardAnswer], lengths: tuple[int, int, int, int]
    ) -> Exchange:
        stored, acked, released, buried = gather_flags(turns, answers, lengths)
        size = sum((self._sizes.get(s, QueueSize()) for s in range(self._shards.count)), QueueSize())
        state = answers[0].state
        if state.finished and size.unfinished:
            # Somebody pushed to another shard than the record's after the end: the run goes on.
            state = open_state(await self._shards.run(STATE, 0, "reopen"))
        dues = [a.next_due for a in answers.values() if a.next_due is not None]
        return Exchange(
            stored,
            acked,
            released,
            buried,
            [lease for a in answers.values() for lease in a.leases],
            size,
            min(dues, default=None),
            state,
            any(a.lost for a in answers.values()),
            sum(a.reclaimed for a in answers.values()),
            sum(a.given_up for a in answers.values()),
            {name: n for a in answers.values() for name, n in a.permits.items()},
            [name for a in answers.values() for name in a.crowded],
            {name: seconds for a in answers.values() for name, seconds in a.held.items()},
        )

    async def wait(self, worker: str, timeout: float) -> bool:
        return await self._wakeups.wait(worker, timeout)

    # ------------------------------------------------------------------ the end

    async def finish(self, worker: str) -> Finish:
        async def look(shard: int) -> list[int]:
            return [int(n) for n in await self._shards.run(FINISH, shard, "look")]

        # No step sees all shards at once. Two equal looks do: between them nothing was stored
        # anywhere, and nothing was left.
        before = await self._shards.everywhere(look)
        if any(sum(shard[:3]) for shard in before):
            return Finish.BUSY
        if len(before) > 1 and before != await self._shards.everywhere(look):
            return Finish.BUSY
        verdict = await self._shards.run(FINISH, 0, "end", worker, str(before[0][5]), self._shards.channel)
        answer = Finish(verdict.decode())
        if answer is Finish.WON:
            await self._tidy()
        return answer

    async def _tidy(self) -> None:
        run, keep = str((await self.state()).run), str(int(self.options.keep_seen))

        async def tidy(shard: int) -> None:
            while int(await self._shards.run(FINISH, shard, "tidy", keep, run)):
                pass

        await self._shards.everywhere(tidy)

    async def clear(self) -> None:
        await self._shards.delete_everything()
        self._sizes.clear()
        self._held.clear()

    async def close(self) -> None:
        await self._wakeups.close()
