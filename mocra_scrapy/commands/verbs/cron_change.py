"""``scrapy cron trigger | pause | resume | cancel | forget``: through the shared state, so from any
machine.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from dataclasses import replace

from scrapy.commands import ScrapyCommand
from scrapy.utils.conf import arglist_to_dict

from mocra_scrapy.commands.verbs.backend_session import opened_jobs
from mocra_scrapy.commands.verbs.cron_run import FINE, WRONG, add_file, options_of
from mocra_scrapy.commands.verbs.cron_shown import chosen
from mocra_scrapy.cron.config import load_jobs
from mocra_scrapy.cron.crawl_process import forget_files
from mocra_scrapy.cron.job_store import Store, Stored
from mocra_scrapy.cron.local_processes import launcher_lives
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.run_steps import cancel
from mocra_scrapy.cron.state import ENDED, JobState, Run, run_id
from mocra_scrapy.cron.suggestions import did_you_mean
from mocra_scrapy.exceptions import ConfigurationError, MocraError

#: Exit code: what was waited for did not come in time.
LATE = 3


class _Changing:
    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_file(parser)
        parser.add_argument("job", nargs="+", help="names of jobs")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        try:
            return asyncio.run(self._connected(options, options_of(command, options)))
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
            return WRONG
        except KeyboardInterrupt:  # of one who does not want to wait any more: what was told stays told
            print("not waited for", file=sys.stderr)
            return LATE

    async def _connected(self, arguments: argparse.Namespace, options: CronOptions) -> int:
        async with opened_jobs(options) as store:
            return await self.change(arguments, options, store)

    async def change(self, arguments: argparse.Namespace, options: CronOptions, store: Store) -> int:
        raise NotImplementedError


class Trigger(_Changing):
    """Run jobs now, whatever their schedule says, also disabled and paused ones. A runner has to be
    there to start them.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        parser.add_argument(
            "-a", action="append", default=[], metavar="NAME=VALUE", help="an argument beside those of the job"
        )
        parser.add_argument(
            "--wait", action="store_true", help="until they have ended; exit code 1: one did not succeed"
        )
        parser.add_argument("--timeout", type=float, default=86_400.0, help="s to wait at most (default: a day)")

    async def change(self, arguments: argparse.Namespace, options: CronOptions, store: Store) -> int:
        try:
            args = arglist_to_dict(arguments.a)
        except ValueError as error:
            raise ConfigurationError("-a", "it is not NAME=VALUE", "Write -a NAME=VALUE") from error
        started = []
        for job in chosen(load_jobs(options.source()), arguments.job):
            now = time.time()
            run = Run(
                id=run_id(job.name, int(now), mark=secrets.token_hex(2)),
                instant=int(now),
                due=now,
                kind="manual",
                executor=job.executor,
                places=job.workers,
                args=args,
            )

            def step(state: JobState, run: Run = run) -> JobState:
                return state if state.run(run.id) else state.with_run(run)

            state = await store.change(job.name, step)
            print(run.id, flush=True)
            started.append(run.id)
            others = [one.id for one in state.runs if one.active] if state else []
            if others and job.concurrency == "forbid":
                print(f"{others[-1]} is going on: unless it ends first this run will be skipped (concurrency = forbid)")
        if await store.election.leader() is None:
            print("No runner leads now: it will run when one does", flush=True)
        if getattr(arguments, "wait", False):
            return await wait_for_runs(store, started, arguments.timeout, succeeded=True)
        return FINE


class Pause(_Changing):
    """Let jobs rest until they are resumed: nothing is due meanwhile, and nothing is caught up.
    Runs that are going on are left alone.
    """

    async def change(self, arguments: argparse.Namespace, options: CronOptions, store: Store) -> int:
        for job in chosen(load_jobs(options.source()), arguments.job):
            await store.change(job.name, lambda state: replace(state, paused=True, identity=""))
            print(f"{job.name} is paused")
        return FINE


class Resume(_Changing):
    """End a pause. Also lets a job run again whose last instant lies in the future because a clock
    was wrong.
    """

    async def change(self, arguments: argparse.Namespace, options: CronOptions, store: Store) -> int:
        def step(state: JobState) -> JobState:
            last = None if state.last is not None and state.last > time.time() else state.last
            return replace(state, paused=False, last=last, identity="" if last is None else state.identity)

        for job in chosen(load_jobs(options.source()), arguments.job):
            await store.change(job.name, step)
            print(f"{job.name} runs as its schedule says")
        return FINE


