"""The steps that change the state of a job's runs. Pure: each is a function from state to state that
may be applied twice, since a call without an answer is repeated.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mocra_scrapy.cron.state import ENDED, NEVER_RAN, OUTCOMES, RETRIED, RUNNING, JobState, Part, Run


def claim(state: JobState, run: str, part: Part) -> JobState | None:
    """Start *run* as *part*; ``None``: it is not to be started (any more), or not by one more.

    Claiming again by the same name changes nothing: the outcome of a call that got no answer is
    found out by repeating it. Who was taken for lost meanwhile is refused.
    """
    found = state.run(run)
    if found is None:
        return None
    for one in found.parts:
        if one.worker == part.worker:
            return state if one.ended is None else None
    over = any(one.ended is not None for one in found.parts)
    if not found.active or found.stop or over or len(found.parts) >= found.places:
        return None
    return state.with_run(replace(found, state=RUNNING, parts=(*found.parts, part)))


def end_part(state: JobState, run: str, part: Part) -> JobState:
    """Store how *part* ended. The run ends with its last part, by the worst outcome of all. Nothing
    changes if it was ended before.
    """
    found = state.run(run)
    assert part.ended is not None
    if found is None or not any(one.worker == part.worker and one.ended is None for one in found.parts):
        return state
    parts = tuple(part if one.worker == part.worker else one for one in found.parts)
    found = replace(found, parts=parts)
    if any(one.ended is None for one in parts):
        return state.with_run(found)
    worst = max(parts, key=lambda one: OUTCOMES.index(one.outcome) if one.outcome in OUTCOMES else len(OUTCOMES))
    if found.stop and worst.outcome in RETRIED:
        # Whatever a part made of it: it ended because somebody wanted that, and is not retried.
        return state.with_run(end(found, found.stop, worst.reason, part.ended))
    return state.with_run(end(found, worst.outcome, worst.reason, part.ended))


def end(run: Run, outcome: str, reason: str, now: float) -> Run:
    return replace(run, state=ENDED, outcome=outcome, reason=reason, ended=now)


def retry(state: JobState, run: str, retries: int, delay: float, now: float) -> JobState:
    """Add the next attempt of a run that ended badly, if there is one left. Twice is the same as
    once.
    """
    found = state.run(run)
    if found is None or found.state != ENDED or found.outcome not in RETRIED or found.stop or found.attempt > retries:
        return state
    base = found.id.partition("#")[0]
    attempt = found.attempt + 1
    if state.run(f"{base}#{attempt}") is not None:
        return state
    again = Run(
        id=f"{base}#{attempt}",
        instant=found.instant,
        due=now + delay,
        kind=found.kind,
        attempt=attempt,
        executor=found.executor,
        places=found.places,
        args=found.args,
    )
    return state.with_run(again)


def note(state: JobState, run: Run) -> JobState:
    """Store *run*, which never ran; if the last such record has the same reason, it counts this one,
    too. Sixty skips are one line.
    """
    others = [one for one in state.runs if one.state == ENDED and one.outcome in NEVER_RAN and one.id != run.id]
    last = others[-1] if others else None
    same = last is not None and (last.outcome, last.reason, last.kind) == (run.outcome, run.reason, run.kind)
    if last is None or not same or run.attempt > 1 or last.attempt > 1 or run.instant < last.instant:
        return state.with_run(run)
    without = replace(state, runs=tuple(one for one in state.runs if one.id != run.id))
    return without.with_run(replace(last, count=last.count + run.count, until=run.instant, ended=run.ended))


def ask_to_stop(state: JobState, run: str, why: str, now: float) -> JobState:
    """Ask a run to stop, *why* being its outcome then; one that did not start ends at once."""
    found = state.run(run)
    if found is None or found.state == ENDED or found.stop:
        return state
    if found.state != RUNNING:
        return state.with_run(end(found, why, "before it started", now))
    return state.with_run(replace(found, stop=why))


def cancel(state: JobState, run: str, dead: Collection[str], now: float) -> JobState:
    """A person asks a run to stop. Parts of launchers that give no sign of life (*dead*) end at once:
    nobody would obey.
    """
    state = ask_to_stop(state, run, "cancelled", now)
    found = state.run(run)
    for part in found.parts if found is not None else ():
        if part.ended is None and part.worker in dead:
            gone = replace(part, ended=now, outcome="cancelled", reason="its launcher gave no sign of life")
            state = end_part(state, run, gone)
    return state
