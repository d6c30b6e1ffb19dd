"""What a verb of ``scrapy mocra`` is."""

from __future__ import annotations

import argparse
from typing import Protocol

from scrapy.commands import ScrapyCommand


def positive(text: str) -> int:
    """The type of options that count something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


class Verb(Protocol):
    """A module of this folder offers it as ``verb``; its docstring is its help text."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Declare options and arguments."""

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        """Do it; the exit code of the process. ``command.settings`` are those of the project, if
        there is one.
        """
