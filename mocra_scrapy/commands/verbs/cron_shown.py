"""How the verbs of ``scrapy cron`` read the state and show it."""

from __future__ import annotations

import argparse
import re
import sys
import time
from datetime import datetime, timezone

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.backend_session import opened_jobs
from mocra_scrapy.commands.verbs.cron_run import WRONG, add_file, options_of
from mocra_scrapy.cron import zones
from mocra_scrapy.cron.job_store import Stored
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.state import Run
from mocra_scrapy.cron.suggestions import did_you_mean
from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.settings.checks import SECONDS


async def read_states(options: CronOptions) -> dict[str, Stored]:
    """What is stored of all jobs."""
    async with opened_jobs(options) as store:
        return await store.everything()


def chosen(jobs: dict[str, Job], names: list[str], tag: str | None = None) -> list[Job]:
    """The jobs called *names* (all if there are none) that have *tag*.

    Raises:
        ConfigurationError: there is no such job.
    """
    for name in names:
        if name not in jobs:
            raise ConfigurationError(
                name, "there is no such job", did_you_mean(name, jobs) or f"There are {', '.join(jobs)}"
            )
    return [job for job in jobs.values() if (not names or job.name in names) and (tag is None or tag in job.tags)]


def clock_time(job: Job, instant: float) -> str:
    """``2026-11-24 02:30:00 +0100`` in the job's zone."""
    shown = zones.local(job.schedule.zone, int(instant))
    minutes = zones.offset(job.schedule.zone, int(instant)) // 60
    sign, minutes = ("-" if minutes < 0 else "+"), abs(minutes)
    return f"{shown:%Y-%m-%d %H:%M:%S} {sign}{minutes // 60:02}{minutes % 60:02}"


def length(run: Run) -> str:
    if run.started is None:
        return "-"
    return f"{(run.ended or time.time()) - run.started:.0f} s"


def counts(run: Run) -> tuple[str, str]:
    """Items and errors, added up; ``-``: unknown."""
    items = [part.items for part in run.parts if part.items is not None]
    errors = [part.errors for part in run.parts if part.errors is not None]
    return (str(sum(items)) if items else "-"), (str(sum(errors)) if errors else "-")


def table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def span(seconds: float) -> str:
    """``2d 3h``, ``5min``, ``12s``: two units at most."""
    left, out = round(seconds), list[str]()
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= size and len(out) < 2:
            out.append(f"{left // size}{unit}")
            left %= size
        elif out:
            break
    return " ".join(out) or "0s"


def moment(option: str, text: str) -> float:
    """Seconds since the epoch of an ISO time (without a zone it is UTC), or of ``90s``, ``30m``, ``2h``,
    ``7d`` ago.

    Raises:
        ConfigurationError: it is none.
    """
    if (ago := re.fullmatch(r"(\d{1,6})([smhd])", text)) is not None:
        return time.time() - int(ago[1]) * SECONDS[ago[2]]
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigurationError(
            option, f"{text!r} is not a time", "Write 2027-03-27T00:00:00Z, or 2h for two hours ago"
        ) from error


class Looking:
    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_file(parser)

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        try:
            return self.show(options, options_of(command, options), command)
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
            return WRONG

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        raise NotImplementedError
