"""``scrapy mocra control``."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import socket
from typing import TYPE_CHECKING, Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.backend_session import opened_backend
from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.settings.crawl import read_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mocra_scrapy.control import Control

VERBS = ("pause", "resume", "drain", "stop", "set", "reset", "show")


def with_control(command: ScrapyCommand, crawl: str | None, use: Callable[[Control], Awaitable[None]]) -> int:
    """Run *use* on the project's backend; the exit code."""
    from mocra_scrapy.control import Control

    assert command.settings is not None
    try:
        chosen = read_options(command.settings, "")
        name = crawl or command.settings.get("MOCRA_CRAWL")
        if not name:
            raise ConfigurationError("--crawl", "it is not clear which crawl is meant", "Name it, usually the spider")

        async def run() -> None:
            async with opened_backend(chosen, min(chosen.start_timeout, 5.0)) as (backend, _):
                control = Control(backend, name, by=f"{getpass.getuser()}@{socket.gethostname()}")
                try:
                    await use(control)
                finally:
                    await control.close()

        asyncio.run(run())
    except MocraError as error:
        print(f"Error: {error}")
        return 1
    return 0


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Pause, resume, drain or stop a crawl or one of its workers; set or reset a live setting; show
    what is in force.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what", choices=VERBS)
        parser.add_argument("setting", nargs="?", help="with set and reset: NAME=VALUE, or NAME")
        parser.add_argument("--crawl", help="the crawl (default: MOCRA_CRAWL)")
        parser.add_argument("--worker", help="one worker only, as `scrapy mocra workers` names it")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        name, given, value = (options.setting or "").partition("=")
        if (options.what == "set" and not given) or (options.what == "reset" and not name):
            print("Error: which setting? scrapy mocra control set NAME=VALUE, or reset NAME")
            return 2

        async def use(control: Control) -> None:
            if options.what == "set":
                await control.set(name, _value(value))
            elif options.what == "reset":
                await control.reset(name)
            elif options.what == "show":
                print(f"Crawl {control.crawl}")
                print(f"Paused: {', '.join(await control.paused()) or 'no'}".replace("*", "all"))
                for setting, current in sorted((await control.settings()).items()):
                    print(f"{setting} = {current!r}")
            else:
                await getattr(control, options.what)(options.worker)

        return with_control(command, options.crawl, use)
