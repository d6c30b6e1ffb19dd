"""A job and its states, for tests of what a leader decides."""

from __future__ import annotations

from typing import Any

from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.run_steps import claim, end_part
from mocra_scrapy.cron.schedule import Schedule
from mocra_scrapy.cron.state import JobState, Part, utc

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
