"""``RedisBreaker``: the verbs of :class:`~mocra_scrapy.interfaces.IBreaker`, on the keys of the
crawl's queue.

A slot's circuit is on the slot's shard, where its hold and its limit are written in the same step;
the crawl's is on shard 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import Script, load_script
from mocra_scrapy.backends.redis.shards import Shards, gather_all
from mocra_scrapy.interfaces import IBreaker
from mocra_scrapy.models import (
    BreakerChange,
    BreakerRules,
    BreakerState,
    Circuit,
    Outcome,
    QueueOptions,
    Tally,
    Threshold,
    Trip,
    Verdict,
    tally,
)

REPORT, LOOK, TRIPPED, OPEN, RESET = (
    load_script(f"breaker_{verb}") for verb in ("report", "look", "tripped", "open", "reset")
)
NEVER = 10**15  # ms: the age of what there is not


def _pack_threshold(threshold: Threshold | None) -> list[Any] | int:
    if threshold is None:
        return 0
    return [round(threshold.window * 1000), threshold.failures, threshold.share, threshold.least, threshold.slow_share]


def _ms(age: float) -> int:
    return min(NEVER, round(min(age, 1e12) * 1000))


def _pack_tally(one: Tally) -> list[Any]:
    kinds = [part for pair in one.kinds.items() for part in pair]
    return [one.slot, one.total, one.failed, kinds, _ms(one.good_age), _ms(one.failed_age)]


def _kinds(raw: Any) -> Mapping[str, int]:
    """An empty table comes as a list."""
    return {kind.decode(): int(n) for kind, n in raw.items()} if isinstance(raw, dict) else {}


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _state(raw: Sequence[Any]) -> BreakerState:
    name, circuit, wait, times, successes, failed, total, kinds = raw
    return BreakerState(
        _name(name),
        Circuit(int(circuit)),
        wait / 1000,
        int(times),
        int(successes),
        int(failed),
        int(total),
        _kinds(kinds),
    )


def _change(raw: Sequence[Any]) -> BreakerChange:
    name, before, after, hold, times, failed, total, kinds, *why = raw
    return BreakerChange(
        _name(name),
        Circuit(int(before)),
        Circuit(int(after)),
        hold / 1000,
        int(times),
        int(failed),
        int(total),
        _kinds(kinds),
        why[0].decode() if why else "",
    )


@implementer(IBreaker)
class RedisBreaker:
    """One crawl's circuits; see :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue` for
    the other arguments.
    """

    def __init__(
        self,
        client: RedisClient,
        prefix: str,
        crawl: str,
        options: QueueOptions,
        default_shards: int = 1,
        *,
        rules: BreakerRules,
    ) -> None:
        self.rules = rules
        self._shards = Shards(client, prefix, crawl, options.shards, default_shards)
        self._rules = {
            "channel": self._shards.channel,
            "slot": _pack_threshold(rules.slot),
            "crawl": _pack_threshold(rules.crawl),
            "hold": round(rules.hold * 1000),
            "longest": round(rules.longest * 1000),
            "probes": rules.probes,
            "openings": rules.openings,
            "ramp": round(rules.ramp * 1000),
        }

    async def _ask(self, script: Script, shard: int, **asked: Any) -> Any:
        return await self._shards.ask(script, shard, {**self._rules, **asked})

    async def _ask_packed(self, script: Script, shard: int, **asked: Any) -> Any:
        return msgpack.unpackb(await self._ask(script, shard, **asked), raw=True, strict_map_key=False)

    async def report(self, outcomes: Sequence[Outcome]) -> Verdict:
        await self._shards.known()
        slots, crawl = tally(outcomes, self.rules)
        groups: dict[int, list[Any]] = {0: []}  # shard 0 always: it knows of the crawl's last trip
        for one in slots:
            groups.setdefault(self._shards.of(one.slot), []).append(_pack_tally(one))

        async def ask(shard: int, mine: list[Any]) -> Any:
            everything = 0 if shard or crawl is None else _pack_tally(crawl)
            return await self._ask_packed(REPORT, shard, tallies=mine, total=everything)

        answers = await gather_all([ask(shard, mine) for shard, mine in groups.items()])
        trip = answers[0][1] or None
        return Verdict(
            tuple(_change(raw) for answer in answers for raw in answer[0]),
            None if trip is None else Trip(trip[0] / 1000, int(trip[1]), int(trip[2]), _kinds(trip[3])),
        )

    async def look(self, slot: str) -> BreakerState:
        await self._shards.known()
        return _state(await self._ask_packed(LOOK, self._shards.of(slot), name=slot))

    async def tripped(self, limit: int = 100) -> Sequence[BreakerState]:
        answers = await self._shards.everywhere(lambda shard: self._ask_packed(TRIPPED, shard, most=limit))
        return sorted((_state(raw) for answer in answers for raw in answer), key=lambda state: state.slot)[:limit]

    async def open(self, slot: str, seconds: float | None = None) -> bool:
        await self._shards.known()
        ms = round((self.rules.hold if seconds is None else seconds) * 1000)
        return bool(await self._ask(OPEN, self._shards.of(slot), name=slot, ms=ms))

    async def reset(self, slot: str) -> bool:
        await self._shards.known()
        return bool(await self._ask(RESET, self._shards.of(slot), name=slot))
