"""``scrapy cron VERB``: run spiders on a schedule. Like :mod:`mocra_scrapy.commands.mocra`, it
imports nothing heavy.
"""

from __future__ import annotations

import argparse
from typing import ClassVar

from mocra_scrapy.commands import mocra

#: Name -> (module of this folder : class, what it does).
VERBS = {
    "run": ("cron_run:Run", "start spiders when they are due, for ever"),
    "once": ("cron_run:Once", "start what is due now, and leave"),
    "status": ("cron_status:Status", "is a runner alive, who leads, what is late; exit code for monitoring"),
    "list": ("cron_status:List", "jobs, when they run next, their last success, how the last run ended"),
    "show": ("cron_look:Show", "all that is known of a job"),
    "next": ("cron_look:Next", "the coming runs, with time zone and notes on days when clocks change"),
    "history": ("cron_look:History", "runs that were, and those going on"),
    "logs": ("cron_look:Logs", "the log of a run"),
    "check": ("cron_check:Check", "look for mistakes in the jobs file"),
    "trigger": ("cron_change:Trigger", "run a job now"),
    "pause": ("cron_change:Pause", "let a job rest until it is resumed"),
    "resume": ("cron_change:Resume", "end a pause"),
    "cancel": ("cron_change:Cancel", "stop a run"),
    "forget": ("cron_change:Forget", "delete what is stored of a job"),
}


class Command(mocra.Command):
    """The family ``scrapy cron``."""

    family = "cron"
    purpose = "Run spiders on a schedule"
    verbs: ClassVar[dict[str, tuple[str, str]]] = VERBS

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if opts.verb == "help" and not (opts.rest or args):
            width = max(map(len, self.verbs))
            print("scrapy cron VERB; `scrapy cron help VERB` tells the options of one\n")
            print("\n".join(f"  {name.ljust(width)}  {text}" for name, (_, text) in self.verbs.items()))
            return
        super().run(args, opts)
