"""An exchange where a crawl has several shards: divided between them, and their answers put
together again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mocra_scrapy.backends.redis.budget_blocks import BudgetBlocks
from mocra_scrapy.backends.redis.budgets_wire import BlockAnswer
from mocra_scrapy.backends.redis.exchange_parts import (
    Part,
    divide,
    gather_flags,
    gather_log,
    gather_refused,
    gather_stale,
)
from mocra_scrapy.backends.redis.exchange_wire import STEPS, ShardTurn
from mocra_scrapy.backends.redis.log_wire import joined_log, log_of, logged
from mocra_scrapy.backends.redis.shards import Shards, gather_all
from mocra_scrapy.models import LEASED_BYTES, Bounds, Budgeting, Exchange, Lease, LogAnswer, LogTurn, QueueSize

#: Asks one shard: worker, number of the script's call, shard, what it is asked.
Ask = Callable[[str, int, int, ShardTurn], Awaitable[Exchange]]


@dataclass(slots=True)
class _Call:
    """A worker's last call: how its leases were divided, and, until all shards answered, what those
    that did said.
    """

    number: int
    shares: Mapping[int, int]
    answers: dict[tuple[int, int], Exchange] = field(default_factory=dict)


class DividedExchanges:
    """The turns of this process's workers over several shards.

    Args:
        shards: of the crawl.
        ask: one shard.
    """

    def __init__(self, shards: Shards, ask: Ask) -> None:
        self._shards = shards
        self._ask = ask
        self._blocks = BudgetBlocks(shards)
        self._sizes: dict[int, QueueSize] = {}
        self._turn = 0
        self._held: dict[str, dict[int, int]] = {}  # worker -> shard -> entries it holds there
        self._calls: dict[str, _Call] = {}  # worker -> its last call

    def forget(self, worker: str) -> None:
        """*worker* left."""
        self._held.pop(worker, None)
        self._calls.pop(worker, None)

    def clear(self) -> None:
        """Everything was deleted."""
        self._sizes.clear()
        self._held.clear()

    async def exchange(self, worker: str, call: int, turn: ShardTurn) -> Exchange:
        """As :meth:`~mocra_scrapy.interfaces.IRequestQueue.exchange`."""
        known = self._calls.get(worker)
        if known is None or known.number != call:
            known = self._calls[worker] = _Call(call, self._shares(turn.want))
        parts = divide(self._shards, turn)
        bounds = turn.bounds
        holding = [s for s, held in self._held.get(worker, {}).items() if held > 0]  # each call renews all it holds
        unused = [departure.names[0] for departure in bounds.unused]
        named = [self._shards.of(name) for name in (*bounds.keep_permits, *unused, *bounds.wanted)]
        said, heard = bounds.budgets, list[Exchange]()
        if said is not None:
            named += [self._blocks.home(name) for name in (*said.spent, *said.changed)]
            await self._blocks.tell_changes(said)
        for shard in (*holding, *known.shares, *named):
            parts.setdefault(shard, Part(ShardTurn(log=None if turn.log is None else LogTurn())))
        for shard, part in parts.items():
            part.turn.want = known.shares.get(shard, 0)
            part.turn.most_bytes = LEASED_BYTES // max(1, len(known.shares))
            part.turn.bounds = self._shards.part(bounds, shard)
            if said is not None:
                own = self._blocks.part(said, shard, part.turn.push)
                part.turn.bounds = replace(part.turn.bounds, budgets=own)

        # Children are stored before their parent goes, acknowledged or buried (a callback may yield
        # some and then raise): where these are on different shards, in two steps. What is released
        # stays stored, so it waits for nothing. A position goes last, too: it is never ahead of its seeds.
        pushing = {s for s, part in parts.items() if part.turn.push}
        going = {s for s, part in parts.items() if part.turn.ack or part.turn.bury or part.turn.positions}
        first: dict[int, Exchange] = {}
        waits = said is not None and self._blocks.may_wait(turn.push)
        if waits or (going and pushing and len(pushing | going) > 1):
            hold = turn.log and LogTurn(turn.log.hold)
            pushes = {s: ShardTurn(push=parts[s].turn.push, bounds=parts[s].turn.bounds, log=hold) for s in pushing}
            first = await self._pushed(known, worker, pushes, said, heard)
            for s in pushing:
                parts[s].turn.push = ()
                parts[s].turn.bounds = replace(parts[s].turn.bounds, unused=())  # a second time it is another one's
                if (own_said := parts[s].turn.bounds.budgets) is not None:
                    parts[s].turn.bounds = replace(parts[s].turn.bounds, budgets=replace(own_said, spent={}))
        last = STEPS * call + STEPS - 1
        answers = await self._ask_all(known, worker, last, {s: part.turn for s, part in parts.items()})
        if said is not None:
            await self._blocks.spread([*heard, *answers.values()])
        for s, before in first.items():
            answers[s] = _joined(before, answers[s])
        known.answers.clear()
        merged = self._merged(gather_flags(parts, answers, turn), answers)
        refused, stale = gather_refused(parts, answers), gather_stale(parts, answers)
        merged = replace(merged, refused=refused, stale=stale) if refused or stale else merged
        return merged if turn.log is None else logged(merged, gather_log(parts, answers, turn, turn.log))

    async def _pushed(
        self,
        known: _Call,
        worker: str,
        pushes: Mapping[int, ShardTurn],
        said: Budgeting | None,
        heard: list[Exchange],
    ) -> dict[int, Exchange]:
        """Store, before anything else is done; what needs a block of a budget's is stored when it is there.
        *heard* gets all answers.
        """
        first = STEPS * known.number
        answers = await self._ask_all(known, worker, first, pushes)
        heard += answers.values()
        waiting = {s: (one, one.waiting) for s, one in answers.items() if isinstance(one, BlockAnswer) and one.waiting}
        for step in range(1, STEPS - 1):
            if not waiting or said is None:
                break
            needed = {s: one.needed for s, (one, _) in waiting.items()}
            entries = {s: [pushes[s].push[i] for i in places] for s, (_, places) in waiting.items()}
            told = await self._blocks.drawn(needed, entries, said, is_last=step == STEPS - 2)
            again = {
                s: ShardTurn(push=some, bounds=Bounds(budgets=told[s]), log=pushes[s].log)
                for s, some in entries.items()
            }
            late = await self._ask_all(known, worker, first + step, again)
            heard += late.values()
            for s, now in late.items():
                _, places = waiting.pop(s)
                answers[s] = _filled(answers[s], places, now)
                if isinstance(now, BlockAnswer) and now.waiting:
                    waiting[s] = (now, [places[i] for i in now.waiting])
        return answers

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

    async def _ask_all(
        self, known: _Call, worker: str, number: int, turns: Mapping[int, ShardTurn]
    ) -> dict[int, Exchange]:
        """Each shard's answer. One that came is kept, so that repeating the call asks only those
        that gave none.
        """

        async def ask(shard: int, turn: ShardTurn) -> Exchange:
            if (told := known.answers.get((number, shard))) is not None:
                return told
            answer = await self._ask(worker, number, shard, turn)
            known.answers[number, shard] = answer
            settled = sum(answer.acked) + sum(answer.released) + sum(answer.buried)
            if turn.log is not None:
                log = log_of(answer)
                settled += sum(log.moved) + sum(log.kept) - sum(lease is not None for lease in log.transit)
            held = self._held.setdefault(worker, {})
            held[shard] = max(0, held.get(shard, 0) + len(answer.leases) - settled)
            self._sizes[shard] = answer.size
            return answer

        answers = await gather_all([ask(shard, turn) for shard, turn in turns.items()])
        return dict(zip(turns, answers, strict=True))

    def _merged(self, flags: Sequence[Sequence[bool]], answers: Mapping[int, Exchange]) -> Exchange:
        everyone = answers.values()
        dues = [a.next_due for a in everyone if a.next_due is not None]
        leases: list[Lease] = [lease for a in everyone for lease in a.leases]
        stored, acked, released, buried, kept = flags
        return Exchange(
            stored,
            acked,
            released,
            buried,
            leases,
            size=sum((self._sizes.get(s, QueueSize()) for s in range(self._shards.count)), QueueSize()),
            next_due=min(dues, default=None),
            state=answers[0].state,
            lost=any(a.lost for a in everyone),
            reclaimed=sum(a.reclaimed for a in everyone),
            given_up=sum(a.given_up for a in everyone),
            permits={name: n for a in everyone for name, n in a.permits.items()},
            crowded=[name for a in everyone for name in a.crowded],
            held={name: seconds for a in everyone for name, seconds in a.held.items()},
            silence=answers[0].silence,  # of the shard that everybody calls
            rules=answers[0].rules,
            rule_sets=answers[0].rule_sets,
            stalled=sum(a.stalled for a in everyone),
            withdrawn=[one for a in everyone for one in a.withdrawn],
            kept=kept,
            positioned=answers[0].positioned,
        )


def _filled(before: Exchange, places: Sequence[int], now: Exchange) -> Exchange:
    """*before*, whose pushes at *places* waited for blocks: *now* is the answer to these."""
    stored, refused = list(before.stored), dict(before.refused)
    for place, is_stored in zip(places, now.stored, strict=True):
        stored[place] = is_stored
    refused.update({places[i]: which for i, which in now.refused.items()})
    stale = before.stale.union(places[i] for i in now.stale)
    both = replace(_joined(before, now), stored=stored, refused=refused, stale=stale)
    if log_of(now).transit:
        transit = list(log_of(before).transit)
        for place, lease in zip(places, log_of(now).transit, strict=True):
            transit[place] = lease
        both = logged(both, LogAnswer(transit))
    return both


def _joined(first: Exchange, second: Exchange) -> Exchange:
    """The answers of one shard to the two steps of a call."""
    both = replace(
        second,
        stored=first.stored,
        lost=first.lost or second.lost,
        reclaimed=first.reclaimed + second.reclaimed,
        given_up=first.given_up + second.given_up,
        permits={**first.permits, **second.permits},
        held={**first.held, **second.held},
        silence=max(first.silence, second.silence),
        stalled=first.stalled + second.stalled,
        refused=first.refused,
        stale=first.stale,
        withdrawn=(*first.withdrawn, *second.withdrawn),
    )
    return logged(both, joined_log(first, second)) if isinstance(second, BlockAnswer) and second.log else both
