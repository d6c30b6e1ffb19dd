"""``scrapy cron list | status``: what there is, and whether all is well."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.backend_session import opened_jobs
from mocra_scrapy.commands.verbs.cron_run import FINE
from mocra_scrapy.commands.verbs.cron_shown import Looking, chosen, clock_time, span, table
from mocra_scrapy.cron.config import load_jobs
from mocra_scrapy.cron.job_store import Stored
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.leader_note import LeaderNote, jobs_digest
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.state import ENDED, JobState, Run, utc
from mocra_scrapy.models import Term

#: Exit code: it could be found out, and is not well.
UNWELL = 3
#: Seconds that a run may be late before it counts as late: a leader looks every five.
SLACK = 30.0


async def read_all(options: CronOptions) -> tuple[dict[str, Stored], Term | None, LeaderNote | None]:
    """What is stored of all jobs, who leads, and what the (last) leader wrote of itself."""
    async with opened_jobs(options) as store:
        return await store.everything(), await store.election.leader(), await store.leading()


def last_ended(runs: tuple[Run, ...], *outcomes: str) -> Run | None:
    """The newest run that ended so (in any way)."""
    found = [run for run in runs if run.state == ENDED and (not outcomes or run.outcome in outcomes)]
    return max(found, key=lambda run: run.ended or 0.0, default=None)


def last_outcome(runs: tuple[Run, ...]) -> Run | None:
    """The newest run that ended and tells something: instants that were skipped beside a slow run hide
    no failure.
    """
    return last_ended(tuple(run for run in runs if run.outcome != "skipped")) or last_ended(runs)


def facts_of(job: Job, state: JobState, now: float) -> dict[str, Any]:
    """What ``list --json`` tells of a job."""
    following = next(job.schedule.after(now), None)
    resting = "disabled" if not job.enabled else "paused" if state.paused else ""
    coming = following.instant if following and not resting else None
    success, last = last_ended(state.runs, "succeeded"), last_outcome(state.runs)
    return {
        "job": job.name,
        "spider": job.spider,
        "schedule": job.schedule.text,
        "timezone": job.schedule.zone.key,
        "state": resting or "scheduled",
        "next": None if coming is None else utc(coming),
        "left": None if coming is None else round(coming - now, 1),
        "going_on": [run.id for run in state.runs if run.active and not run.unclaimed],
        "last_success": None if success is None or success.ended is None else utc(success.ended),
        "last_outcome": None if last is None else last.outcome,
        "last_run": None if last is None else last.id,
        "missed": state.missed,
    }


class List(Looking):
    """Jobs, when they run next, their last success, how the last run ended."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--tag", help="only jobs with this tag")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        jobs, now = load_jobs(options.source()), time.time()
        states, _, note = asyncio.run(read_all(options))
        rows: list[tuple[str, ...]] = [
            ("JOB", "SPIDER", "SCHEDULE", "ZONE", "NEXT", "LEFT", "GOING ON", "LAST SUCCESS", "OUTCOME")
        ]
        for job in chosen(jobs, [], arguments.tag):
            state = states.get(job.name, Stored.nothing()).state
            facts = facts_of(job, state, now)
            if arguments.json:
                print(json.dumps(facts))
                continue
            success = last_ended(state.runs, "succeeded")
            following = next(job.schedule.after(now), None)
            coming = (
                facts["state"] if facts["next"] is None or following is None else clock_time(job, following.instant)
            )
            rows.append(
                (job.name, job.spider, job.schedule.text, job.schedule.zone.key, coming,
                 "-" if facts["left"] is None else span(facts["left"]), str(len(facts["going_on"])),
                 "-" if success is None or success.ended is None else f"{span(now - success.ended)} ago",
                 facts["last_outcome"] or "-")
            )  # fmt: skip
        if not arguments.json:
            print(table(rows))
            print("".join(f"{line}\n" for line in _oddities(jobs, states, note, now)), end="")
        return FINE


