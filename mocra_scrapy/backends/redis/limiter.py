"""``RedisRateLimiter``: the verbs of :class:`~mocra_scrapy.interfaces.IRateLimiter`, on the keys of
the crawl's queue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import Script, load_script
from mocra_scrapy.backends.redis.exchange_wire import open_departure, pack_departure
from mocra_scrapy.backends.redis.rules_wire import UNKNOWN_RULES, pack_own, pack_quotas, packed
from mocra_scrapy.backends.redis.shards import Shards, gather_all
from mocra_scrapy.interfaces import IRateLimiter
from mocra_scrapy.models import Booking, LimitChange, QueueOptions, Quota, QuotaState, Reservation, SlotLimit, SlotState
from mocra_scrapy.models.entries import BETWEEN, names_of
from mocra_scrapy.models.rule_sets import smallest

RESERVE, HOLD, RESUME, LOOK, CHANGE, QUOTAS, SLOW_DOWN, SLOTS = (
    load_script(f"limit_{verb}")
    for verb in ("reserve", "hold", "resume", "look", "change", "quotas", "slow_down", "slots")
)
#: Where names of slots and scopes are stored, and whether it is a hash; see ``lua/lib/meta.lua``.
PLACES = {"ready": 0, "permits": 1, "live": 1, "hold": 0, "br:at": 0, "stall:at": 0, "stalled": 1}
#: In front of a gate's name, in ``ready``; what the stores write beside slots and is none.
GATE, NO_SLOTS = BETWEEN * 2, ("@", BETWEEN)


def _packed(wish: Reservation) -> list[Any]:
    packed = [list(wish.names), round(wish.max_wait * 1e6)]
    return packed if wish.instead is None else [*packed, pack_departure(wish.instead)]


@implementer(IRateLimiter)
class RedisRateLimiter:
    """The limits of one crawl; see :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue`
    for the arguments.

    A reservation whose answer was lost is not repeated here: a departure that nobody uses costs one
    interval, nothing more.
    """

    def __init__(
        self, client: RedisClient, prefix: str, crawl: str, options: QueueOptions, default_shards: int = 1
    ) -> None:
        self._shards = Shards(client, prefix, crawl, options.shards, default_shards)
        self._rules = options.rules

    async def _ask(self, script: Script, shard: int, **asked: Any) -> Any:
        asked["channel"] = self._shards.channel
        if self._rules is not None:
            asked["rules"] = self._rules.digest
        answer = await self._shards.run(script, shard, packed(asked))
        if answer == UNKNOWN_RULES:  # no living worker has them: they count for this call
            answer = await self._shards.run(script, shard, packed({**asked, "own": pack_own(self._rules)}))
        return answer

    async def _on(self, name: str, script: Script, **asked: Any) -> Any:
        await self._shards.known()
        return await self._ask(script, self._shards.of(name), name=name, **asked)

    async def reserve(self, wishes: Sequence[Reservation]) -> Sequence[Booking]:
        await self._shards.known()
        groups: dict[int, list[int]] = {}
        for i, wish in enumerate(wishes):
            groups.setdefault(self._shards.of(wish.names[0]), []).append(i)

        async def ask(shard: int, positions: list[int]) -> list[list[float]]:
            some = [_packed(wishes[i]) for i in positions]
            return list(msgpack.unpackb(await self._ask(RESERVE, shard, wishes=some)))

        answers = await gather_all([ask(shard, positions) for shard, positions in groups.items()])
        bookings = [Booking(0.0, False)] * len(wishes)
        for positions, answer in zip(groups.values(), answers, strict=True):
            for i, (us, *booking) in zip(positions, answer, strict=True):
                if us >= 0:
                    bookings[i] = Booking(us / 1e6, True, open_departure(wishes[i].names, booking))
                else:
                    bookings[i] = Booking((-1 - us) / 1e6, False)
        return bookings

    async def hold(self, name: str, seconds: float) -> None:
        await self._on(name, HOLD, us=round(max(0.0, seconds) * 1e6))

    async def pause(self, name: str) -> None:
        await self._on(name, HOLD, us=-1)

    async def resume(self, name: str) -> None:
        await self._on(name, RESUME)

    async def slow_down(
        self,
        name: str,
        *,
        floor: float,
        recovery: float,
        most: float,
        calm: float,
        rate: float = 0.0,
        worker: str = "",
    ) -> float:
        rule = {
            "rate": rate,
            "worker": worker,
            "floor": round(floor * 1e6),
            "recovery": recovery,
            "most": round(most * 1e6),
            "calm": round(calm * 1000),
        }
        return float(await self._on(name, SLOW_DOWN, **rule)) / 1e6

    async def change(self, name: str, change: LimitChange) -> None:
        interval = -1 if change.interval is None else round(change.interval * 1e6)
        burst = -1 if change.burst is None else change.burst
        concurrency = -1 if change.concurrency is None else change.concurrency
        lasts = None if change.lasts is None else max(1, round(change.lasts * 1000))
        more = {} if lasts is None else {"lasts": lasts}
        if change.least is not None:
            more["least"] = round(change.least * 1e6)
        if change.tells_least_only:
            more["leaves_rest"] = 1
        adapted = int(change.adapted)
        await self._on(name, CHANGE, interval=interval, burst=burst, concurrency=concurrency, adapted=adapted, **more)

    async def set_quotas(self, name: str, quotas: Sequence[Quota] | None) -> None:
        await self._on(name, QUOTAS, **({} if quotas is None else {"quotas": pack_quotas(smallest(quotas))}))

    async def reset(self, name: str) -> None:
        await self._on(name, CHANGE, interval=-1, burst=-1, concurrency=-1, adapted=0, is_reset=1)

    async def slots(self) -> Mapping[str, int]:
        answers = await self._shards.everywhere(self._slots_of)
        return {name: n for answer in answers for name, n in answer.items()}

    async def _slots_of(self, shard: int) -> dict[str, int]:
        lists: dict[str, int] = {}
        gates: list[str] = []
        for key, is_hash in PLACES.items():
            for name, n in (await self._names_in(shard, key, is_hash)).items():
                if name.startswith(GATE):
                    gates.append(name.removeprefix(GATE))
                elif name not in NO_SLOTS:
                    lists[name] = max(n, lists.get(name, 0))
        for gate in gates:
            lists.update(await self._names_in(shard, f"behind:{gate}", 0))
        found: dict[str, int] = {}
        for list_name, n in lists.items():
            slot, *scopes = names_of(list_name)
            found[slot] = found.get(slot, 0) + n
            for scope in scopes:
                found.setdefault(scope, 0)
        return found

    async def _names_in(self, shard: int, key: str, is_hash: int) -> dict[str, int]:
        found: dict[str, int] = {}
        cursor = "0"
        while True:
            asked = {"key": key, "cursor": cursor, **({"is_hash": 1} if is_hash else {})}
            raw, names, counts = msgpack.unpackb(await self._shards.ask(SLOTS, shard, asked), raw=True)
            found.update(zip((name.decode("utf-8", "surrogateescape") for name in names), counts, strict=True))
            cursor = raw.decode()
            if cursor == "0":
                return found

    async def look(self, name: str) -> SlotState:
        told = msgpack.unpackb(await self._on(name, LOOK))
        interval, wait, ends = told.get("changed_interval"), told["wait"], told.get("changed_ends")
        quotas = tuple(Quota(int(count), window / 1e6) for count, window in told["quotas"])
        states = zip(quotas, told["quota_states"], strict=True)
        least = told.get("changed_least")
        return SlotState(
            SlotLimit(
                told["interval"] / 1e6,
                int(told["burst"]),
                int(told["concurrency"]),
                float(told["jitter"]),
                told["floor"] / 1e6,
                quotas,
            ),
            max(0.0, wait / 1e6),
            wait < 0,
            told["slowed"] / 1e6,
            LimitChange(
                None if interval is None else interval / 1e6,
                told.get("changed_burst"),
                told.get("changed_concurrency"),
                bool(told.get("changed_adapted")),
                None if ends is None else ends / 1000,
                None if least is None else least / 1e6,
            ),
            int(told["permits"]),
            int(told["pending"]),
            told["held"] / 1e6,
            tuple(QuotaState(quota, int(used), wait / 1e6) for quota, (used, wait) in states),
        )
