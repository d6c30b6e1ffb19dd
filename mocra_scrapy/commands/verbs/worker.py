"""``scrapy mocra worker``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.cron_run import FINE, WRONG, add_file, begin_logging, options_of
from mocra_scrapy.commands.verbs.verb import positive
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.queue_executor import WaitingWorker
from mocra_scrapy.exceptions import MocraError


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Wait for crawls that `scrapy cron` starts with executor = "queue", and run them, each in its
    own process. SIGTERM or Ctrl-C once: take nothing more, stop what runs, leave. Twice: leave.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        add_file(parser)
        parser.add_argument("--max", type=positive, default=1, help="crawls at a time (default: 1)")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        begin_logging(command)
        try:
            return asyncio.run(self._run(options_of(command, options), options.max))
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
            return WRONG

    async def _run(self, options: CronOptions, most: int) -> int:
        stop = asyncio.Event()
        for which in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(which, stop.set)
        worker = WaitingWorker(options, most)
        try:
            await worker.open()
            await worker.run(stop)
        finally:
            await worker.close()
        return FINE
