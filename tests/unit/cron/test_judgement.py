"""What became of a crawl."""

from __future__ import annotations

from typing import Any

import pytest

from mocra_scrapy.cron.judgement import REASONS, judge
from mocra_scrapy.cron.state import OUTCOMES

DONE: dict[str, Any] = {"finish_reason": "finished", "item_scraped_count": 3}


def verdict(code: int = 0, stats: dict[str, Any] | None = DONE, success: str = "", stopped: str = "") -> str:
    return judge(code, stats, success, stopped, 60.0)[0]


@pytest.mark.parametrize("success", ["errors == 0", "items >= 0", "not log_count/ERROR", "finish_reason != 'x'"])
def test_a_dead_crawl_does_not_succeed(success: str) -> None:
    """What was never counted reads as 0: an expression holds for a spider that could not be made."""
    assert verdict(success=success) == "succeeded"
    for code in (1, -9, -15, 127):
        assert verdict(code, None, success) == "failed"
        assert verdict(code, DONE, success) == "failed"
    assert verdict(0, None, success) == "failed"
    assert "it wrote no stats" in judge(0, None, success, "", 0)[1]


def test_an_expression_that_asks_for_the_exit_code_judges_it() -> None:
    assert verdict(3, None, "exit_code == 3") == "succeeded"
    assert verdict(0, None, "exit_code == 0") == "succeeded"
    assert verdict(0, None, "exit_code != 0") == "failed"


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        ("finished", "succeeded"),
        ("shutdown", "stopped"),
        ("mocra_stopped", "closed"),
        ("mocra_drained", "drained"),
        ("mocra_error_threshold", "tripped"),
        ("closespider_errorcount", "tripped"),
        ("closespider_timeout", "limited"),
        ("closespider_itemcount", "limited"),
        ("memusage_exceeded", "overloaded"),
        ("my own reason", "closed"),
        ("", "closed"),
    ],
)
def test_only_finished_succeeds(reason: str, outcome: str) -> None:
    got, why = judge(0, {"finish_reason": reason}, "", "", 0)
    assert got == outcome
    assert outcome in OUTCOMES
    assert (why == "") == (outcome == "succeeded")
    assert reason in why or outcome == "succeeded"


def test_all_outcomes_are_known() -> None:
    assert {outcome for outcome, _ in REASONS.values()} <= set(OUTCOMES)


def test_what_was_told_to_stop_is_what_it_was_told() -> None:
    for why in ("cancelled", "replaced", "stopped", "timeout"):
        assert verdict(0, DONE, "items > 100", why) == why
    assert judge(0, DONE, "", "timeout", 60.0)[1] == "it took longer than timeout = 60 s"


def test_an_expression_that_can_not_be_worked_out_fails() -> None:
    assert judge(0, DONE, "finish_reason > 3", "", 0) == (
        "failed",
        "'finish_reason > 3' can't be worked out: '>' not supported between instances of 'str' and 'int'",
    )
