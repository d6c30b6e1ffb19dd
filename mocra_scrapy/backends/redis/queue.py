"""``RedisRequestQueue``: the rules of :class:`~mocra_scrapy.interfaces.IRequestQueue` on Redis,
Valkey or a cluster of them.

One script a shard and turn, see ``lua/lib/meta.lua`` for the keys. A slot lives on one shard, so
the filter, the order and the fairness within it need no agreement between shards; what needs one
(children before their parent, the end) is done here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from zope.interface import implementer

from mocra_scrapy.backends.redis.budgets_look import look_at_budgets
from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.dictionaries import RedisDictionaries
from mocra_scrapy.backends.redis.exchange_division import DividedExchanges
from mocra_scrapy.backends.redis.exchange_wire import (
    STEPS,
    ShardTurn,
    open_answer,
    open_job,
    open_state,
    pack_rules,
    pack_turn,
)
from mocra_scrapy.backends.redis.inspection import RedisQueueInspection
from mocra_scrapy.backends.redis.logged import RedisLog
from mocra_scrapy.backends.redis.reset import RedisReset
from mocra_scrapy.backends.redis.rules_wire import UNKNOWN_RULES, open_rules, pack_own, packed
from mocra_scrapy.backends.redis.shards import REOPEN_CRAWL, Shards, gather_all
from mocra_scrapy.backends.redis.wakeups import Wakeups
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models import (
    NOWHERE,
    UNBOUNDED,
    Bounds,
    BudgetState,
    Burial,
    CrawlState,
    Entry,
    Exchange,
    Finish,
    Job,
    Lease,
    QueueOptions,
    RulesInForce,
    Seeding,
    digest_of,
)
from mocra_scrapy.models.wording import counted

EXCHANGE = load_script("exchange", stays=True)
JOIN, LEAVE, DEAD = (load_script(name) for name in ("join", "leave", "declare_dead"))
LOOK_AT_RULES = load_script("rules_look")
CLAIM_SEEDING, COMPLETE_SEEDING = (load_script(f"seeding_{verb}") for verb in ("claim", "complete"))
#: Dead letters that a join drops at most, where a crawl has too many.
LETTERS = 1000
LOOK, END, TIDY = (load_script(f"finish_{verb}") for verb in ("look", "end", "tidy"))


@implementer(ILoggedQueue)
class RedisRequestQueue(RedisLog, RedisDictionaries, RedisQueueInspection, RedisReset):
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
        self._rules = pack_rules(options, self._shards.channel)
        self._own = pack_own(options.rules)
        self._divided = DividedExchanges(self._shards, self._ask)
        self._wakeups = Wakeups(client, self._shards.channel)

    # ------------------------------------------------------------------ coming and going

    async def join(self, worker: str, job: Job | None = None) -> CrawlState:
        await self._end_an_exhausted_run(worker)
        lease, keep = str(int(self.options.lease * 1000)), str(int(self.options.keep_seen))
        rules, own = digest_of(self.options.rules), packed(self._own)
        channel = self._shards.channel
        whose = ("", "") if job is None else (job.digest, job.to_text())
        while True:
            record = await self._shards.run(
                JOIN,
                0,
                worker,
                lease,
                "1",
                "0",
                keep,
                self._shards.wish_argument,
                rules,
                channel,
                own,
                "0",
                "0",
                *whose,
            )
            if record[0] == b"reset":
                await self.wait_for_reset(worker, int(record[2]) / 1000)
            elif record[0] == b"job" and job is not None:
                size = await self.size()
                if size.unfinished or size.seen or size.dead or await self.reset(worker):
                    raise job.refused_by(open_job(record[1]), self.crawl)
            else:
                break
        if record[0] == b"shards":
            raise ConfigurationError(
                "MOCRA_SHARDS",
                f"crawl {self.crawl!r} was begun with {counted(int(record[1]), 'shard')}, not {self._shards.wish}",
                f"Set it to {int(record[1])}, or leave it out, or delete the crawl first",
            )
        self._shards.count = int(record[5])
        if self.options.scopes and self._shards.count > 1:
            raise ConfigurationError(
                "MOCRA_THROTTLE",
                f"it has scopes, which hold on one shard only, but crawl {self.crawl!r} was begun with {self._shards.count}",
                "Take out the scopes, or clear the crawl and begin it again",
            )
        run, resumed = open_state(record), bool(int(record[4]))
        born, begins = str(run.born), str(int(not resumed))
        self._divided.forget(worker)  # what it held before, if there is another record now
        await gather_all(
            [
                self._shards.run(
                    JOIN, s, worker, lease, "0", str(run.run), keep, "0", rules, channel, own, born, begins
                )
                for s in range(1, self._shards.count)
            ],
        )
        if self._shards.count > 1 and not int(record[6]):  # what those left who died before they dropped it
            await self.drop_oldest(LETTERS)
        await self._wakeups.listen(worker)
        return replace(run, resumed=resumed, others=int(record[6]))

    async def _end_an_exhausted_run(self, worker: str) -> None:
        """Everything is done and everybody is gone, but nobody said that it was finished: say so,
        so that a new run begins.
        """
        state = await self.state()
        if state.run and not state.finished and state.seeding is Seeding.DONE and not await self.workers():
            await self.finish(worker)

    async def close_worker(self, worker: str) -> int:
        isolate, lifo = str(self.options.isolate_after), str(int(self.options.lifo))

        async def leave(shard: int) -> int:
            given = 0
            while True:
                some, left = await self._shards.run(
                    LEAVE, shard, worker, isolate, str(int(shard == 0)), self._shards.channel, lifo
                )
                given += int(some)
                if not int(left):
                    return given

        given = sum(await self._shards.everywhere(leave))
        self._divided.forget(worker)
        await self._wakeups.forget(worker)
        return given

    async def declare_dead(self, worker: str) -> int | None:
        async def one(shard: int) -> int:
            return int(await self._shards.run(DEAD, shard, worker, self._shards.channel))

        held = [some for some in await self._shards.everywhere(one) if some >= 0]
        return sum(held) if held else None

    async def claim_seeding(self, worker: str) -> bool:
        lease = str(int(self.options.lease * 1000))
        return bool(int(await self._shards.run(CLAIM_SEEDING, 0, worker, lease)))

    async def complete_seeding(self, worker: str) -> bool:
        return bool(int(await self._shards.run(COMPLETE_SEEDING, 0, worker, self._shards.channel)))

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
        turn = ShardTurn(push, ack, release, bury, want, bounds, positions=positions)
        return await self._exchange(worker, call, turn)

    async def _exchange(self, worker: str, call: int, turn: ShardTurn) -> Exchange:
        if not self._shards.count:
            await self._shards.known()
        if self._shards.count == 1:  # nothing to divide, and one answer is the answer
            answer = await self._ask(worker, STEPS * call + STEPS - 1, 0, turn)
        else:
            answer = await self._divided.exchange(worker, call, turn)
            written = sum(answer.buried) + answer.given_up + answer.stalled
            if written and answer.size.dead > self.options.max_dead:
                await self.drop_oldest(written)
            for kind in {burial.kind for burial, kept in zip(turn.bury, answer.kept, strict=True) if kept}:
                await self.drop_responses(kind)
        if answer.state.finished and answer.size.unfinished:
            # Somebody stored something after the end, on another shard than the record's: the run
            # goes on.
            answer = replace(answer, state=open_state(await self._shards.run(REOPEN_CRAWL, 0)))
        return answer

    async def _ask(self, worker: str, number: int, shard: int, turn: ShardTurn) -> Exchange:
        control, own = shard == 0, None
        rules = self._rules
        if turn.bury and self._shards.count > 1:
            rules = {**rules, "dead_bodies_bytes": self.options.dead_bodies_bytes // self._shards.count}
        while True:
            argument = pack_turn(turn, rules, worker, number, control=control, own=own)
            answer = await self._shards.run(EXCHANGE, shard, argument)
            if answer != UNKNOWN_RULES:
                return open_answer(answer, number, shard, turn)
            own = self._own  # the shard lost them, or took this worker for dead: nothing was done yet

    async def budgets(self, kind: str = "") -> Sequence[BudgetState]:
        return await look_at_budgets(self._shards, kind)

    async def rules_in_force(self) -> RulesInForce:
        await self._shards.known()
        return open_rules(await self._shards.run(LOOK_AT_RULES, 0))

    async def wait(self, worker: str, timeout: float) -> bool:
        return await self._wakeups.wait(worker, timeout)

    # ------------------------------------------------------------------ the end

    async def finish(self, worker: str) -> Finish:
        return await self._finish(worker, None)

    async def _finish(self, worker: str, moves: int | None) -> Finish:
        """*moves*: what must not have changed, see :meth:`finish_logged`."""

        async def look(shard: int) -> list[int]:
            return [int(n) for n in await self._shards.run(LOOK, shard)]

        # No step sees all shards at once. Two equal looks do: between them nothing was stored
        # anywhere, and nothing was left.
        before = await self._shards.everywhere(look)
        if any(sum(shard[:3]) for shard in before):
            return Finish.BUSY
        if moves is not None and sum(shard[6] for shard in before) != moves and not (await self.state()).finished:
            return Finish.BUSY
        if len(before) > 1 and before != await self._shards.everywhere(look):
            return Finish.BUSY
        verdict, run = await self._shards.run(END, 0, worker, str(before[0][5]), self._shards.channel)
        answer = Finish(verdict.decode())
        if answer is Finish.WON:
            await self._tidy(int(run))
        return answer

    async def _tidy(self, ended: int) -> None:
        """Clean up after run *ended*; another one may have begun meanwhile."""
        run, keep = str(ended), str(int(self.options.keep_seen))

        async def tidy(shard: int) -> None:
            while int(await self._shards.run(TIDY, shard, keep, run)):
                pass

        await self._shards.everywhere(tidy)

    async def close(self) -> None:
        await self._wakeups.close()
