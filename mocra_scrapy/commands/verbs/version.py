"""``scrapy mocra version``."""

from __future__ import annotations

import argparse
import asyncio
import platform
from importlib.metadata import PackageNotFoundError, version

from scrapy.commands import ScrapyCommand

from mocra_scrapy._version import __version__
from mocra_scrapy.commands.verbs.backend_session import opened_backend
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.settings.crawl import Options, read_options

LIBRARIES = ("Scrapy", "Twisted", "msgpack", "zope.interface", "redis", "hiredis", "uvloop")


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Print versions; in a project, look at its backend. Exit code 1 when that can't serve."""

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--timeout", type=float, default=3.0, help="s to wait for the backend (default: 3)")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        print(f"mocra_scrapy {__version__}")
        print(f"Python {platform.python_version()}")
        for name in LIBRARIES:
            try:
                print(f"{name} {version(name)}")
            except PackageNotFoundError:
                continue
        assert command.settings is not None
        try:
            chosen = read_options(command.settings, "version")
            asyncio.run(look(chosen, options.timeout))
        except MocraError as error:
            print(f"Backend: {error}")
            return 1
        return 0


async def look(options: Options, timeout: float) -> None:
    async with opened_backend(options, timeout, private=True) as (backend, report):
        print(f"Backend {backend.url}: " + (", ".join(f"{k} {v}" for k, v in report.facts.items()) or "ready"))
        for warning in report.warnings:
            print(f"Warning: {warning}")
