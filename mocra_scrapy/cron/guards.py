"""Guards from run to run: a crawl that went well by itself, and brought half of what it brought
yesterday. Pure.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mocra_scrapy.cron.expression import BadExpression, Expression, NotEnough
from mocra_scrapy.cron.state import ENDED, JobState, Run


def remembered(run: Run) -> dict[str, float]:
    """What earlier runs are asked for; nothing that nobody counted."""
    errors = [part.errors for part in run.parts if part.errors is not None]
    known: dict[str, float] = {}
    if run.items is not None:
        known["items"] = run.items
    if errors:
        known["errors"] = sum(errors)
    if run.started is not None and run.ended is not None:
        known["seconds"] = max(0.0, run.ended - run.started)
    return known


def guard(state: JobState, run_id: str, expect: str, stats: Mapping[str, Any]) -> JobState:
    """The run, if it succeeded and *expect* does not hold over the runs before, is ``unexpected``, with
    the numbers. With fewer than three successes before, nothing is expected.

    Args:
        stats: of the crawl, as ``success`` knows them; ``items``, ``errors`` and ``seconds`` are those
            of the whole run.
    """
    run = state.run(run_id)
    if not expect or run is None or run.state != ENDED or run.outcome != "succeeded":
        return state
    earlier = [
        remembered(one)
        for one in sorted(state.runs, key=lambda one: one.ended or 0.0)
        if one.outcome == "succeeded" and one.id != run_id
    ]
    known = {**stats, **remembered(run)}
    try:
        wanted = Expression(expect, earlier=True)
        if wanted.holds(known, earlier):
            return state
        reason = f"{expect} does not hold: {_numbers(wanted, known, earlier)}"
    except NotEnough:
        return state
    except BadExpression as error:
        reason = str(error)
    return state.with_run(replace(run, outcome="unexpected", reason=reason))


def _numbers(wanted: Expression, known: Mapping[str, Any], earlier: list[dict[str, float]]) -> str:
    told = [f"{name} = {known.get(name, 0)}" for name in sorted(wanted.names)]
    for call in wanted.calls:
        text = ast.unparse(call)
        told.append(f"{text} = {wanted.value_of(call, earlier):g}")
    return ", ".join(told)