def _oddities(jobs: Mapping[str, Job], states: Mapping[str, Stored], note: LeaderNote | None, now: float) -> list[str]:
    lines = []
    different = note.differs(jobs_digest(jobs)) if note is not None else ""
    if different:
        lines.append(different[0].upper() + different[1:])
    for name in sorted(states.keys() - jobs.keys()):
        if different and note is not None and name in note.jobs:
            lines.append(f"{name}: a job of that runner, not of this file")
        else:
            lines.append(
                f"{name}: not in the jobs file, but something is stored of it; `scrapy cron forget {name}` deletes that"
            )
    for name, stored in states.items():
        if stored.state.last is not None and stored.state.last > now + 60:
            lines.append(
                f"{name}: its last instant, {utc(stored.state.last)}, is in the future: a clock was wrong. "
                f"It does not run before that; `scrapy cron resume {name}` lets it run again now"
            )
    return lines


class Status(Looking):
    """Is a runner alive, who leads, since when, with which jobs; what is late or went wrong. Exit codes,
    for monitoring: 0 all is well; 1 it can't be found out; 3 nobody leads, or something is late.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        jobs, now = load_jobs(options.source()), time.time()
        states, term, note = asyncio.run(read_all(options))
        wrong = problems(jobs, states, term, note, now)
        failing = [
            f"{job.name}: {last.outcome}{f': {last.reason}' if last.reason else ''} ({last.id})"
            for job in jobs.values()
            if (last := last_outcome(states.get(job.name, Stored.nothing()).state.runs)) and last.outcome != "succeeded"
        ]
        leader = note if term is not None else None
        if arguments.json:
            told = {
                "leader": None if term is None else term.leader,
                "since": None if leader is None else utc(leader.since),
                "digest": None if leader is None else leader.digest,
                "jobs": len(jobs),
                "problems": wrong,
                "last_run_not_succeeded": failing,
            }
            print(json.dumps(told))
        else:
            print(_leads(term, leader, now))
            print(f"Jobs: {len(jobs)} of {options.source()}, digest {jobs_digest(jobs)}")
            print("".join(f"Problem: {line}\n" for line in wrong), end="")
            print("".join(f"Last run: {line}\n" for line in failing), end="")
        return UNWELL if wrong else FINE


def _leads(term: Term | None, note: LeaderNote | None, now: float) -> str:
    if term is None:
        return "Nobody leads: nothing is started"
    if note is None:
        return f"Leads: {term.leader}"
    since = f"since {utc(note.since)} ({span(now - note.since)}), term {note.term}"
    return f"Leads: {note.runner} on {note.host}, process {note.pid}, {since}, jobs of {note.source}"


def problems(
    jobs: Mapping[str, Job], states: Mapping[str, Stored], term: Term | None, note: LeaderNote | None, now: float
) -> list[str]:
    """What is not as it should be, a sentence each."""
    found = [] if term is not None else ["no runner leads: start `scrapy cron run`"]
    if term is not None and note is not None and (different := note.differs(jobs_digest(jobs))):
        found.append(different)
    for job in jobs.values():
        stored = states.get(job.name, Stored.nothing())
        state = stored.state
        if state.broken:
            found.append(f"{job.name}: what is stored can't be read; `scrapy cron forget {job.name}` deletes it")
            continue
        grace = max(SLACK, job.misfire_grace)
        if job.enabled and not state.paused and state.last is not None:
            missed = next(job.schedule.after(state.last), None)
            if missed is not None and missed.instant < now - SLACK:
                found.append(
                    f"{job.name}: nobody has decided on {utc(missed.instant)}, {span(now - missed.instant)} ago"
                )
        late = [run for run in state.runs if run.state != ENDED and not run.parts and run.due < now - grace]
        found += [f"{run.id}: {run.state}, was due {span(now - run.due)} ago" for run in late if not state.paused]
    return found