class Cancel(_Changing):
    """Stop runs: SIGTERM, and SIGKILL after stop_grace. The name of a job stands for all its runs
    that have not ended. A run whose launcher died ends at once.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("run", nargs="+", help="ids of runs (see `scrapy cron history`), or names of jobs")
        parser.add_argument("--wait", action="store_true", help="until they have ended")
        parser.add_argument("--timeout", type=float, default=3600.0, help="s to wait at most (default: 3600)")

    async def change(self, arguments: argparse.Namespace, options: CronOptions, store: Store) -> int:
        states, told = await store.everything(), []
        for name in arguments.run:
            job = name.partition("@")[0]
            ids = _unfinished(name, job, states)
            dead = await _without_life(store, job, states[job].state, ids)

            def step(state: JobState, ids: list[str] = ids, dead: frozenset[str] = dead) -> JobState:
                for one in ids:
                    state = cancel(state, one, dead, time.time())
                return state

            state = await store.change(job, step)
            for one in ids:
                run = state.run(one) if state else None
                over = run is None or run.state == ENDED
                print(f"{one} is cancelled" if over else f"{one} is told to stop")
            told += ids
            if not ids:
                print(f"{job}: nothing is waiting or going on")
        if getattr(arguments, "wait", False):
            return await wait_for_runs(store, told, arguments.timeout, succeeded=False)
        return FINE


def _unfinished(name: str, job: str, states: dict[str, Stored]) -> list[str]:
    """Ids of the runs that *name*, a run or a job, stands for."""
    if job not in states:
        fix = did_you_mean(job, states) or "See `scrapy cron history`"
        raise ConfigurationError(name, "nothing is stored of such a job", fix)
    known = [run.id for run in states[job].state.runs if run.state != ENDED]
    if name == job:
        return known
    if name not in known:
        fix = did_you_mean(name, known) or "See `scrapy cron history`"
        raise ConfigurationError(name, "no such run is waiting or going on", fix)
    return [name]


async def _without_life(store: Store, job: str, state: JobState, ids: list[str]) -> frozenset[str]:
    """Launchers of these runs that give no sign of life."""
    runs = [run for run in state.runs if run.id in ids]
    parts = frozenset(part.worker for run in runs for part in run.parts if part.ended is None)
    alive = await store.signs.alive(job, parts) if parts else frozenset()
    here = {part.worker for run in runs for part in run.parts if launcher_lives(part.machine, part.pid, run.id)}
    return parts - alive - here


async def wait_for_runs(store: Store, ids: list[str], timeout: float, *, succeeded: bool) -> int:
    """Until all have ended; what became of each is printed. 0; 1 when *succeeded* is asked for and one
    did not; 3 when time was up.
    """
    deadline, open_runs, code = time.monotonic() + timeout, dict.fromkeys(ids), FINE
    while open_runs:
        states = await store.everything()
        for one in list(open_runs):
            job = states.get(one.partition("@")[0])
            run = job.state.run(one) if job else None
            if run is None or run.state == ENDED:
                del open_runs[one]
                outcome = run.outcome if run else "forgotten"
                print(f"{one} {outcome}{f': {run.reason}' if run and run.reason else ''}", flush=True)
                if succeeded and outcome != "succeeded":
                    code = WRONG
        if open_runs and time.monotonic() > deadline:
            print(f"Error: {', '.join(open_runs)} did not end within {timeout:g} s", file=sys.stderr)
            return LATE
        await asyncio.sleep(0.5 if open_runs else 0)
    return code


class Forget(_Changing):
    """Delete what is stored of jobs, their history and the files of their runs on this machine
    included: for jobs that left the file, and for damaged values.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("job", nargs="+", help="names of jobs")

    async def change(self, arguments: argparse.Namespace, options: CronOptions, store: Store) -> int:
        states = await store.everything()
        for name in arguments.job:
            if name not in states:
                raise ConfigurationError(
                    name, "nothing is stored of such a job", did_you_mean(name, states) or "See `scrapy cron list`"
                )
            ids = [run.id for run in states[name].state.runs if run.parts and run.state != ENDED]
            parts = {part.worker for run in states[name].state.runs for part in run.parts if part.ended is None}
            if parts - await _without_life(store, name, states[name].state, ids):
                raise ConfigurationError(name, "a run is going on", f"First: scrapy cron cancel {name} --wait")
            await store.shared.put(name, None)
            forget_files(store.folder, name)
            print(f"{name} is forgotten")
        return FINE
