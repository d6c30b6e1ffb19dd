"""What a leader decides: by hand for each policy, and by chance for what must hold always."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.policy import MOST, decide, jitter_of, next_due, remove
from mocra_scrapy.cron.run_steps import ask_to_stop, claim, end_part, retry
from mocra_scrapy.cron.schedule import Schedule
from mocra_scrapy.cron.state import ENDED, INTENDED, QUEUED, RUNNING, WAITING, JobState, Part, Run, utc

#: A Monday, midnight.
T = 1_795_392_000 - 1_795_392_000 % 86_400


def job(schedule: str = "*/10 * * * *", **values: Any) -> Job:
    return Job(name="shop", spider="shop", schedule=Schedule(schedule, "UTC", "shop"), **values)


def seen(job: Job, last: int = T, **values: Any) -> JobState:
    return JobState(last=last, identity=job.schedule.identity, **values)


def states(state: JobState) -> list[tuple[str, str]]:
    return [(utc(run.instant)[11:16], run.outcome or run.state) for run in state.runs]


def start(state: JobState, run: str, now: float = T) -> JobState:
    claimed = claim(state, run, Part(worker=f"w-{run}", started=now))
    assert claimed is not None
    return claimed


def finish(state: JobState, run: str, now: float = T, outcome: str = "succeeded") -> JobState:
    return end_part(state, run, Part(worker=f"w-{run}", started=T, ended=now, outcome=outcome))


def test_the_past_of_a_new_job_is_not_caught_up() -> None:
    first = decide(job(catch_up="all"), JobState(), T + 5)
    assert (first.last, first.runs) == (T + 5, ())
    assert states(decide(job(), first, T + 600)) == [("00:10", INTENDED)]


def test_an_instant_is_decided_once() -> None:
    state = decide(job(), seen(job()), T + 600.4)
    assert state.last == T + 600
    assert state.runs[0].id == f"shop@{utc(T + 600)}"
    assert decide(job(), state, T + 600.4) == state
    assert decide(job(), state, T + 601) == state


def test_a_clock_that_goes_back_fires_nothing_twice() -> None:
    state = decide(job(concurrency="allow"), seen(job()), T + 1201)
    assert states(state) == [("00:10", "missed"), ("00:20", INTENDED)]
    for now in (T + 1199, T + 590, T - 86_400):
        assert decide(job(concurrency="allow"), state, now) == state
    assert len(decide(job(concurrency="allow"), state, T + 1800).runs) == 3


def test_misfire_within_the_grace_is_started_late() -> None:
    quick = job("* * * * *", concurrency="allow", misfire_grace=180)
    assert states(decide(quick, seen(quick), T + 185)) == [
        ("00:01", INTENDED),
        ("00:02", INTENDED),
        ("00:03", INTENDED),
    ]


def test_a_stop_of_an_hour() -> None:
    """At 01:07 nobody had looked since midnight: 00:10 to 01:00 were due; 01:00 is seven minutes
    late.
    """
    now, late = T + 67 * 60, job(misfire_grace=300)
    none = decide(late, seen(late), now)
    assert states(none) == [("01:00", "missed")]
    assert (none.missed, none.last) == (6, T + 3600)
    assert "6 instants up to" in none.runs[0].reason
    last = job(misfire_grace=300, catch_up="last")
    assert states(decide(last, seen(last), now)) == [("00:50", "missed"), ("01:00", INTENDED)]
    every = job(misfire_grace=300, catch_up="all")
    assert states(decide(every, seen(every), now)) == [("00:10", INTENDED)] + [
        (f"{m // 60:02}:{m % 60:02}", QUEUED) for m in range(20, 70, 10)
    ]
    together = job(misfire_grace=300, catch_up="all", concurrency="allow")
    assert [one for _, one in states(decide(together, seen(together), now))] == [INTENDED] * 6


def test_the_last_is_not_caught_up_beside_one_in_time() -> None:
    last = job(misfire_grace=300, catch_up="last")
    assert states(decide(last, seen(last), T + 3602)) == [("00:50", "missed"), ("01:00", INTENDED)]
    assert decide(last, seen(last), T + 3602).runs[-1].kind == "scheduled"


def test_catching_up_goes_on_one_after_another() -> None:
    every = job(catch_up="all", misfire_grace=1)
    state = decide(every, seen(every), T + 1802)
    for minute in (10, 20, 30):
        run = next(run for run in state.runs if run.active)
        assert utc(run.instant)[14:16] == str(minute)
        state = decide(every, finish(start(state, run.id), run.id), T + 1803)
    assert [outcome for _, outcome in states(state)] == ["succeeded"] * 3


def test_a_long_stop_is_bounded() -> None:
    second = job("* * * * * *", catch_up="all", concurrency="allow", history=1000)
    state = decide(second, seen(second), T + 10 * 86_400)
    assert len(state.runs) == MOST + 1
    assert state.last == T + 10 * 86_400


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


def test_silence_is_remembered_beside_the_part() -> None:
    first = f"shop@{utc(T + 600)}"
    state = start(decide(job(), seen(job()), T + 600), first)
    silent = decide(job(), state, T + 610, silent={f"w-{first}"})
    assert silent.runs[0].parts[0].silent == T + 610
    assert decide(job(), silent, T + 620, silent={f"w-{first}"}) == silent
    assert decide(job(), silent, T + 630) == state, "it gives signs again"


def test_what_left_the_file_and_is_lost_ends() -> None:
    first = f"shop@{utc(T + 600)}"
    state = start(decide(job(), seen(job()), T + 600), first)
    gone = remove(state, T + 700, lost={f"w-{first}"}, silent={f"w-{first}"})
    assert states(gone) == [("00:10", "lost")]


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


def test_jitter_delays_by_the_same_time_for_everybody() -> None:
    some = job(jitter=120)
    delay = jitter_of("shop", T + 600, 120)
    assert 0 < delay < 120
    state = decide(some, seen(some), T + 600)
    assert states(state) == [("00:10", WAITING)]
    assert next_due(some, state, T + 600) == T + 600 + delay
    assert states(decide(some, state, T + 600 + delay)) == [("00:10", INTENDED)]
    delays = sorted({jitter_of("shop", T + i * 600, 120) for i in range(100)})
    assert len(delays) > 90
    assert 0 <= delays[0] < 12, "all of the range is used"
    assert 108 < delays[-1] <= 120
    assert jitter_of("shop", T, 0) == 0


def test_a_pause_is_not_caught_up() -> None:
    some = job(catch_up="all", concurrency="allow")
    paused = decide(some, replace(seen(some), paused=True), T + 3600)
    assert (paused.runs, paused.identity) == ((), "")
    assert next_due(some, paused, T + 3600) is None
    resumed = decide(some, replace(paused, paused=False), T + 7201)
    assert (resumed.runs, resumed.last) == ((), T + 7201)
    assert states(decide(some, resumed, T + 7800)) == [("02:10", INTENDED)]


def test_resuming_by_a_clock_that_is_behind_fires_nothing_again() -> None:
    some = job(concurrency="allow")
    state = decide(some, seen(some), T + 3600)
    resumed = decide(some, replace(state, identity=""), T + 1800)
    assert resumed.last == state.last
    assert resumed.runs == state.runs
    assert decide(some, resumed, T + 3600).runs == state.runs


def test_a_disabled_job_rests_but_can_be_triggered() -> None:
    off = job(enabled=False)
    assert decide(off, seen(off), T + 3600).runs == ()
    asked = Run(id="shop@x+ab", instant=T, due=T, kind="manual")
    assert states(decide(off, seen(off).with_run(asked), T + 1))[0][1] == INTENDED


def test_a_changed_schedule_begins_anew() -> None:
    hourly = job("0 * * * *", catch_up="all")
    state = decide(hourly, seen(job("0 0 * * *")), T + 12 * 3600 + 60)
    assert (state.runs, state.last) == ((), T + 12 * 3600 + 60)


def test_an_intent_that_nobody_started_is_missed_after_the_grace() -> None:
    state = decide(job(), seen(job()), T + 600)
    assert states(decide(job(), state, T + 899))[0] == ("00:10", INTENDED), "a new leader starts it"
    assert states(decide(job(), state, T + 901, launching={state.runs[0].id}))[0] == ("00:10", INTENDED)
    late = decide(job(), state, T + 901)
    assert states(late)[0] == ("00:10", "missed")
    assert late.missed == 1
    keep = job(catch_up="last")
    assert states(decide(keep, state, T + 7000))[0] == ("00:10", INTENDED)
    queue = job(executor="queue", workers=2)
    state = decide(queue, seen(queue), T + 600)
    assert state.runs[0].places == 2
    assert "no worker took it" in decide(queue, state, T + 901).runs[0].reason


def test_a_lost_run_ends_and_is_retried() -> None:
    some = job(retries=1, retry_delay=30)
    state = start(decide(some, seen(some), T + 600), f"shop@{utc(T + 600)}")
    assert decide(some, state, T + 700) == state
    lost = decide(some, state, T + 700, lost={state.runs[0].parts[0].worker})
    assert [run.outcome or run.state for run in lost.runs] == ["lost", WAITING]
    assert lost.runs[1].due == T + 730
    assert [run.outcome or run.state for run in decide(some, lost, T + 730).runs] == ["lost", INTENDED]


def test_what_left_the_file_starts_nothing_more() -> None:
    some = job(concurrency="queue")
    state = start(decide(some, seen(some), T + 600), f"shop@{utc(T + 600)}")
    gone = remove(decide(some, state, T + 1200), T + 1300)
    assert states(gone) == [("00:10", RUNNING), ("00:20", "skipped")]
    assert remove(gone, T + 1400) == gone


POLICIES = st.builds(
    job,
    st.sampled_from(["* * * * *", "*/3 * * * *", "*/20 * * * * *", "5,6,7 * * * *"]),
    concurrency=st.sampled_from(["forbid", "allow", "replace", "queue"]),
    catch_up=st.sampled_from(["none", "last", "all"]),
    misfire_grace=st.sampled_from([1.0, 61.0, 300.0]),
    jitter=st.sampled_from([0.0, 45.0]),
    max_queued=st.integers(1, 3),
    retries=st.integers(0, 2),
    retry_delay=st.sampled_from([0.0, 90.0]),
    history=st.just(1000),
    history_failed=st.just(1000),
)
#: What happens between two looks: time passes (or the clock goes back), a run is claimed, one ends,
#: a person comes.
EVENTS = st.lists(
    st.tuples(
        st.integers(-90, 400),
        st.sampled_from(["", "claim", "end", "fail", "cancel", "lose", "pause", "resume"]),
        st.integers(0, 5),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None)
@given(POLICIES, EVENTS)
def test_what_always_holds(job: Job, events: list[tuple[int, str, int]]) -> None:
    now, state = float(T), seen(job)
    fired: dict[str, int] = {}
    for passed, event, which in events:
        now += passed
        lost: set[str] = set()
        unfinished = [run for run in state.runs if run.state != ENDED]
        run = unfinished[which % len(unfinished)] if unfinished else None
        if event in ("pause", "resume"):
            state = replace(state, paused=event == "pause")
        elif run is not None and event == "claim":
            state = claim(state, run.id, Part(worker=f"w-{run.id}", started=now)) or state
        elif run is not None and event in ("end", "fail"):
            state = finish(state, run.id, now, "succeeded" if event == "end" else "failed")
        elif run is not None and event == "cancel":
            state = ask_to_stop(state, run.id, "cancelled", now)
        elif run is not None and event == "lose":
            lost = {part.worker for part in run.parts}
        before = state
        state = decide(job, state, now, lost=lost)
        assert decide(job, state, now) == state, "deciding twice is deciding once"
        assert (state.last or 0) >= (before.last or 0)
        ids = [run.id for run in state.runs]
        assert len(ids) == len(set(ids))
        new = [run for run in state.runs if before.run(run.id) is None]
        for one in new:
            assert one.id not in fired, "an instant came twice"
            fired[one.id] = one.instant
            if one.attempt == 1:
                assert (before.last or 0) < one.instant <= now
        for one in before.runs:
            after = state.run(one.id)
            if after is None:  # folded into one that had the same fate
                assert one.state != ENDED
                assert any((run.until or 0) >= one.instant and run.count > 1 for run in state.runs)
                continue
            same = replace(after, count=one.count, until=one.until, ended=one.ended)
            assert one.state != ENDED or same == one, "what has ended stays as it is"
        going = [run for run in state.runs if run.active]
        queued = [run for run in state.runs if run.state == QUEUED]
        if job.concurrency != "allow":
            assert len(going) <= 1
            assert not queued or going or state.paused
        if job.concurrency in ("replace", "forbid"):
            assert len([run for run in queued if run.kind != "catch-up"]) <= 1
        if job.concurrency == "queue":
            assert len([run for run in queued if run.kind != "catch-up"]) <= job.max_queued
        assert not [run for run in state.runs if run.state == WAITING and run.due <= now and not state.paused]


@settings(max_examples=40, deadline=None)
@given(POLICIES, st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_no_instant_is_forgotten_as_long_as_somebody_looks(job: Job, pauses: list[int]) -> None:
    """With looks closer together than the grace, every instant becomes a run, whatever becomes of
    that.
    """
    job = replace(job, misfire_grace=61.0)
    now, state = float(T), seen(job)
    for pause in pauses:
        now += pause
        state = decide(job, state, now)
    due = [fire.instant for fire in job.schedule.between(T, now)]
    assert sum(run.count for run in state.runs if run.attempt == 1) == len(due)
    assert {run.instant for run in state.runs if run.attempt == 1} <= set(due)
    assert state.missed == sum(run.count for run in state.runs if run.outcome == "missed")
