"""What a leader decides about a job at a moment. Pure: stored state and clock in, new state out.

The order is: new instants, then what has become due, then what waited for its turn. Deciding twice
is the same as deciding once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from itertools import islice

from mocra_scrapy.cron.alert_rules import owe
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.run_steps import ask_to_stop, end, end_part, note, retry
from mocra_scrapy.cron.state import INTENDED, QUEUED, WAITING, JobState, Part, Run, run_id, utc
from mocra_scrapy.models.wording import counted

#: Instants that are started or caught up in one decision; older ones are missed. More than an
#: every-second job has in the default grace.
MOST = 500
#: Instants beyond these that are counted for the history; of more it says "more than".
COUNTED = 2_000


def jitter_of(job: str, instant: int, most: float) -> float:
    """Seconds from 0 to *most*, the same for everybody who asks about this instant of this job."""
    if most <= 0:
        return 0.0
    digest = hashlib.sha256(f"{job}@{instant}".encode()).digest()
    return round(int.from_bytes(digest[:6], "big") / 2**48 * most, 3)


def decide(
    job: Job,
    state: JobState,
    now: float,
    *,
    launching: Collection[str] = (),
    lost: Collection[str] = (),
    silent: Collection[str] = (),
) -> JobState:
    """The state after all that is to be decided at *now* (wall clock, seconds since the epoch).

    Args:
        launching: ids of runs whose launcher was started and lives: they are not given up as never
            started.
        lost: names of parts' workers that gave no sign of life for long.
        silent: those that give none now, be it for long or not.
    """
    state = _bury_lost(job, state, now, lost)
    state = _remember_silence(state, now, silent)
    if not job.enabled or state.paused:
        # The time of a pause is not caught up: without an identity the schedule begins anew.
        state = replace(state, identity="") if state.identity else state
    elif state.identity != job.schedule.identity:
        # A job that was never seen, was changed, or comes out of a pause: what was before is not
        # missed.
        state = replace(state, identity=job.schedule.identity, last=max(state.last or 0, int(now)))
    else:
        state = _new_instants(job, state, now)
    state = _expire(job, state, now, launching)
    for run in state.runs:
        held = run.kind != "manual" and (state.paused or not job.enabled)
        if run.state == WAITING and run.due <= now and not held:
            state = _admit(job, state, run, now)
    return owe(job, _next_in_line(job, state, now), now).trimmed(job.history, job.history_failed)


def remove(state: JobState, now: float, lost: Collection[str] = (), silent: Collection[str] = ()) -> JobState:
    """For a job that is no longer in the file: nothing of it starts any more; what runs goes on."""
    for run in state.runs:
        for part in run.parts:
            if part.ended is None and part.worker in lost:
                state = end_part(state, run.id, _gone(run, part, now))
        if run.state in (WAITING, QUEUED) or (run.state == INTENDED and not run.parts):
            state = state.with_run(end(run, "skipped", "the job was taken out of the jobs file", now))
    state = _remember_silence(state, now, silent)
    return replace(state, identity="") if state.identity else state


def next_due(job: Job, state: JobState, now: float) -> float | None:
    """When there is something to decide without anybody's doing; ``None``: never."""
    dues = [run.due for run in state.runs if run.state == WAITING]
    if job.enabled and not state.paused:
        coming = next(job.schedule.after(max(now, state.last or 0)), None)
        dues += [coming.instant] if coming else []
    return min(dues, default=None)


# ---------------------------------------------------------------------- the steps


def _gone(run: Run, part: Part, now: float) -> Part:
    return replace(part, ended=now, outcome=run.stop or "lost", reason="its launcher gives no sign of life")


def _bury_lost(job: Job, state: JobState, now: float, lost: Collection[str]) -> JobState:
    for run in state.runs:
        for part in run.parts:
            if part.ended is None and part.worker in lost:
                state = end_part(state, run.id, _gone(run, part, now))
                state = retry(state, run.id, job.retries, job.retry_delay, now)
    return state


def _remember_silence(state: JobState, now: float, silent: Collection[str]) -> JobState:
    """Since when each part gives no sign of life, for leaders to come."""
    for run in state.runs:
        if all((part.worker in silent) == (part.silent is not None) for part in run.parts if part.ended is None):
            continue
        parts = tuple(
            part
            if part.ended is not None
            else replace(part, silent=(part.silent or now) if part.worker in silent else None)
            for part in run.parts
        )
        state = state.with_run(replace(run, parts=parts))
    return state


