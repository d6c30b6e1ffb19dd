"""``scrapy mocra VERB``: one command of Scrapy's, a verb for each thing that a person does with a
crawl.

Scrapy imports this module in every call of ``scrapy``, without protection: nothing heavy is
imported here. A verb is a class in a module of this folder, imported when it is used; how to add
one: write it there, name it in ``VERBS``, describe it in ``docs/reference/commands.rst``.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError
from scrapy.utils.conf import arglist_to_dict

if TYPE_CHECKING:
    from mocra_scrapy.commands.verbs.verb import Verb

#: Name -> (module of this folder, what it does).
VERBS = {
    "breaker": ("breaker", "show which slots of a crawl are open; open or close one"),
    "budgets": ("budgets", "tell what a crawl has had of its budgets; change them while it runs"),
    "cache": ("cache", "show, delete, export or import the pages of the HTTP cache"),
    "check": ("check", "compare what is counted of a crawl with what is stored of it, and repair it"),
    "dead": ("dead", "list, show, parse, replay, purge or export dead letters"),
    "control": ("control", "pause, resume, drain or stop a crawl or one worker; change live settings"),
    "kafka": ("kafka", "create the topics of a crawl's log on Kafka, or compare them with what it needs"),
    "site": ("site", "serve something to crawl on this machine: Python's own documentation"),
    "proxies": ("proxies", "show how the proxies of a pool do; take one out or bring it back"),
    "push": ("push", "put requests into a crawl: URLs or seeds in JSON"),
    "reset": ("reset", "delete all that is stored of a crawl, so that it begins anew"),
    "sessions": ("sessions", "list, show or drop the sessions of a crawl"),
    "skipped": ("skipped", "tell what a crawl found and did not crawl, why, and a few URLs of each slot"),
    "slots": ("slots", "show the limits of a crawl's slots, and change them while it runs"),
    "spill": ("spill", "list what could not be stored when a worker closed, or store it"),
    "startproject": ("startproject", "make a new project from our template"),
    "status": ("status", "tell where a crawl stands, or all of them"),
    "worker": ("worker", "run the crawls that `scrapy cron` starts on waiting workers"),
    "version": ("version", "print versions, and whether the project's backend answers"),
    "workers": ("workers", "list the workers of a crawl"),
}

#: As of a program that SIGPIPE ended.
PIPE_CLOSED = 141


class Command(ScrapyCommand):
    """Finds the verb and hands over.

    Attributes:
        family: the command's own name.
        verbs: name -> (module of this folder, what it does); ``module:Class`` where a module has
            several.
    """

    family = "mocra"
    purpose = "Work with mocra_scrapy"
    verbs: ClassVar[dict[str, tuple[str, str]]] = VERBS

    requires_project = False
    requires_crawler_process = False
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "<verb> [options]"

    def short_desc(self) -> str:
        return f"{self.purpose}: " + ", ".join(self.verbs)

    def long_desc(self) -> str:
        verbs = "; ".join(f"{name}: {text}" for name, (_, text) in self.verbs.items())
        return f"Verbs: {verbs}. `scrapy {self.family} help VERB` tells the options of one."

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        super().add_options(parser)
        # What follows the verb is the verb's own: its options must not be taken for Scrapy's.
        parser.add_argument("verb", nargs="?", metavar="verb", help="one of " + ", ".join(self.verbs))
        parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="…", help=f"see `scrapy {self.family} help VERB`")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        name, rest = opts.verb, [*opts.rest, *args]
        if name == "help" and rest:
            name, rest = rest[0], ["--help"]
        if name not in self.verbs:
            raise UsageError("" if name is None else f"Unknown verb {name!r}; there are: {', '.join(self.verbs)}")
        module, _, attribute = self.verbs[name][0].partition(":")
        verb: Verb = getattr(import_module(f"mocra_scrapy.commands.verbs.{module}"), attribute or "verb")()
        parser = argparse.ArgumentParser(prog=f"scrapy {self.family} {name}", description=verb.__doc__)
        verb.add_options(parser)
        parser.add_argument("-s", "--set", action="append", default=[], metavar="NAME=VALUE", help="set a setting")
        options = parser.parse_intermixed_args(rest)  # words and options in any order
        assert self.settings is not None
        try:
            self.settings.setdict(arglist_to_dict(options.set), priority="cmdline")
        except ValueError as error:
            raise UsageError("Invalid -s value, use -s NAME=VALUE", print_help=False) from error
        try:
            self.exitcode = verb.run(options, self)
            sys.stdout.flush()
        except BrokenPipeError:
            # What reads the output has read enough (`| head`). Nothing more is to be flushed at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.exitcode = PIPE_CLOSED
