"""The stored state of a job and its steps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mocra_scrapy.cron.run_steps import ask_to_stop, cancel, claim, end_part, retry
from mocra_scrapy.cron.state import ENDED, INTENDED, RUNNING, WAITING, JobState, Part, Run, decode, encode, run_id
from mocra_scrapy.exceptions import BackendCorrupted

RUN = Run(id="shop@2026-11-24T02:30:00Z", instant=1795487400, due=1795487400.0, state=INTENDED, intended=1795487400.2)
STATE = JobState(last=1795487400, identity="x UTC", runs=(RUN,))


def part(worker: str, **more: object) -> Part:
    return Part(worker=worker, host="a", pid=1, started=10.0, **more)  # type: ignore[arg-type]


def test_ids_name_an_instant_and_an_attempt() -> None:
    assert run_id("shop", 1795487400) == RUN.id
    assert run_id("shop", 1795487400, 2, "ab12") == f"{RUN.id}+ab12#2"


def test_what_is_stored_comes_back() -> None:
    ended = part(
        "w", ended=20.0, outcome="succeeded", exit_code=0, items=3, errors=0, finish_reason="finished", log="x"
    )
    run = replace(RUN, state=ENDED, parts=(ended,), args={"a": "ü"}, attempt=2, outcome="succeeded", ended=20.0)
    state = JobState(last=5, identity="y", paused=True, missed=3, runs=(RUN, run))
    assert decode("shop", encode(state)) == state
    assert decode("shop", encode(JobState())) == JobState()
    assert decode("shop", None) == JobState()


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"v":2,"runs":[]}', b'{"v":1}', b'{"v":1,"runs":[{}]}', b"\xff", b'{"v":1,"runs":[3]}']
)
def test_what_is_not_ours_is_told(raw: bytes) -> None:
    with pytest.raises(BackendCorrupted, match="'shop'"):
        decode("shop", raw)


def test_a_newer_version_may_have_written_more() -> None:
    raw = encode(STATE).replace(b'"v":1', b'"v":1,"mood":"fine"').replace(b'"instant"', b'"colour":"blue","instant"')
    assert decode("shop", raw) == STATE


def test_a_run_is_claimed_once() -> None:
    claimed = claim(STATE, RUN.id, part("one"))
    assert claimed is not None
    run = claimed.run(RUN.id)
    assert run is not None
    assert (run.state, run.started) == (RUNNING, 10.0)
    assert claim(claimed, RUN.id, part("two")) is None
    assert claim(claimed, RUN.id, part("one")) == claimed, "asking again is harmless"
    lost = claimed.with_run(replace(run, parts=(part("one", ended=11.0, outcome="lost"),)))
    assert claim(lost, RUN.id, part("one")) is None, "it counts as lost, another attempt may be going on"


def test_what_is_over_is_not_claimed() -> None:
    assert claim(STATE, "shop@other", part("one")) is None
    for run in (
        replace(RUN, state=ENDED),
        replace(RUN, state=WAITING),
        replace(RUN, stop="cancelled"),
        replace(RUN, places=2, state=RUNNING, parts=(part("a", ended=11.0, outcome="succeeded"),)),
    ):
        assert claim(STATE.with_run(run), RUN.id, part("one")) is None, run


def test_several_join_as_many_as_there_are_places() -> None:
    state: JobState | None = STATE.with_run(replace(RUN, executor="queue", places=2))
    for name in ("one", "two"):
        assert state is not None
        state = claim(state, RUN.id, part(name))
    assert state is not None
    assert claim(state, RUN.id, part("three")) is None
    half = end_part(state, RUN.id, part("one", ended=20.0, outcome="succeeded"))
    run = half.run(RUN.id)
    assert run is not None
    assert run.state == RUNNING
    whole = end_part(half, RUN.id, part("two", ended=21.0, outcome="failed", reason="exit code 1"))
    run = whole.run(RUN.id)
    assert run is not None
    assert (run.state, run.outcome, run.reason, run.ended) == (ENDED, "failed", "exit code 1", 21.0)


def test_an_end_is_recorded_once() -> None:
    claimed = claim(STATE, RUN.id, part("one"))
    assert claimed is not None
    ended = end_part(claimed, RUN.id, part("one", ended=20.0, outcome="lost"))
    assert end_part(ended, RUN.id, part("one", ended=30.0, outcome="succeeded")) == ended
    assert end_part(claimed, RUN.id, part("stranger", ended=30.0, outcome="succeeded")) == claimed


def test_a_bad_end_is_retried_as_often_as_the_job_says() -> None:
    state = STATE.with_run(replace(RUN, state=ENDED, outcome="failed", ended=20.0))
    once = retry(state, RUN.id, 2, 60.0, 20.0)
    assert retry(once, RUN.id, 2, 60.0, 25.0) == once, "asked twice, added once"
    again = once.run(f"{RUN.id}#2")
    assert again is not None
    with_args = retry(STATE.with_run(replace(RUN, state=ENDED, outcome="failed", args={"a": "1"})), RUN.id, 1, 1, 1)
    assert with_args.runs[-1].args == {"a": "1"}, "what a person gave goes with it"
    assert (again.state, again.due, again.attempt, again.instant) == (WAITING, 80.0, 2, RUN.instant)
    failed = once.with_run(replace(again, state=ENDED, outcome="lost"))
    third = retry(failed, again.id, 2, 60.0, 90.0).run(f"{RUN.id}#3")
    assert third is not None
    last = failed.with_run(replace(third, state=ENDED, outcome="failed"))
    assert retry(last, third.id, 2, 60.0, 99.0) == last
    for outcome in ("succeeded", "cancelled", "replaced", "skipped", "missed", "closed", "drained", "limited"):
        state = STATE.with_run(replace(RUN, state=ENDED, outcome=outcome))
        assert retry(state, RUN.id, 5, 1.0, 1.0) == state, outcome


def test_stopping() -> None:
    cancelled = ask_to_stop(STATE, RUN.id, "cancelled", 30.0).run(RUN.id)
    assert cancelled is not None
    assert (cancelled.state, cancelled.outcome) == (ENDED, "cancelled"), "it had not started"
    running = claim(STATE, RUN.id, part("one"))
    assert running is not None
    told = ask_to_stop(running, RUN.id, "cancelled", 30.0)
    run = told.run(RUN.id)
    assert run is not None
    assert (run.state, run.stop) == (RUNNING, "cancelled")
    assert ask_to_stop(told, RUN.id, "replaced", 31.0) == told, "the first reason counts"


def test_cancelling_ends_what_nobody_watches() -> None:
    running = claim(STATE, RUN.id, part("one"))
    assert running is not None
    told = cancel(running, RUN.id, {"another"}, 30.0).runs[0]
    assert (told.state, told.stop) == (RUNNING, "cancelled")
    over = cancel(running, RUN.id, {"one"}, 30.0)
    assert (over.runs[0].state, over.runs[0].outcome) == (ENDED, "cancelled")
    assert cancel(over, RUN.id, {"one"}, 31.0) == over
    assert cancel(STATE, RUN.id, (), 30.0).runs[0].outcome == "cancelled", "it had not started"


def test_history_is_trimmed_but_for_what_has_not_ended() -> None:
    ended = [replace(RUN, id=f"shop@{i}", state=ENDED, outcome="succeeded") for i in range(10)]
    state = JobState(runs=(RUN, *ended))
    assert [run.id for run in state.trimmed(3, 3).runs] == [RUN.id, "shop@7", "shop@8", "shop@9"]
    assert state.trimmed(10, 10) is state


def test_a_part_that_failed_does_not_bring_back_what_a_person_stopped() -> None:
    state: JobState | None = STATE.with_run(replace(RUN, executor="queue", places=2))
    for name in ("one", "two"):
        assert state is not None
        state = claim(state, RUN.id, part(name))
    assert state is not None
    state = end_part(state, RUN.id, part("one", ended=20.0, outcome="failed"))
    state = ask_to_stop(state, RUN.id, "cancelled", 21.0)
    state = end_part(state, RUN.id, part("two", ended=22.0, outcome="cancelled"))
    assert [run.outcome for run in retry(state, RUN.id, 3, 0, 23.0).runs] == ["cancelled"]