def _new_instants(job: Job, state: JobState, now: float) -> JobState:
    assert state.last is not None
    fires, more = job.schedule.latest(state.last, now, MOST)
    if not fires:
        return state
    instants = [fire.instant for fire in fires]
    on_time = [instant for instant in instants if now - instant <= job.misfire_grace]
    late = instants[: len(instants) - len(on_time)]
    caught: list[int] = []
    if job.catch_up == "all":
        caught = late
    elif job.catch_up == "last" and not on_time:
        caught = late[-1:]
    missed = late[: len(late) - len(caught)]
    if more:
        state = _left_out(job, state, fires[0].instant, bool(missed), now)
    state = replace(state, last=instants[-1], missed=state.missed + len(missed))
    if missed:
        reason = (
            f"{counted(len(missed), 'instant')} up to {utc(missed[-1])}: nobody could start them within "
            f"misfire_grace = {job.misfire_grace:g} s"
        )
        run = end(_run(job, missed[-1], "scheduled"), "missed", reason, now)
        state = state.with_run(replace(run, count=len(missed)))
    for instant in caught:
        state = state.with_run(_run(job, instant, "catch-up"))
    for instant in on_time:
        state = state.with_run(_run(job, instant, "scheduled"))
    return state


def _left_out(job: Job, state: JobState, first: int, late: bool, now: float) -> JobState:
    """Instants before the *first* that is decided: there are too many for one decision, and the
    history says so.
    """
    assert state.last is not None
    count = sum(1 for _ in islice(job.schedule.between(state.last, first - 1), COUNTED + 1))
    newest = job.schedule.latest(state.last, first - 1, 1)[0][0].instant
    number = f"more than {COUNTED} instants" if count > COUNTED else counted(count, "instant")
    why = f"later than misfire_grace = {job.misfire_grace:g} s" if late else f"one decision starts {MOST} at most"
    run = end(_run(job, newest, "scheduled"), "missed", f"{number} up to {utc(newest)}: {why}", now)
    return replace(state.with_run(replace(run, count=count)), missed=state.missed + count)


def _run(job: Job, instant: int, kind: str) -> Run:
    return Run(
        id=run_id(job.name, instant),
        instant=instant,
        due=instant + jitter_of(job.name, instant, job.jitter),
        kind=kind,
        executor=job.executor,
        places=job.workers,
    )


def _expire(job: Job, state: JobState, now: float, launching: Collection[str]) -> JobState:
    """Intents that nobody started for longer than the grace are missed, like instants at which
    there was no leader.
    """
    for run in state.runs:
        if run.state != INTENDED or run.parts or run.id in launching or run.intended is None:
            continue
        if now - run.intended <= job.misfire_grace:
            continue
        if run.kind == "manual" or job.catch_up != "none":
            # It may be late; but where workers take runs it must not hold up what comes after it
            # for ever.
            waits = any(one.state == QUEUED and one.instant > run.instant for one in state.runs)
            if not (run.unclaimed and waits) or (job.catch_up == "all" and run.kind != "manual"):
                continue
        who = "no worker took it" if run.executor == "queue" else "nobody started it"
        state = _missed(state, run, f"{who} within misfire_grace = {job.misfire_grace:g} s", now)
    return state


def _missed(state: JobState, run: Run, reason: str, now: float) -> JobState:
    return replace(note(state, end(run, "missed", reason, now)), missed=state.missed + run.count)


def _admit(job: Job, state: JobState, run: Run, now: float) -> JobState:
    """A run has become due: start it, queue it, skip it, or stop others for it."""
    policy = job.concurrency
    if policy == "forbid" and run.kind == "catch-up":
        policy = "queue"  # or only the first of them would ever run
    if policy == "forbid":
        for one in state.runs:
            if one.unclaimed and one.instant <= run.instant:
                state = _missed(state, one, "no worker took it before the next one was due", now)
    busy = [one for one in state.runs if one.active]
    queued = [one for one in state.runs if one.state == QUEUED]
    if policy == "allow" or not (busy or queued):
        return state.with_run(replace(run, state=INTENDED, intended=now))
    if policy == "forbid":
        other = (busy or queued)[-1].id
        return note(state, end(run, "skipped", f"{other} is going on (concurrency = forbid)", now))
    if policy == "queue" and run.kind != "catch-up" and len(queued) >= job.max_queued:
        return note(state, end(run, "skipped", f"max_queued = {job.max_queued}, and as many wait already", now))
    if policy == "replace":
        newer = [one.id for one in (*busy, *queued) if one.instant > run.instant]
        if newer:  # a retry whose time is over
            return state.with_run(end(run, "replaced", f"{newer[-1]} is newer (concurrency = replace)", now))
        for one in (*busy, *queued):
            state = ask_to_stop(state, one.id, "replaced", now)
    return state.with_run(replace(run, state=QUEUED))


def _next_in_line(job: Job, state: JobState, now: float) -> JobState:
    queued = [one for one in state.runs if one.state == QUEUED]
    if not queued or any(one.active for one in state.runs):
        return state
    first = min(queued, key=lambda one: (one.due, one.instant))
    if first.kind != "manual" and (state.paused or not job.enabled):
        return state
    return state.with_run(replace(first, state=INTENDED, intended=now))
