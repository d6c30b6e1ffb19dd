"""How budgets travel between the queue and its scripts, see ``lua/lib/budgets.lua``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from mocra_scrapy.models import Budgeting, BudgetLimits, BudgetState, Exchange, LogAnswer, Withdrawn
from mocra_scrapy.models.budgets import COUNTED

#: What a push is answered with that the first of :data:`~mocra_scrapy.models.budgets.COUNTED` refused.
FIRST = ord("a")
#: What a push is answered with that waits for a block.
WAITS = FIRST - 1
#: Of a budget of time, in ms.
LONGEST = 10**14


@dataclass(frozen=True, slots=True)
class ShardBudgeting(Budgeting):
    """What one of several shards is told; ``begin`` in ``lua/lib/budgets.lua`` says what it makes of
    these.
    """

    shares: Mapping[str, Any] = field(default_factory=dict)
    dry: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlockAnswer(Exchange):
    """An answer of one of several shards that has something to say of blocks, or one where a log keeps
    the requests.

    Attributes:
        log: what it says of transit.
        waiting: places of pushes that were neither stored nor refused.
        needed: name, number of these that count for it, and how it stands on this shard.
        used_up: name -> what the other shards have to learn.
    """

    waiting: Sequence[int] = ()
    needed: Sequence[Any] = ()
    used_up: Mapping[bytes, Any] = field(default_factory=dict)
    log: LogAnswer | None = None


def pack_budgeting(said: Budgeting) -> Mapping[str, Any]:
    """The argument of ``budgets.begin``."""
    asked: dict[str, Any] = {"told": round(said.told * 1000)}
    if said.limits:
        asked["limits"] = {name: limits_argument(limits) for name, limits in said.limits.items()}
    if said.spent:
        asked["spent"] = {name: [spent.bytes, spent.errors] for name, spent in said.spent.items()}
    if isinstance(said, ShardBudgeting):
        asked["wide"] = 1
        if said.shares:
            asked["shares"] = said.shares
        if said.dry:
            asked["dry"] = said.dry
    return asked


def limits_argument(limits: BudgetLimits) -> list[int]:
    """The five, -1 for any amount."""
    *numbers, seconds = (getattr(limits, which) for which in COUNTED)
    ms = None if seconds is None else min(LONGEST, round(seconds * 1000))
    return [-1 if number is None else number for number in (*numbers, ms)]


def open_refused(flags: bytes) -> Mapping[int, str]:
    """Which pushes were refused, and by which budget."""
    if max(flags, default=0) < FIRST:
        return {}
    return {i: COUNTED[flag - FIRST] for i, flag in enumerate(flags) if flag >= FIRST}


def open_withdrawn(told: Sequence[Any], bodies: Sequence[Any]) -> list[Withdrawn]:
    shown: dict[int, list[bytes]] = {}
    for at, body in zip(bodies[::2], bodies[1::2], strict=True):
        shown.setdefault(int(at), []).append(body)
    return [
        Withdrawn(COUNTED[int(which) - 1], slot.decode("utf-8", "surrogateescape"), int(n), tuple(shown.get(place, ())))
        for place, (which, slot, n) in enumerate(told, 1)
    ]


def with_blocks(answer: Exchange, told: Mapping[bytes, Any]) -> Exchange:
    """*answer*, and what *told* has of blocks."""
    if b"needed" not in told and b"used_up" not in told:
        return answer
    waiting = [i for i, flag in enumerate(told.get(b"stored", b"")) if flag == WAITS]
    plain = {one.name: getattr(answer, one.name) for one in fields(Exchange)}
    return BlockAnswer(**plain, waiting=waiting, needed=told.get(b"needed", ()), used_up=told.get(b"used_up", {}))


def open_budget(name: bytes, raw: Sequence[Any]) -> tuple[float, BudgetState]:
    """What ``budgets_look.lua`` says of one, and since when its limits are told."""
    (pages, queued, size, errors, ms), limits, flat, told = raw
    numbers = [None if limit < 0 else int(limit) for limit in limits]
    seconds = None if limits[4] < 0 else limits[4] / 1000
    refused = {COUNTED[int(which) - 1]: int(n) for which, n in zip(flat[::2], flat[1::2], strict=True)}
    return told, BudgetState(
        name.decode("utf-8", "surrogateescape"),
        int(pages),
        int(queued),
        int(size),
        int(errors),
        ms / 1000,
        BudgetLimits(numbers[0], numbers[1], numbers[2], numbers[3], seconds),
        refused,
    )
