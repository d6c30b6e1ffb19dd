"""``RedisStalls``: the verbs of :class:`~mocra_scrapy.interfaces.IStalls`, on the keys of the crawl's
queue.

A slot's clock is on the slot's shard, where its entries are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
from zope.interface import implementer

from mocra_scrapy.backends.redis.connection.client import RedisClient
from mocra_scrapy.backends.redis.connection.scripts import Script, load_script
from mocra_scrapy.backends.redis.shards import Shards, gather_all
from mocra_scrapy.interfaces import IStalls
from mocra_scrapy.models import Attempts, QueueOptions, StallRules, StallState

REPORT, LOOK, RESET = (load_script(f"stall_{verb}") for verb in ("report", "look", "reset"))
LONGEST = 10**12  # ms: the greatest age and wait


def _ms(seconds: float) -> int:
    return min(LONGEST, round(min(seconds, 1e9) * 1000))


def _state(raw: Sequence[Any]) -> StallState:
    name, attempts, ms, why = raw
    return StallState(name.decode("utf-8", "surrogateescape"), int(attempts), ms / 1000, why.decode("utf-8", "replace"))


@implementer(IStalls)
class RedisStalls:
    """One crawl's failing slots; see :class:`~mocra_scrapy.backends.redis.queue.RedisRequestQueue`
    for the other arguments.
    """

    def __init__(
        self,
        client: RedisClient,
        prefix: str,
        crawl: str,
        options: QueueOptions,
        default_shards: int = 1,
        *,
        rules: StallRules,
    ) -> None:
        self.rules = rules
        self._shards = Shards(client, prefix, crawl, options.shards, default_shards)
        self._rules = {
            "throttled": int(options.rules is not None and not options.scopes),
            "channel": self._shards.channel,
            "longest": round(rules.longest * 1000),
            "attempts": rules.attempts,
        }

    async def _ask(self, script: Script, shard: int, **asked: Any) -> Any:
        return await self._shards.ask(script, shard, {**self._rules, **asked})

    async def report(self, attempts: Sequence[Attempts]) -> Sequence[StallState]:
        await self._shards.known()
        groups: dict[int, list[Any]] = {}
        for one in attempts:
            told = [one.slot, int(one.failed), _ms(one.age), _ms(one.hold), _ms(one.working), one.why]
            groups.setdefault(self._shards.of(one.slot), []).append(told)
        answers = await gather_all([self._ask(REPORT, shard, told=told) for shard, told in groups.items()])
        opened = (msgpack.unpackb(answer, raw=True, strict_map_key=False) for answer in answers)
        return [_state(raw) for told in opened for raw in told or ()]

    async def look(self, slot: str) -> StallState:
        await self._shards.known()
        return _state(msgpack.unpackb(await self._ask(LOOK, self._shards.of(slot), name=slot), raw=True))

    async def reset(self, slot: str) -> bool:
        await self._shards.known()
        return bool(await self._ask(RESET, self._shards.of(slot), name=slot))
