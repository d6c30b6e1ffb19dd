"""What is owed to a person about the end of a run. Pure; :mod:`mocra_scrapy.cron.alerts` sends it."""

from __future__ import annotations

from dataclasses import replace

from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.state import ENDED, FAILURES, JobState, Run

#: Seconds after its end for which a run is told of: who adds an alert does not mean last week's.
FRESH = 3600.0
DUE = "due:"
EVENTS = ("on_failure", "on_missed", "on_success_after_failure")


def event_of(state: JobState, run: Run) -> str:
    """What somebody may want to hear of a run that has ended; empty: nothing. A failure that will be
    retried is none yet.
    """
    if run.outcome == "missed":
        return "on_missed"
    if run.outcome in FAILURES:
        again = f"{run.id.partition('#')[0]}#{run.attempt + 1}"
        return "" if state.run(again) is not None else "on_failure"
    if run.outcome == "succeeded":
        before = [one for one in state.runs if one.state == ENDED and (one.ended or 0) < (run.ended or 0)]
        told = [one for one in before if one.outcome in FAILURES | {"succeeded", "missed"} and one.id != run.id]
        last = max(told, key=lambda one: one.ended or 0.0, default=None)
        return "on_success_after_failure" if last is not None and last.outcome != "succeeded" else ""
    return ""


def owe(job: Job, state: JobState, now: float) -> JobState:
    """Write down what is owed about runs that have ended. Nothing is stored for a job without
    alerts.
    """
    if not any(getattr(job, event) for event in EVENTS):
        return state
    for run in state.runs:
        if run.state == ENDED and not run.alert and run.ended is not None and run.ended > now - FRESH:
            event = event_of(state, run)
            if event and getattr(job, event):
                state = state.with_run(replace(run, alert=DUE + event))
    return state
