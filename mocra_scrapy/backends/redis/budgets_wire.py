"""How budgets travel between the queue and its scripts, see ``lua/lib/budgets.lua``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mocra_scrapy.models import Budgeting, BudgetLimits, BudgetState, Withdrawn
from mocra_scrapy.models.budgets import COUNTED, kind_of_budget

#: What a push is answered with that the first of :data:`~mocra_scrapy.models.budgets.COUNTED` refused.
FIRST = ord("a")
#: Of a budget of time, in ms.
LONGEST = 10**14


def slot_of_budget(name: str) -> str:
    """What decides on which shard a name is counted: its slot. (Domains and seeds need one shard.)"""
    return kind_of_budget(name)[1]


def pack_budgeting(said: Budgeting) -> Mapping[str, Any]:
    """The argument of ``budgets.begin``."""
    asked: dict[str, Any] = {"told": round(said.told * 1000)}
    if said.limits:
        asked["limits"] = {name: _five(limits) for name, limits in said.limits.items()}
    if said.spent:
        asked["spent"] = {name: [spent.bytes, spent.errors] for name, spent in said.spent.items()}
    return asked


def _five(limits: BudgetLimits) -> list[int]:
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


def open_budget(name: bytes, raw: Sequence[Any]) -> BudgetState:
    """What ``budgets_look.lua`` says of one."""
    (pages, queued, size, errors, ms), limits, flat = raw
    numbers = [None if limit < 0 else int(limit) for limit in limits]
    seconds = None if limits[4] < 0 else limits[4] / 1000
    refused = {COUNTED[int(which) - 1]: int(n) for which, n in zip(flat[::2], flat[1::2], strict=True)}
    return BudgetState(
        name.decode("utf-8", "surrogateescape"),
        int(pages),
        int(queued),
        int(size),
        int(errors),
        ms / 1000,
        BudgetLimits(numbers[0], numbers[1], numbers[2], numbers[3], seconds),
        refused,
    )
