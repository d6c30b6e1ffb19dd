"""``scrapy cron run`` and ``scrapy cron once``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from contextlib import AbstractAsyncContextManager, nullcontext

from scrapy.commands import ScrapyCommand

from mocra_scrapy.cron.options import CronOptions, read_cron_options
from mocra_scrapy.cron.runner import Runner
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.wording import counted

logger = logging.getLogger("mocra_scrapy.cron")

#: Exit codes.
FINE, WRONG = 0, 1


def begin_logging(command: ScrapyCommand) -> None:
    """To standard error, as the project formats its logs; what a crawl says is in the run's own
    log.
    """
    assert command.settings is not None
    settings = command.settings
    logging.basicConfig(
        format=settings.get("LOG_FORMAT"),
        datefmt=settings.get("LOG_DATEFORMAT"),
        level=settings.get("LOG_LEVEL") or logging.INFO,
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def add_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", metavar="PATH", help="the jobs file, in place of what MOCRA_CRON says")


def options_of(command: ScrapyCommand, arguments: argparse.Namespace) -> CronOptions:
    assert command.settings is not None
    return read_cron_options(command.settings, getattr(arguments, "file", None))


def events_of(command: ScrapyCommand, runner: Runner, options: CronOptions) -> AbstractAsyncContextManager[object]:
    """While this lasts, what *runner* decides is told to the sinks of ``MOCRA_EVENTS``."""
    assert command.settings is not None
    if not command.settings.get("MOCRA_EVENTS"):
        return nullcontext()
    from mocra_scrapy.events.of_cron import cron_events

    return cron_events(command.settings, runner.signals, runner=runner.name, project=options.project.name)


class Run:
    """Start spiders when they are due, until SIGTERM or Ctrl-C. Several runners on one Redis: one
    leads, the others stand by. Runs that are going on outlive the runner, unless --stop-runs is
    given (for containers, which end with it).
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_file(parser)
        parser.add_argument(
            "--stop-runs", action="store_true", help="at the end stop the runs that this runner started, too"
        )
        parser.add_argument(
            "--lease", type=float, default=15.0, help="s after which another runner takes over (default: 15)"
        )

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        begin_logging(command)
        if not 0.5 <= options.lease <= 3600:
            print("--lease: from 0.5 to 3600 seconds", file=sys.stderr)
            return 2
        try:
            return asyncio.run(self._run(command, options))
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
            return WRONG

    async def _run(self, command: ScrapyCommand, arguments: argparse.Namespace) -> int:
        options = options_of(command, arguments)
        stop = asyncio.Event()
        for which in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(which, stop.set)
        runner = Runner(options)
        try:
            await runner.open()
            async with events_of(command, runner, options):
                await runner.run(stop, arguments.lease)
                await self._leave(runner, arguments.stop_runs, stop)
        finally:
            await runner.close()
        return FINE

    async def _leave(self, runner: Runner, stop_runs: bool, stop: asyncio.Event) -> None:
        going_on = runner.launches.living()
        if not going_on:
            return
        if not stop_runs:
            logger.info("Runs that go on by themselves: %s", ", ".join(sorted(going_on)))
            return
        runner.launches.terminate()
        logger.info("Waiting for %s to stop", counted(len(going_on), "run"))
        stop.clear()  # once more: don't wait
        await runner.launches.wait(stop)


class Once:
    """Start what has become due since the last time, wait until it has started, and leave: for the
    system's own cron, once a minute.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_file(parser)

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        begin_logging(command)
        try:
            return asyncio.run(self._once(command, options_of(command, options)))
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
            return WRONG

    async def _once(self, command: ScrapyCommand, options: CronOptions) -> int:
        runner = Runner(options)
        try:
            await runner.open()
            async with events_of(command, runner, options):
                if not await runner.once():
                    print("Another runner leads; it starts what is due.")
        finally:
            await runner.close()
        return FINE
