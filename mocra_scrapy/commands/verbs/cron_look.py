"""``scrapy cron next | history | show | logs``: they change nothing."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.cron_run import FINE
from mocra_scrapy.commands.verbs.cron_shown import (
    Looking,
    chosen,
    clock_time,
    counts,
    length,
    moment,
    read_states,
    table,
)
from mocra_scrapy.commands.verbs.verb import positive
from mocra_scrapy.cron.config import load_jobs
from mocra_scrapy.cron.job_store import Stored
from mocra_scrapy.cron.jobs import KEYS
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.run_json import run_json
from mocra_scrapy.cron.state import ENDED, FAILURES, INTENDED, Run, utc
from mocra_scrapy.cron.suggestions import did_you_mean
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError


class Next(Looking):
    """The coming instants of each job, in its time zone, with a note where the clocks change."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("job", nargs="*", help="names of jobs (default: all)")
        parser.add_argument("-n", "--count", type=positive, default=5, help="instants of each (default: 5)")
        parser.add_argument("--after", metavar="TIME", help="begin there: 2027-03-27T00:00:00Z (default: now)")
        parser.add_argument("--json", action="store_true", help="one JSON object for each instant, a line each")

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        begin = time.time() if arguments.after is None else moment("--after", arguments.after)
        for job in chosen(load_jobs(options.source()), arguments.job):
            if arguments.json:
                for fire in islice(job.schedule.after(begin), arguments.count):
                    print(json.dumps({"job": job.name, "instant": utc(fire.instant), "note": fire.note}))
                continue
            how = "" if job.enabled else ", disabled"
            kind = "fixed times" if job.schedule.fixed else "follows elapsed time"
            print(f"{job.name}: {job.schedule.text} in {job.schedule.zone.key} ({kind}{how})")
            for fire in islice(job.schedule.after(begin), arguments.count):
                note = f"  # {fire.note}" if fire.note else ""
                print(f"  {clock_time(job, fire.instant)}  {utc(fire.instant)}{note}")
        return FINE


class History(Looking):
    """Runs that were and those going on, oldest first."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("job", nargs="*", help="names of jobs (default: all, also those that left the file)")
        parser.add_argument("-n", "--limit", type=positive, default=50, help="runs shown (default: 50)")
        parser.add_argument("--job", dest="jobs", action="append", default=[], help="the same as naming it")
        parser.add_argument("--failed", action="store_true", help="only runs that went wrong, or were missed")
        parser.add_argument("--since", metavar="TIME", help="only runs due from then on: 2027-03-27T00:00:00Z, or 2h")
        parser.add_argument(
            "--json", action="store_true", help="one JSON object a line, with all that is known of a run"
        )

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        states, wanted = asyncio.run(read_states(options)), [*arguments.job, *arguments.jobs]
        for name in wanted:
            if name not in states:
                chosen(load_jobs(options.source()), [name])
        since = moment("--since", arguments.since) if arguments.since else float("-inf")
        found = [
            (name, run)
            for name, stored in states.items()
            if not wanted or name in wanted
            for run in stored.state.runs
            if run.due >= since and (not arguments.failed or run.outcome in FAILURES | {"missed"})
        ]
        found.sort(key=lambda one: (one[1].due, one[1].id))
        found = found[max(0, len(found) - arguments.limit) :]
        if arguments.json:
            for name, run in found:
                print(json.dumps(run_json(name, run)))
        else:
            print(history_table([run for _, run in found]))
        return FINE


def history_table(runs: list[Run]) -> str:
    rows: list[tuple[str, ...]] = [("RUN", "KIND", "STATE", "TOOK", "EXIT", "FINISH", "ITEMS", "ERRORS", "WHY")]
    for run in runs:
        last = run.parts[-1] if run.parts else None
        code = "-" if last is None or last.exit_code is None else str(last.exit_code)
        finish = (last.finish_reason if last else "") or "-"
        state = (run.outcome or run.state) + (f" ×{run.count}" if run.count > 1 else "")
        rows.append((run.id, run.kind, state, length(run), code, finish, *counts(run), run.reason))
    return table(rows)


class Show(Looking):
    """All that is known of a job: its keys, the coming instants, its state, its last runs."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("job", help="name of a job")
        parser.add_argument("--json", action="store_true", help="as one JSON object")

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        (job,) = chosen(load_jobs(options.source()), [arguments.job])
        state = asyncio.run(read_states(options)).get(job.name, Stored.nothing()).state
        coming = [utc(fire.instant) for fire in islice(job.schedule.after(time.time()), 5)]
        keys = {name: getattr(job, name) for name in KEYS if name != "timezone"}
        keys = {**keys, "schedule": job.schedule.text, "timezone": job.schedule.zone.key}
        last = None if state.last is None else utc(state.last)
        if arguments.json:
            told = {"job": job.name, "keys": keys, "next": coming, "paused": state.paused, "last": last}
            told |= {"missed": state.missed, "runs": [run_json(job.name, run) for run in state.runs]}
            print(json.dumps(told, default=_text))
            return FINE
        print(job.name)
        for name, value in sorted(keys.items()):
            if value not in (None, "", (), {}):
                print(f"  {name} = {_as_written(value)}")
        print(f"Next: {', '.join(coming) or 'never'}" + (" (paused)" if state.paused else ""))
        print(f"Last decided instant: {last or 'none'}; missed: {state.missed}")
        print(history_table(list(state.runs[-10:])))
        return FINE


