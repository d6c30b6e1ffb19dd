"""Guards from run to run: ``expect``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mocra_scrapy.cron.expression import BadExpression, Expression, NotEnough
from mocra_scrapy.cron.guards import guard
from mocra_scrapy.cron.state import ENDED, JobState, Part, Run


def run(i: int, items: int | None, outcome: str = "succeeded", seconds: float = 10.0) -> Run:
    part = Part(worker=str(i), started=100.0 * i, ended=100.0 * i + seconds, items=items, errors=0)
    return Run(id=f"shop@{i}", instant=i, due=i, state=ENDED, outcome=outcome, ended=100.0 * i + seconds, parts=(part,))


def judged(expect: str, *items: int | None, **stats: Any) -> Run:
    """The last of runs with so many items."""
    state = JobState(runs=tuple(run(i, one) for i, one in enumerate(items)))
    last = state.runs[-1].id
    found = guard(state, last, expect, stats).run(last)
    assert found is not None
    return found


HALF = "items >= 0.8 * median(items, 10)"


def test_a_run_that_brings_half_is_unexpected() -> None:
    assert judged(HALF, 100, 90, 110, 95).outcome == "succeeded"
    half = judged(HALF, 100, 90, 110, 50)
    assert half.outcome == "unexpected"
    assert half.reason == f"{HALF} does not hold: items = 50, median(items, 10) = 100"


def test_nothing_is_expected_before_three_successes() -> None:
    assert judged(HALF, 100, 100, 0).outcome == "succeeded"
    assert judged("items >= most(items, 1)", 100, 5).outcome == "unexpected", "who asks for one needs one"


def test_only_successes_are_compared_with_and_only_as_many_as_asked_for() -> None:
    state = JobState(runs=(*(run(i, 100) for i in range(3)), run(3, 1, "failed"), run(4, None), run(5, 85)))
    assert guard(state, "shop@5", "items >= 0.8 * least(items, 10)", {}) == state
    assert judged("items >= mean(items, 3)", 1000, 10, 10, 10, 10).outcome == "succeeded"


def test_what_did_not_succeed_is_not_judged() -> None:
    state = JobState(runs=tuple(run(i, 100) for i in range(4)))
    for changed in (replace(state.runs[3], outcome="failed"), replace(state.runs[3], state="running", outcome="")):
        other = state.with_run(changed)
        assert guard(other, changed.id, "items > 1000", {}) == other
    assert guard(state, "shop@9", "items > 1000", {}) == state
    assert guard(state, "shop@3", "", {}) == state


def test_seconds_and_stats() -> None:
    assert judged("seconds <= 3 * median(seconds, 5)", 1, 1, 1, 1).outcome == "succeeded"
    assert judged("downloader/request_count < 5", 1, **{"downloader/request_count": 7}).outcome == "unexpected"


@pytest.mark.parametrize(
    "text",
    ["median(items)", "median(items, 0)", "median(items, True)", "median(log_count/ERROR, 3)", "eval(items, 3)",
     "median(items, n=3)", "max(items, 3)", "median(items, 10.5)", "items.real()", "median(items, 1001)"],
)  # fmt: skip
def test_what_has_no_meaning(text: str) -> None:
    with pytest.raises(BadExpression, match="has no meaning"):
        Expression(text, earlier=True)


def test_success_does_not_ask_for_earlier_runs() -> None:
    with pytest.raises(BadExpression):
        Expression(HALF)
    with pytest.raises(NotEnough):
        Expression(HALF, earlier=True).holds({"items": 3})
