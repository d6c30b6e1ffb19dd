"""A look at all budgets of a crawl, a bounded number a step."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence

import msgpack

from mocra_scrapy.backends.redis.budgets_wire import open_budget
from mocra_scrapy.backends.redis.connection.scripts import load_script
from mocra_scrapy.backends.redis.shards import Shards
from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.models import BudgetState

LOOK = load_script("budgets_look")


async def look_at_budgets(shards: Shards, kind: str) -> Sequence[BudgetState]:
    """Of all shards, of names that begin with *kind*."""

    async def one(shard: int) -> list[tuple[float, BudgetState]]:
        found: dict[bytes, tuple[float, BudgetState]] = {}  # a scan may tell one twice
        cursor = b"0"
        while True:
            cursor, *flat = await shards.run(LOOK, shard, cursor, kind)
            for name, raw in zip(flat[::2], flat[1::2], strict=True):
                try:
                    found[name] = open_budget(name, msgpack.unpackb(raw, raw=True, strict_map_key=False))
                except (ValueError, TypeError, LookupError, struct.error, msgpack.UnpackException) as error:
                    raise BackendCorrupted(f"the counts of budget {name!r} can't be read: {error}") from error
            if cursor == b"0":
                return list(found.values())

    found: dict[str, tuple[float, BudgetState]] = {}
    for states in await shards.everywhere(one):
        for told, state in states:
            found[state.name] = _together(found[state.name], (told, state)) if state.name in found else (told, state)
    return [state for _, state in found.values()]


def _together(a: tuple[float, BudgetState], b: tuple[float, BudgetState]) -> tuple[float, BudgetState]:
    """Of one name, on two shards: pages and what waits are counted where they are stored, the rest at
    home.
    """
    (_, first), (_, second) = a, b
    told, latest = max(a, b, key=lambda one: one[0])
    return told, BudgetState(
        first.name,
        first.pages + second.pages,
        first.queued + second.queued,
        max(first.bytes, second.bytes),
        max(first.errors, second.errors),
        max(first.time, second.time),
        latest.limits,
        Counter(first.refused) + Counter(second.refused),
    )