def _as_written(value: Any) -> str:
    """As the jobs file would say it; a text by itself without its quotes."""
    if isinstance(value, str) or hasattr(value, "text"):
        return _text(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_as_written(one)}" for name, one in value.items()) + " }"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, default=_text, ensure_ascii=False)


def _text(value: object) -> str:
    return value.text if hasattr(value, "text") else str(value)


class Logs(Looking):
    """Print the log of a run (the newest of a job); -f: wait for its start, and go on until it has ended."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument("run", help="id of a run (see `scrapy cron history`), or name of a job")
        parser.add_argument("-f", "--follow", action="store_true", help="go on until the run has ended")

    def show(self, arguments: argparse.Namespace, options: CronOptions, command: ScrapyCommand) -> int:
        try:
            if not arguments.follow:
                run = _find(arguments.run, asyncio.run(read_states(options)))
                with _log_of(run).open("r", encoding="utf-8", errors="replace") as file:
                    shutil.copyfileobj(file, sys.stdout)
            else:
                self._follow(arguments.run, options)
        except KeyboardInterrupt:  # how people stop following
            print(file=sys.stderr)
        return FINE

    def _follow(self, name: str, options: CronOptions) -> None:
        """From the start of the run, which may be to come, until it has ended."""
        run = _find(name, asyncio.run(read_states(options)), coming=True)
        while not _logs_here(run) and run.state != ENDED and not _is_elsewhere(run):
            time.sleep(0.2)
            run = _again(run, options)
        with _log_of(run).open("r", encoding="utf-8", errors="replace") as file:
            while True:
                shutil.copyfileobj(file, sys.stdout)
                sys.stdout.flush()
                if run.state == ENDED:
                    return
                time.sleep(0.5)
                run = _again(run, options)


def _again(run: Run, options: CronOptions) -> Run:
    """What became of *run*; the same while the backend doesn't answer: the log may go on."""
    try:
        return _find(run.id, asyncio.run(read_states(options)), coming=True)
    except BackendUnavailable:
        return run


def _find(name: str, states: dict[str, Stored], *, coming: bool = False) -> Run:
    """The run, or the newest of a job, that was started; or, with *coming*, that is to be."""
    job = name.partition("@")[0]
    state = states.get(job, Stored.nothing()).state
    known = {run.id: run for run in state.runs if run.parts or coming}
    if name in known:
        return known[name]
    started = [run for run in known.values() if run.parts or run.state == INTENDED]
    if name == job and started:
        return started[-1]
    known_ids = [*known, *states]
    raise ConfigurationError(
        name, "no such run has started", did_you_mean(name, known_ids) or "See `scrapy cron history`"
    )


def _logs_here(run: Run) -> list[Path]:
    return [Path(part.log) for part in run.parts if part.log and Path(part.log).is_file()]


def _is_elsewhere(run: Run) -> bool:
    return bool(run.parts) and all(part.host != socket.gethostname() for part in run.parts)


def _log_of(run: Run) -> Path:
    if here := _logs_here(run):
        return here[-1]
    if not run.parts:
        raise ConfigurationError(run.id, f"it never started: {run.reason or run.outcome}", "See `scrapy cron history`")
    part = run.parts[-1]
    where = "on this machine, but deleted" if part.host == socket.gethostname() else f"on {part.host}"
    raise ConfigurationError(run.id, f"its log is {where}: {part.log}", "Look there, or see `scrapy cron history`")
