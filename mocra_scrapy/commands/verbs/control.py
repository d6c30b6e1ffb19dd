"""``scrapy mocra control``."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

from scrapy.commands import ScrapyCommand

from mocra_scrapy.commands.verbs.backend_session import opened_backend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named
from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.crawl import read_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mocra_scrapy.control import Control
    from mocra_scrapy.interfaces import IBackend

#: Verb -> what workers do then.
TOLD = {
    "pause": "start nothing new",
    "resume": "go on",
    "drain": "finish what they hold, and leave",
    "stop": "close their spiders",
}
VERBS = (*TOLD, "set", "reset", "show")
#: Exit codes.
FINE, WRONG, NO_SENSE = 0, 1, 2


def who_asks() -> str:
    """For people: user and machine. In a container the user may have no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def with_backend(command: ScrapyCommand, use: Callable[[IBackend], Awaitable[None]]) -> int:
    """Run *use* on the project's backend; the exit code. Errors go to standard error."""
    assert command.settings is not None
    try:
        chosen = read_options(command.settings, "")

        async def run() -> None:
            async with opened_backend(chosen, min(chosen.start_timeout, 5.0)) as (backend, _):
                await use(backend)

        asyncio.run(run())
    except MocraError as error:
        print(f"Error: {error}", file=sys.stderr)
        return WRONG
    return FINE


def with_control(command: ScrapyCommand, crawl: str | None, use: Callable[[Control], Awaitable[None]]) -> int:
    """The same for one crawl, which has to exist."""
    from mocra_scrapy.control import Control

    async def run(backend: IBackend) -> None:
        assert command.settings is not None
        name = crawl or command.settings.get("MOCRA_CRAWL")
        if not name:
            fix = "Name it (project:spider), or its spider"
            raise ConfigurationError("--crawl", "it is not clear which crawl is meant", fix)
        name = await crawl_named(backend, command.settings, name)
        control = Control(backend, name, by=who_asks())
        try:
            if not await control.exists():
                crawls = sorted({report.crawl for report in await backend.worker_registry().workers()})
                there = f"Workers are on: {', '.join(crawls)}" if crawls else "No crawl has workers now"
                raise ConfigurationError("--crawl", f"a crawl {name!r} was never begun on {backend.url}", there)
            await use(control)
        finally:
            await control.close()

    return with_backend(command, run)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class verb:  # noqa: N801 - the name by which scrapy mocra finds it
    """Pause, resume, drain or stop a crawl or one of its workers; set or reset a live setting; show
    what is in force. Exit codes: 0; 1 it can't be done; 2 the command line makes no sense.
    """

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("what", choices=VERBS)
        parser.add_argument("setting", nargs="?", help="with set and reset: NAME=VALUE, or NAME")
        parser.add_argument("--crawl", help="the crawl (project:spider), or its spider (default: MOCRA_CRAWL)")
        parser.add_argument("--worker", help="one worker only, as `scrapy mocra workers` names it")

    def run(self, options: argparse.Namespace, command: ScrapyCommand) -> int:
        wrong = _senseless(options)
        if wrong:
            print(f"Error: {wrong}", file=sys.stderr)
            return NO_SENSE

        async def use(control: Control) -> None:
            if options.what == "show":
                await _show(control)
            elif options.what in TOLD:
                await getattr(control, options.what)(options.worker)
                await _say(control, options.worker, TOLD[options.what])
            else:
                await _set(control, options)

        return with_control(command, options.crawl, use)


def _senseless(options: argparse.Namespace) -> str:
    name, given, _ = (options.setting or "").partition("=")
    if options.what == "set" and not (name and given):
        return "which setting, and to what? scrapy mocra control set NAME=VALUE"
    if options.what == "reset" and (not name or given):
        return "which setting? scrapy mocra control reset NAME"
    if options.what not in ("set", "reset") and options.setting is not None:
        return (
            f"{options.setting!r} means nothing after {options.what}: name a crawl with --crawl, a worker with --worker"
        )
    if options.what == "show" and options.worker:
        return "show is of the whole crawl: leave --worker out"
    return ""


async def _say(control: Control, worker: str | None, what: str) -> None:
    there = 1 if worker else len(await control.workers())
    who = worker or f"{counted(there, 'worker')} of {control.crawl}"
    print(f"Told {who}: {what}" if there else f"No worker is there; {control.crawl} is told all the same: {what}")


async def _set(control: Control, options: argparse.Namespace) -> None:
    name, _, value = options.setting.partition("=")
    if options.what == "set":
        await control.set(name, _value(value), options.worker)
        await _say(control, options.worker, f"{name} is {_value(value)!r}")
    elif await control.reset(name, options.worker):
        await _say(control, options.worker, f"{name} is what the project says")
    else:
        print(f"{name} was not set")


async def _show(control: Control) -> None:
    print(f"Crawl {control.crawl}, {counted(len(await control.workers()), 'worker')}")
    print(f"Paused: {', '.join(await control.paused()) or 'no'}".replace("*", "all"))
    for setting, current in sorted((await control.settings()).items()):
        print(f"{setting.replace(':', ' of ', 1)} = {current!r}")
