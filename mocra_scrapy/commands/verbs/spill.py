"""``scrapy mocra spill list|replay``: items that could not be stored when their worker closed."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand
from scrapy.spiderloader import get_spider_loader

from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.wording import counted
from mocra_scrapy.pipelines.appending import AppendedFile
from mocra_scrapy.pipelines.replay import replay_file
from mocra_scrapy.pipelines.spill import is_empty, read_head, spill_files
from mocra_scrapy.settings.pipelines import read_store_options

if TYPE_CHECKING:
    from scrapy.settings import Settings


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """List the files of MOCRA_SPILL_DIR, or store what they hold (all of them, or those that are
    named) with the pipelines of this project. Exit code 1 when something could not be stored; it
    stays in its file.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("action", nargs="?", choices=("list", "replay"), default="list", metavar="list|replay")
        parser.add_argument("files", nargs="*", metavar="FILE", help="only these; default: all in MOCRA_SPILL_DIR")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        settings = command.settings
        assert settings is not None
        try:
            folder = read_store_options(settings).spill
            named = [Path(name) for name in options.files]
            files = named or (spill_files(folder) if folder is not None else [])
            if not files:
                print(f"Nothing was spilled (MOCRA_SPILL_DIR = {str(folder or '')!r})")
                return 0
            if options.action == "list":
                return max([_list(path) for path in files])
            return max([_replay(path, settings) for path in files])
        except MocraError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1


def _list(path: Path) -> int:
    try:
        with path.open("rb") as file:
            if is_empty(file):
                print(f"{path}  nothing whole; replay deletes it{_written(path)}")
                return 0
            file.seek(0)
            head, items = read_head(file), sum(line.endswith(b"\n") for line in file)
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)
        return 1
    if head is None:
        print(f"{path}: no spill file", file=sys.stderr)
        return 1
    what = f"{counted(items, 'item')} of crawl {head.crawl!r} for {head.sink}, pipeline {head.pipeline}"
    print(f"{path}  {what}{_written(path)}")
    return 0


def _written(path: Path) -> str:
    try:
        AppendedFile(path, create=False).close()
    except OSError:
        return " (its worker still closes)"
    return ""


def _replay(path: Path, settings: Settings) -> int:
    try:
        chosen = _settings_for(path, settings)
        outcome = asyncio.run(replay_file(path, chosen, read_store_options(chosen)))
    except BlockingIOError:
        print(f"{path}: left alone, because its worker still writes it, or somebody else replays it", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{path}: {error.strerror or error}", file=sys.stderr)
        return 1
    except MocraError as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    print(f"{path}: {counted(outcome.stored, 'item')} stored")
    if outcome.refused:
        print(f"{path}: {counted(outcome.refused, 'item')} refused, still in the file:", file=sys.stderr)
        for reason in outcome.reasons:
            print(f"  {reason}", file=sys.stderr)
    if outcome.unreadable:
        print(
            f"{path}: {counted(outcome.unreadable, 'line')} can't be read, still in the file",
            file=sys.stderr,
        )
    return int(bool(outcome.refused or outcome.unreadable))


def _settings_for(path: Path, settings: Settings) -> Settings:
    """The settings of the spider whose items these are."""
    with path.open("rb") as file:
        head = read_head(file)
    chosen = settings.copy()
    if head is not None:
        loader = get_spider_loader(chosen)
        if head.spider in loader.list():
            loader.load(head.spider).update_settings(chosen)
    return chosen
