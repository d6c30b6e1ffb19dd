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

from mocra_scrapy.commands.verbs.cron_look import chosen
from mocra_scrapy.commands.verbs.cron_run import FINE, WRONG, add_file, options_of
from mocra_scrapy.cron.config import load_jobs
from mocra_scrapy.cron.job_store import Store
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.run_steps import ask_to_stop
from mocra_scrapy.cron.state import ENDED, JobState, Run, run_id
from mocra_scrapy.cron.suggestions import did_you_mean
from mocra_scrapy.exceptions import ConfigurationError, MocraError


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

    async def _connected(self, arguments: argparse.Namespace, options: CronOptions) -> int:
        store = Store(options.address)
        try:
            await store.open(options.start_timeout)
            return await self.change(arguments, options, store)
        finally:
            await store.close()

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

    async def change(self, arguments: argparse.Namespace, options: CronOptions, store: Store) -> int:
        try:
            args = arglist_to_dict(arguments.a)
        except ValueError as error:
            raise ConfigurationError("-a", "it is not NAME=VALUE", "Write -a NAME=VALUE") from error
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
            print(run.id)
            others = [one.id for one in state.runs if one.active] if state else []
            if others and job.concurrency == "forbid":
                print(f"{others[-1]} is going on: unless it ends first this run will be skipped (concurrency = forbid)")
        if await store.election.leader() is None and not store.single:
            print("No runner leads now: it will run when one does")
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
    that have not ended.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("run", nargs="+", help="ids of runs (see `scrapy cron history`), or names of jobs")

    async def change(self, arguments: argparse.Namespace, options: CronOptions, store: Store) -> int:
        states = await store.everything()
        for name in arguments.run:
            job = name.partition("@")[0]
            if job not in states:
                raise ConfigurationError(
                    name, "nothing is stored of such a job", did_you_mean(job, states) or "See `scrapy cron history`"
                )
            known = [run.id for run in states[job].state.runs if run.state != ENDED]
            ids = known if name == job else [name]
            if name != job and name not in known:
                raise ConfigurationError(
                    name, "no such run is waiting or going on", did_you_mean(name, known) or "See `scrapy cron history`"
                )

            def step(state: JobState, ids: list[str] = ids) -> JobState:
                for one in ids:
                    state = ask_to_stop(state, one, "cancelled", time.time())
                return state

            await store.change(job, step)
            print("\n".join(f"{one} is told to stop" for one in ids) or f"{job}: nothing is waiting or going on")
        return FINE


class Forget(_Changing):
    """Delete what is stored of jobs, their history included: for jobs that left the file, and for
    damaged values.
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
            if any(run.active for run in states[name].state.runs):
                raise ConfigurationError(name, "a run is going on", f"First: scrapy cron cancel {name}")
            await store.shared.put(name, None)
            print(f"{name} is forgotten")
        return FINE
