"""``scrapy cron VERB``: run spiders on a schedule. Like :mod:`mocra_scrapy.commands.mocra`, it
imports nothing heavy.
"""

from __future__ import annotations

from typing import ClassVar

from mocra_scrapy.commands import mocra

#: Name -> (module of this folder : class, what it does).
VERBS = {
    "run": ("cron_run:Run", "start spiders when they are due, for ever"),
    "once": ("cron_run:Once", "start what is due now, and leave"),
    "list": ("cron_look:List", "jobs, when they run next, how the last run ended"),
    "next": ("cron_look:Next", "the coming runs, with time zone and notes on days when clocks change"),
    "history": ("cron_look:History", "runs that were, and those going on"),
    "check": ("cron_look:Check", "look for mistakes in the jobs file"),
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
