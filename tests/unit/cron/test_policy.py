"""What a leader decides: by hand for each policy, and by chance for what must hold always."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.policy import MOST, decide, jitter_of, next_due, remove
from mocra_scrapy.cron.run_steps import ask_to_stop, claim
from mocra_scrapy.cron.state import ENDED, INTENDED, QUEUED, RUNNING, WAITING, JobState, Part, Run, utc
from tests.unit.cron.policy_states import T, finish, job, seen, start, states


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


@pytest.mark.slow
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
