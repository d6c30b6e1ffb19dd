"""``scrapy mocra version``."""

from __future__ import annotations

import argparse
import asyncio
import platform
from importlib.metadata import PackageNotFoundError, version

from scrapy.commands import ScrapyCommand

from mocra_scrapy._version import __version__
from mocra_scrapy.backends import open_backend
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import ServerReport
from mocra_scrapy.settings.crawl import read_options

LIBRARIES = ("Scrapy", "Twisted", "msgpack", "zope.interface", "redis", "hiredis", "confluent-kafka", "uvloop")


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
            backend = open_backend(chosen.backend, prefix=chosen.key_prefix, options=chosen.redis_options)

            async def look() -> ServerReport:
                try:
                    return await backend.open(options.timeout)
                finally:
                    await backend.close()

            report = asyncio.run(look())
        except MocraError as error:
            print(f"Backend: {error}")
            return 1
        print(f"Backend {backend.url}: " + (", ".join(f"{k} {v}" for k, v in report.facts.items()) or "ready"))
        for warning in report.warnings:
            print(f"Warning: {warning}")
        return 0
