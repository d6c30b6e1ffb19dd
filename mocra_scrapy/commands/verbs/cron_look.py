"""``scrapy cron list | next | history | check``: they change nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from itertools import islice

from scrapy.commands import ScrapyCommand
from scrapy.spiderloader import get_spider_loader

from mocra_scrapy.commands.verbs.backend_session import opened_jobs
from mocra_scrapy.commands.verbs.cron_run import FINE, WRONG, add_file, options_of
from mocra_scrapy.cron import zones
from mocra_scrapy.cron.config import load_jobs
from mocra_scrapy.cron.job_store import Store, Stored
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.state import Run, as_json, utc
from mocra_scrapy.cron.suggestions import did_you_mean
from mocra_scrapy.exceptions import ConfigurationError, MocraError


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


class _Looking:
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


class List(_Looking):
    """Jobs, when they run next, and how the last run ended."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("--tag", help="only jobs with this tag")

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        jobs, states = load_jobs(options.source()), asyncio.run(read_states(options))
        rows: list[tuple[str, ...]] = [("JOB", "SPIDER", "SCHEDULE", "ZONE", "NEXT", "GOING ON", "LAST")]
        for job in chosen(jobs, [], arguments.tag):
            stored = states.get(job.name)
            runs = stored.state.runs if stored else ()
            ended = [run for run in runs if run.ended is not None]
            last = f"{ended[-1].outcome} {clock_time(job, ended[-1].instant)}" if ended else "-"
            following = next(job.schedule.after(time.time()), None)
            coming = clock_time(job, following.instant) if following else "-"
            if not job.enabled or (stored and stored.state.paused):
                coming = "disabled" if not job.enabled else "paused"
            going_on = sum(run.active for run in runs)
            rows.append((job.name, job.spider, job.schedule.text, job.schedule.zone.key, coming, str(going_on), last))
        print(table(rows))
        for name in sorted(states.keys() - jobs.keys()):
            print(
                f"{name}: not in the jobs file, but something is stored of it; `scrapy cron forget {name}` deletes that"
            )
        for name, stored in states.items():
            if stored.state.last is not None and stored.state.last > time.time() + 60:
                print(f"{name}: its last instant, {utc(stored.state.last)}, is in the future: a clock was wrong. "
                      f"It does not run before that; `scrapy cron resume {name}` lets it run again now")  # fmt: skip
        return FINE


class Next(_Looking):
    """The coming instants of each job, in its time zone, with a note where the clocks change."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("job", nargs="*", help="names of jobs (default: all)")
        parser.add_argument("-n", "--count", type=int, default=5, help="instants of each (default: 5)")
        parser.add_argument("--after", metavar="TIME", help="begin there: 2027-03-27T00:00:00Z (default: now)")

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        begin = time.time() if arguments.after is None else _instant(arguments.after)
        for job in chosen(load_jobs(options.source()), arguments.job):
            how = "" if job.enabled else ", disabled"
            kind = "fixed times" if job.schedule.fixed else "follows elapsed time"
            print(f"{job.name}: {job.schedule.text} in {job.schedule.zone.key} ({kind}{how})")
            for fire in islice(job.schedule.after(begin), max(0, arguments.count)):
                note = f"  # {fire.note}" if fire.note else ""
                print(f"  {clock_time(job, fire.instant)}  {utc(fire.instant)}{note}")
        return FINE


def _instant(text: str) -> float:
    from datetime import datetime, timezone

    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise ConfigurationError("--after", f"{text!r} is no time", "Write 2027-03-27T00:00:00Z") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


class History(_Looking):
    """Runs that were and those going on, oldest first."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("job", nargs="*", help="names of jobs (default: all, also those that left the file)")
        parser.add_argument("-n", "--limit", type=int, default=50, help="runs shown (default: 50)")
        parser.add_argument(
            "--json", action="store_true", help="one JSON object a line, with all that is known of a run"
        )

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        states = asyncio.run(read_states(options))
        for name in arguments.job:
            if name not in states:
                chosen(load_jobs(options.source()), [name])
        found = [
            (name, run)
            for name, stored in states.items()
            if not arguments.job or name in arguments.job
            for run in stored.state.runs
        ]
        found.sort(key=lambda one: (one[1].due, one[1].id))
        found = found[max(0, len(found) - arguments.limit) :]
        if arguments.json:
            for name, run in found:
                print(json.dumps({"job": name, **as_json(run)}))
            return FINE
        rows: list[tuple[str, ...]] = [("RUN", "KIND", "STATE", "TOOK", "EXIT", "FINISH", "ITEMS", "ERRORS", "WHY")]
        for _, run in found:
            last = run.parts[-1] if run.parts else None
            code = "-" if last is None or last.exit_code is None else str(last.exit_code)
            finish = (last.finish_reason if last else "") or "-"
            rows.append(
                (run.id, run.kind, run.outcome or run.state, length(run), code, finish, *counts(run), run.reason)
            )
        print(table(rows))
        return FINE


class Check(_Looking):
    """Look for mistakes in the jobs file, and for spiders that the project doesn't have. Exit code
    1: there are some.
    """

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        source = options.source()
        jobs = load_jobs(source)
        assert command.settings is not None
        known = get_spider_loader(command.settings).list()
        wrong = 0
        for job in jobs.values():
            if job.spider not in known:
                wrong += 1
                fix = did_you_mean(job.spider, known) or f"There are {', '.join(sorted(known)) or 'none'}"
                where = source.place(("jobs", job.name, "spider"))
                print(f"Error: {where}: the project has no spider {job.spider!r}. {fix}", file=sys.stderr)
            elif job.executor == "queue" and Store(options.address).single:
                print(f'{job.name}: executor = "queue" on memory:// reaches workers on this machine only')
        if wrong:
            return WRONG
        print(f"{source}: {len(jobs)} jobs, nothing wrong")
        return FINE
