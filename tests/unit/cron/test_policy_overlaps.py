"""Runs that meet: forbid, allow, queue, replace; skips, retries, and runs that nobody takes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mocra_scrapy.cron.policy import decide
from mocra_scrapy.cron.run_steps import ask_to_stop, retry
from mocra_scrapy.cron.state import ENDED, INTENDED, QUEUED, RUNNING, JobState, Run, utc
from tests.unit.cron.policy_states import T, finish, job, seen, start, states


def test_forbid_skips() -> None:
    state = start(decide(job(), seen(job()), T + 600), f"shop@{utc(T + 600)}")
    state = decide(job(), state, T + 1200)
    assert states(state) == [("00:10", RUNNING), ("00:20", "skipped")]
    assert "is going on" in state.runs[1].reason
    state = finish(state, state.runs[0].id)
    assert states(decide(job(), state, T + 1800))[-1] == ("00:30", INTENDED)


def test_allow_lets_them_overlap() -> None:
    some = job(concurrency="allow")
    state = start(decide(some, seen(some), T + 600), f"shop@{utc(T + 600)}")
    assert states(decide(some, state, T + 1200)) == [("00:10", RUNNING), ("00:20", INTENDED)]


def test_queue_waits_and_is_bounded() -> None:
    some = job(concurrency="queue", max_queued=2)
    state = start(decide(some, seen(some), T + 600), f"shop@{utc(T + 600)}")
    for i in range(2, 6):
        state = decide(some, state, T + i * 600)
    assert states(state) == [("00:10", RUNNING), ("00:20", QUEUED), ("00:30", QUEUED), ("00:40", "skipped")]
    assert (state.runs[-1].count, state.runs[-1].until) == (2, T + 3000)
    assert "max_queued" in state.runs[-1].reason
    state = decide(some, finish(state, state.runs[0].id), T + 3001)
    assert states(state)[:3] == [("00:10", "succeeded"), ("00:20", INTENDED), ("00:30", QUEUED)]


@pytest.mark.parametrize("rests", ["paused", "disabled"])
def test_what_waits_in_line_waits_on_while_the_job_rests(rests: str) -> None:
    some = job(concurrency="queue", max_queued=2)
    first = f"shop@{utc(T + 600)}"
    state = decide(some, start(decide(some, seen(some), T + 600), first), T + 1200)
    off = replace(some, enabled=False) if rests == "disabled" else some
    state = decide(off, replace(finish(state, first), paused=rests == "paused"), T + 1201)
    assert states(state) == [("00:10", "succeeded"), ("00:20", QUEUED)]
    state = decide(some, replace(state, paused=False, identity=state.identity), T + 1202)
    assert states(state) == [("00:10", "succeeded"), ("00:20", INTENDED)]


def test_what_one_decision_leaves_out_is_in_the_history() -> None:
    """600 instants behind, 500 are caught up: the history says what became of the others."""
    every = job("* * * * *", catch_up="all", concurrency="queue", history=1000)
    state = decide(every, seen(every), T + 600 * 60)
    left = state.runs[0]
    assert (left.outcome, left.count, state.missed) == ("missed", 100, 100)
    assert left.reason == f"100 instants up to {utc(T + 100 * 60)}: one decision starts 500 at most"
    assert sum(run.count for run in state.runs) == 600
    counted = [decide(every, seen(every), T + n * 60).runs[0].reason.partition(" up to")[0] for n in (2500, 2501)]
    assert counted == ["2,000 instants", "more than 2000 instants"]
    late = job("* * * * * *", misfire_grace=900, concurrency="allow")
    state = decide(late, seen(late), T + 800)
    assert sum(run.count for run in state.runs) == 800
    assert "one decision starts 500 at most" in state.runs[0].reason
    endless = decide(job("* * * * * *"), seen(job("* * * * * *")), T + 86_400 * 30)
    assert "more than 2000 instants" in endless.runs[0].reason


def test_sixty_skips_are_one_line_and_push_nothing_out() -> None:
    some = job("* * * * *", history=5)
    state = seen(some).with_run(Run(id="shop@ok", instant=T - 60, due=T, state=ENDED, outcome="succeeded", ended=T))
    state = start(decide(some, state, T + 60), f"shop@{utc(T + 60)}")
    for minute in range(2, 62):
        state = decide(some, state, T + 60 * minute)
    assert [run.outcome or run.state for run in state.runs] == ["succeeded", RUNNING, "skipped"]
    assert (state.runs[-1].count, state.runs[-1].until) == (60, T + 61 * 60)
    assert decide(some, state, T + 61 * 60) == state


def test_successes_and_failures_have_limits_of_their_own() -> None:
    def ended(i: int, outcome: str) -> Run:
        return Run(id=f"shop@{i}", instant=i, due=i, state=ENDED, outcome=outcome, reason=str(i))

    outcomes = ["failed", "succeeded", "skipped", "missed"] * 5
    state = JobState(runs=tuple(ended(i, outcome) for i, outcome in enumerate(outcomes)))
    kept = state.trimmed(2, 3).runs
    assert [run.id for run in kept if run.outcome == "succeeded"] == ["shop@13", "shop@17"]
    assert [run.id for run in kept if run.outcome == "failed"] == ["shop@8", "shop@12", "shop@16"]
    assert [run.id for run in kept if run.outcome in ("skipped", "missed")] == ["shop@18", "shop@19"]


@pytest.mark.parametrize("why", ["cancelled", "replaced"])
@pytest.mark.parametrize("end", ["lost", "failed", "timeout"])
def test_what_was_asked_to_stop_is_not_retried(why: str, end: str) -> None:
    some = job(retries=3, retry_delay=0)
    first = f"shop@{utc(T + 600)}"
    state = ask_to_stop(start(decide(some, seen(some), T + 600), first), first, why, T + 610)
    if end == "lost":
        state = decide(some, state, T + 700, lost={f"w-{first}"})
    else:
        state = decide(some, retry(finish(state, first, T + 620, end), first, 3, 0, T + 620), T + 700)
    assert [run.outcome or run.state for run in state.runs] == [why]


def test_a_retry_does_not_stop_what_came_after_it() -> None:
    some = job(concurrency="replace", retries=1, retry_delay=60)
    first, second = (f"shop@{utc(T + i * 600)}" for i in (1, 2))
    state = start(decide(some, seen(some), T + 600), first)
    state = retry(finish(state, first, T + 1190, "failed"), first, 1, 60, T + 1190)
    state = start(decide(some, state, T + 1200), second)
    state = decide(some, state, T + 1300)
    assert [(run.outcome or run.state, run.stop) for run in state.runs] == [
        ("failed", ""),
        ("replaced", ""),
        (RUNNING, ""),
    ]
    assert "is newer" in state.runs[1].reason


@pytest.mark.parametrize("catch_up", ["none", "last"])
def test_runs_that_nobody_takes_hold_nobody_up(catch_up: str) -> None:
    """No waiting worker for ten hours: the newest run waits, the others are missed, in one line."""
    hourly = job("0 * * * *", executor="queue", catch_up=catch_up)
    state = decide(hourly, seen(hourly), T + 1)
    for minute in range(600):
        state = decide(hourly, state, T + 60 * minute + 2)
    missed = [run for run in state.runs if run.outcome == "missed"]
    assert sum(run.count for run in missed) == state.missed
    assert len(missed) == 1
    if catch_up == "last":
        assert (states(state)[-1], missed[0].count) == (("09:00", INTENDED), 8)


def test_a_run_that_a_person_asked_for_and_nobody_takes_holds_nobody_up() -> None:
    hourly = job("0 * * * *", executor="queue")
    asked = Run(id="shop@x+ab", instant=T, due=T, kind="manual", executor="queue")
    state = decide(hourly, seen(hourly).with_run(asked), T + 1)
    assert states(state)[0][1] == INTENDED
    state = decide(hourly, state, T + 3600)
    assert [run.outcome or run.state for run in state.runs] == ["missed", INTENDED]
    line = job("0 * * * *", executor="queue", concurrency="queue")
    state = decide(line, seen(line).with_run(asked), T + 1)
    state = decide(line, decide(line, state, T + 3600), T + 3602)
    assert [run.outcome or run.state for run in state.runs] == ["missed", INTENDED]


def test_replace_stops_the_old_one_first() -> None:
    some = job(concurrency="replace")
    first = f"shop@{utc(T + 600)}"
    state = decide(some, start(decide(some, seen(some), T + 600), first), T + 1200)
    assert states(state) == [("00:10", RUNNING), ("00:20", QUEUED)]
    assert state.runs[0].stop == "replaced"
    state = decide(some, state, T + 1800)
    assert states(state) == [("00:10", RUNNING), ("00:20", "replaced"), ("00:30", QUEUED)], "only the newest waits"
    state = decide(some, finish(state, first, outcome="replaced"), T + 1801)
    assert states(state) == [("00:10", "replaced"), ("00:20", "replaced"), ("00:30", INTENDED)]


def test_replace_of_one_that_did_not_start_needs_no_waiting() -> None:
    some = job(concurrency="replace", misfire_grace=900)
    state = decide(some, decide(some, seen(some), T + 600), T + 1200)
    assert states(state) == [("00:10", "replaced"), ("00:20", INTENDED)]
