"""``RedisRequestQueue``: the rules of :class:`~mocra_scrapy.interfaces.IRequestQueue` on Redis, Valkey or a cluster of them.

One script a shard and turn, see ``lua/_prelude.lua`` for the keys. A slot lives on one shard, so the filter, the order and the
fairness within it need no agreement between shards; what needs one (children before their parent, the end) is done here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar
from zlib import crc32

from zope.interface import implementer

from mocra_scrapy.backends.redis.client import RedisClient, load_script
from mocra_scrapy.backends.redis.wakeups import Wakeups
from mocra_scrapy.backends.redis.wire import (
    ShardAnswer,
    ShardTurn,
    fingerprint_number,
    open_answer,
    open_item,
    open_letter,
    open_state,
    pack_turn,
)
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import IRequestQueue
from mocra_scrapy.models import (
    Burial,
    CrawlState,
    DeadLetter,
    Entry,
    Exchange,
    Finish,
    Lease,
    QueueOptions,
    QueueSize,
    WorkerInfo,
)

T = TypeVar("T")

EXCHANGE, JOIN, LEAVE, SEEDING, FINISH, STATE, SIZE, WORKERS, PEEK, DEAD, FORGET = (
    load_script(name)
    for name in (
        "exchange",
        "join",
        "leave",
        "seeding",
        "finish",
        "state",
        "size",
        "workers",
        "peek",
        "dead",
        "forget",
    )
)


def quote_name(crawl: str) -> str:
    """*crawl* as a part of key names: no braces (hash tags), colons, blanks or glob characters."""
    return "".join(c if c.isalnum() or c in "_.-" else "".join(f"%{b:02x}" for b in c.encode()) for c in crawl)


@implementer(IRequestQueue)
class RedisRequestQueue:
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
        self._client = client
        self._name = quote_name(crawl)
        self._prefix = prefix
        self._channel = f"{prefix}:{self._name}:wake"
        self._default_shards = default_shards
        self._shards = options.shards or 0  # 0: not known before the first look at the crawl's record
        self._sizes: dict[int, QueueSize] = {}
        self._turn = 0
        self._held: dict[str, dict[int, int]] = {}  # worker -> shard -> entries it holds there
        self._confirmed: dict[str, tuple[int, dict[tuple[int, int], ShardAnswer]]] = {}  # worker -> its last call
        self._wakeups = Wakeups(client, self._channel)

    # ------------------------------------------------------------------ shards

    def _key(self, shard: int) -> str:
        return f"{self._prefix}:{{{self._name}:{shard}}}:meta"

    async def _run(self, script: Any, shard: int, *args: Any) -> Any:
        return await self._client.run(script, [self._key(shard)], args)

    async def _known_shards(self) -> int:
        if not self._shards:
            record = await self._run(STATE, 0, "look")
            self._shards = int(record[3]) or self._default_shards
        return self._shards

    async def _everywhere(self, one: Callable[[int], Awaitable[T]]) -> list[T]:
        return list(await _all([one(shard) for shard in range(await self._known_shards())]))

    def _shard_of(self, slot: str) -> int:
        return crc32(slot.encode("utf-8", "surrogateescape")) % self._shards if self._shards > 1 else 0

    # ------------------------------------------------------------------ coming and going

    async def join(self, worker: str) -> CrawlState:
        lease, keep = str(int(self.options.lease * 1000)), str(int(self.options.keep_seen))
        wish = self.options.shards or 0
        record = await self._run(JOIN, 0, worker, lease, "1", "0", keep, str(wish or -self._default_shards))
        if record[0] == b"shards":
            raise ConfigurationError(
                "MOCRA_SHARDS",
                f"crawl {self.crawl!r} was begun with {int(record[1])} shards, not {wish}",
                f"Set it to {int(record[1])}, or leave it out, or delete the crawl first",
            )
        self._shards = int(record[4])
        run = open_state(record)
        await _all(
            [self._run(JOIN, s, worker, lease, "0", str(run.run), keep, "0") for s in range(1, self._shards)],
        )
        await self._wakeups.listen(worker)
        return CrawlState(run.run, run.finished, run.seeding, resumed=bool(int(record[3])))

    async def close_worker(self, worker: str) -> int:
        isolate = str(self.options.isolate_after)

        async def leave(shard: int) -> int:
            given = 0
            while True:
                some, left = await self._run(LEAVE, shard, worker, isolate, str(int(shard == 0)), self._channel)
                given += int(some)
                if not int(left):
                    return given

        given = sum(await self._everywhere(leave))
        self._held.pop(worker, None)
        self._confirmed.pop(worker, None)
        await self._wakeups.forget(worker)
        return given

    async def claim_seeding(self, worker: str) -> bool:
        lease = str(int(self.options.lease * 1000))
        return bool(int(await self._run(SEEDING, 0, "claim", worker, lease, self._channel)))

    async def complete_seeding(self, worker: str) -> bool:
        return bool(int(await self._run(SEEDING, 0, "complete", worker, "0", self._channel)))

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
        full: Sequence[str] = (),
        per_slot: int = 0,
    ) -> Exchange:
        await self._known_shards()
        if self._confirmed.get(worker, (0,))[0] != call:
            self._confirmed[worker] = (call, {})
        turns = self._divide(worker, push, ack, release, bury, want)

        async def ask(turn: ShardTurn, phase: int, shard: int) -> ShardAnswer:
            return await self._ask(worker, 2 * call + phase, shard, turn, full, per_slot)

        # Children are stored before their parent goes: where these are on different shards, in two steps.
        pushing = {s for s, t in turns.items() if t.push}
        settling = {s for s, t in turns.items() if t.ack}
        first: dict[int, ShardAnswer] = {}
        if settling and pushing and len(pushing | settling) > 1:
            pushes = {s: ShardTurn(push=turns[s].push) for s in pushing}
            answers = await _all([ask(turn, 0, s) for s, turn in pushes.items()])
            first = dict(zip(pushes, answers, strict=True))
            for s in pushing:
                turns[s].push = []
        answers = await _all([ask(turn, 1, s) for s, turn in turns.items()])
        second = dict(zip(turns, answers, strict=True))
        for s, answer in first.items():
            second[s].stored = answer.stored
            second[s].lost |= answer.lost
            second[s].reclaimed += answer.reclaimed
            second[s].given_up += answer.given_up
        return await self._merge(turns, second, (len(push), len(ack), len(release), len(bury)))

    def _divide(
        self,
        worker: str,
        push: Sequence[Entry],
        ack: Sequence[Lease],
        release: Sequence[Lease],
        bury: Sequence[Burial],
        want: int,
    ) -> dict[int, ShardTurn]:
        """What each shard has to do with this turn. Shard 0 always has: the crawl's record is there."""
        shards = self._shards
        turns: dict[int, ShardTurn] = {0: ShardTurn()}
        if shards == 1:
            everything = range(max(len(push), len(ack), len(release), len(bury)))
            turns[0] = ShardTurn(
                list(push),
                list(everything[: len(push)]),
                list(ack),
                list(everything[: len(ack)]),
                list(release),
                list(everything[: len(release)]),
                list(bury),
                list(everything[: len(bury)]),
                want,
            )
            return turns
        for i, entry in enumerate(push):
            turn = turns.setdefault(self._shard_of(entry.slot), ShardTurn())
            turn.push.append(entry)
            turn.push_at.append(i)
        for i, lease in enumerate(ack):
            turn = turns.setdefault(lease.shard, ShardTurn())
            turn.ack.append(lease)
            turn.ack_at.append(i)
        for i, lease in enumerate(release):
            turn = turns.setdefault(lease.shard, ShardTurn())
            turn.release.append(lease)
            turn.release_at.append(i)
        for i, burial in enumerate(bury):
            turn = turns.setdefault(burial.lease.shard, ShardTurn())
            turn.bury.append(burial)
            turn.bury_at.append(i)
        for shard, held in self._held.get(worker, {}).items():
            if held > 0:
                turns.setdefault(shard, ShardTurn())  # each call renews all that the worker holds
        if want > 0:
            for shard, share in self._shares(want).items():
                turns.setdefault(shard, ShardTurn()).want = share
        return turns

    def _shares(self, want: int) -> dict[int, int]:
        """How many to ask of which shard: of those that have something if any is known to, else of all, in turn."""
        self._turn += 1
        order = [(s + self._turn) % self._shards for s in range(self._shards)]
        promising = [s for s in order if s not in self._sizes or self._sizes[s].pending > 0] or order
        each, rest = divmod(want, len(promising))
        return {s: each + (1 if i < rest else 0) for i, s in enumerate(promising) if each or i < rest}

    async def _ask(
        self, worker: str, number: int, shard: int, turn: ShardTurn, full: Sequence[str], per_slot: int
    ) -> ShardAnswer:
        """One shard's part. An answer that came is kept, so that repeating the call asks only those that gave none."""
        confirmed = self._confirmed[worker][1]
        if (known := confirmed.get((number, shard))) is not None:
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
            options.max_dead,
            int(shard == 0),
            self._channel,
            full=full,
            per_slot=per_slot,
        )
        answer = open_answer(await self._run(EXCHANGE, shard, packed), number, shard)
        confirmed[number, shard] = answer
        settled = sum(answer.acked) + sum(answer.released) + sum(answer.buried)
        held = self._held.setdefault(worker, {})
        held[shard] = max(0, held.get(shard, 0) + len(answer.leases) - settled)
        self._sizes[shard] = answer.size
        return answer

    async def _merge(
        self, turns: dict[int, ShardTurn], answers: dict[int, ShardAnswer], lengths: tuple[int, int, int, int]
    ) -> Exchange:
        if self._shards == 1:
            a = answers[0]
            state = a.state
            flags = [a.stored, a.acked, a.released, a.buried]
            leases: Sequence[Lease] = a.leases
            size = a.size
        else:
            flags = [[False] * n for n in lengths]
            leases = []
            for shard, turn in turns.items():
                a = answers[shard]
                for out, at, got in (
                    (flags[0], turn.push_at, a.stored),
                    (flags[1], turn.ack_at, a.acked),
                    (flags[2], turn.release_at, a.released),
                    (flags[3], turn.bury_at, a.buried),
                ):
                    for i, flag in zip(at, got, strict=True):
                        out[i] = flag
                leases.extend(a.leases)
            size = sum((self._sizes.get(s, QueueSize()) for s in range(self._shards)), QueueSize())
            state = answers[0].state
            if state.finished and size.unfinished:
                # Somebody pushed to another shard than the record's after the end: the run goes on.
                state = open_state(await self._run(STATE, 0, "reopen"))
        dues = [a.next_due for a in answers.values() if a.next_due is not None]
        return Exchange(
            *flags,
            leases,
            size,
            min(dues, default=None),
            state,
            any(a.lost for a in answers.values()),
            sum(a.reclaimed for a in answers.values()),
            sum(a.given_up for a in answers.values()),
        )

    async def wait(self, worker: str, timeout: float) -> bool:
        return await self._wakeups.wait(worker, timeout)

    # ------------------------------------------------------------------ the end

    async def finish(self, worker: str) -> Finish:
        async def look(shard: int) -> list[int]:
            return [int(n) for n in await self._run(FINISH, shard, "look")]

        # No step sees all shards at once. Two equal looks do: between them nothing was stored anywhere, and nothing was left.
        before = await self._everywhere(look)
        if any(sum(shard[:3]) for shard in before):
            return Finish.BUSY
        if len(before) > 1 and before != await self._everywhere(look):
            return Finish.BUSY
        verdict = await self._run(FINISH, 0, "end", worker, str(before[0][5]), self._channel)
        answer = Finish(verdict.decode())
        if answer is Finish.WON:
            await self._tidy()
        return answer

    async def _tidy(self) -> None:
        run, keep = str((await self.state()).run), str(int(self.options.keep_seen))

        async def tidy(shard: int) -> None:
            while int(await self._run(FINISH, shard, "tidy", keep, run)):
                pass

        await self._everywhere(tidy)

    async def clear(self) -> None:
        await self._client.delete_keys(f"{self._prefix}:{{{self._name}:*}}:*")
        self._shards = self.options.shards or 0
        self._sizes.clear()
        self._held.clear()

    async def close(self) -> None:
        await self._wakeups.close()

    # ------------------------------------------------------------------ looking

    async def state(self) -> CrawlState:
        return open_state(await self._run(STATE, 0, "look"))

    async def size(self) -> QueueSize:
        async def one(shard: int) -> QueueSize:
            return QueueSize(*map(int, await self._run(SIZE, shard)))

        return sum(await self._everywhere(one), QueueSize())

    async def workers(self) -> Sequence[WorkerInfo]:
        async def one(shard: int) -> list[Any]:
            return list(await self._run(WORKERS, shard))

        merged: dict[str, WorkerInfo] = {}
        for flat in await self._everywhere(one):
            for i in range(0, len(flat), 3):
                name, left, held = flat[i].decode(), int(flat[i + 1]) / 1000, int(flat[i + 2])
                known = merged.get(name, WorkerInfo(name, left, 0))
                merged[name] = WorkerInfo(name, max(left, known.expires_in), held + known.held)
        return sorted(merged.values(), key=lambda info: info.name)

    async def peek(self, limit: int = 10) -> Sequence[Entry]:
        entries: list[Entry] = []
        for shard in range(await self._known_shards()):
            flat = await self._run(PEEK, shard, str(limit - len(entries))) if limit > len(entries) else []
            for i in range(0, len(flat), 3):
                priority, normal = divmod(int(flat[i + 1]), 2)
                slot = flat[i].decode("utf-8", "surrogateescape")
                entries.append(Entry(open_item(flat[i + 2])[2], slot, priority, None, not normal))
        return entries

    # ------------------------------------------------------------------ dead letters, the filter

    async def dead(self, limit: int = 100, *, after: str | None = None) -> Sequence[DeadLetter]:
        async def one(shard: int) -> list[DeadLetter]:
            flat = await self._run(DEAD, shard, "page", str(limit), _before_shard(after))
            return [open_letter(flat[i] + b"-%d" % shard, flat[i + 1]) for i in range(0, len(flat), 2)]

        letters = sorted((x for page in await self._everywhere(one) for x in page), key=lambda x: x.id)
        return [letter for letter in letters if after is None or letter.id > after][:limit]

    async def replay(self, ids: Sequence[str]) -> Sequence[bool]:
        return await self._by_shard(ids, "replay", str(int(self.options.lifo)), self._channel)

    async def purge(self, ids: Sequence[str]) -> Sequence[bool]:
        return await self._by_shard(ids, "purge")

    async def _by_shard(self, ids: Sequence[str], *head: str) -> Sequence[bool]:
        """Run ``dead.lua`` where each letter is; its id ends with the shard."""
        shards = await self._known_shards()
        found = [False] * len(ids)
        groups: dict[int, list[int]] = {}
        for i, identity in enumerate(ids):
            shard = identity.rpartition("-")[2]
            if shard.isdecimal() and int(shard) < shards:
                groups.setdefault(int(shard), []).append(i)
        for shard, places in groups.items():
            for at in range(0, len(places), 200):
                some = places[at : at + 200]
                names = [ids[i].rpartition("-")[0] for i in some]
                for i, flag in zip(some, await self._run(DEAD, shard, *head, *names), strict=True):
                    found[i] = bool(int(flag))
        return found

    async def forget(self, fingerprints: Sequence[bytes]) -> Sequence[bool]:
        numbers = [fingerprint_number(fp) for fp in fingerprints]
        known = [False] * len(numbers)
        for at in range(0, len(numbers), 200):
            some = numbers[at : at + 200]

            async def one(shard: int, some: Sequence[str] = some) -> list[Any]:
                return list(await self._run(FORGET, shard, *some))

            for answer in await self._everywhere(one):
                for i, flag in enumerate(answer):
                    known[at + i] |= bool(int(flag))
        return known


def _before_shard(identity: str | None) -> str:
    return "" if identity is None else identity.rpartition("-")[0]


async def _all(calls: Sequence[Coroutine[Any, Any, T] | Awaitable[T]]) -> Sequence[T]:
    """All answers, in order; when some fail the first failure, but not before every call has ended."""
    if len(calls) == 1:
        return [await calls[0]]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers  # type: ignore[return-value]
