"""What ``scrapy mocra slots`` and ``breaker`` have in common: whose slots, and how long."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scrapy.commands import ScrapyCommand
from scrapy.spiderloader import get_spider_loader

from mocra_scrapy.commands.verbs.control import NO_SENSE, WRONG, who_asks, with_backend
from mocra_scrapy.commands.verbs.crawl_names import crawl_named, is_there
from mocra_scrapy.control.slots import SlotControl
from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.models import LONGEST
from mocra_scrapy.runtime.figures import duration
from mocra_scrapy.settings.breaker import read_breaker
from mocra_scrapy.settings.checks import UNITS_NAMED, time_span
from mocra_scrapy.settings.identity import settings_project
from mocra_scrapy.settings.slot_names import names_of

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

    from mocra_scrapy.interfaces import IBackend
    from mocra_scrapy.models import BreakerRules

_NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


class WrongWords(Exception):
    """The command line makes no sense; the text says what would."""


@dataclass(frozen=True, slots=True)
class Words:
    """What was said: an action, whose slots, and what belongs to the action."""

    action: str
    crawl: str
    rest: list[str]


def seconds_of(text: str) -> float:
    """``10m``, ``90s``, ``1.5h``, ``2d``, or seconds.

    Raises:
        ConfigurationError: it is no time, or longer than 366 days.
    """
    seconds = float(text) if _NUMBER.fullmatch(text.strip()) else time_span(text)
    if seconds is None or not 0 < seconds <= LONGEST:
        fix = f"Write 90s, 10m, 1.5h, 2d, or seconds; {UNITS_NAMED}"
        raise ConfigurationError(text, "it is not a time up to 366 days", fix)
    return seconds


def read_words(
    options: argparse.Namespace, settings: BaseSettings, verb: str, usage: Mapping[str, str], only: Mapping[str, str]
) -> Words:
    """*usage*: action -> what belongs to it; the first one is meant where none is said. *only*: option
    -> the actions that it belongs to.

    Raises:
        WrongWords: too few or too many words, or an option that says nothing to the action.
    """
    words = list(options.words)
    action = words.pop(0) if words and words[0] in usage else next(iter(usage))
    wanted = [word for word in usage[action].split() if not word.startswith("…")]
    least = sum(not word.startswith("[") for word in wanted)
    crawl = options.crawl
    if crawl is None and settings.get("MOCRA_CRAWL") and len(words) == least and (least or not words):
        crawl = settings.get("MOCRA_CRAWL")
    elif crawl is None and words:
        crawl = words.pop(0)
    if crawl is None or len(words) < least or (len(words) > len(wanted) and "…" not in usage[action]):
        raise WrongWords(f"write: scrapy mocra {verb} {action} CRAWL {usage[action]}".rstrip() + " (or --crawl NAME)")
    for option, actions in only.items():
        if getattr(options, option) and action not in actions.split():
            name = {"lasts": "for"}.get(option, option)
            raise WrongWords(f"--{name} belongs to: scrapy mocra {verb} {' | '.join(actions.split())}")
    return Words(action, crawl, words)


def slot_called(text: str) -> str:
    """The slot or scope that is meant.

    Raises:
        ConfigurationError: a URL, or a host with its port.
    """
    return names_of(text, text)[-1]


def with_slots(
    command: ScrapyCommand,
    options: argparse.Namespace,
    verb: str,
    usage: Mapping[str, str],
    use: Callable[[SlotControl, Words], Awaitable[int]],
    *,
    only: Mapping[str, str],
) -> int:
    """Run *use* on the crawl that is meant; the exit code. Errors go to standard error. *usage*, *only*:
    see :func:`read_words`.
    """
    settings = command.settings
    assert settings is not None
    try:
        words = read_words(options, settings, verb, usage, only)
        _use_spider(settings, words.crawl)
        breaker = read_breaker(settings)
        return _run(command, words, breaker, use)
    except WrongWords as wrong:
        print(f"Error: {wrong}", file=sys.stderr)
        return NO_SENSE
    except MocraError as error:
        print(f"Error: {error}", file=sys.stderr)
        return WRONG


def _run(
    command: ScrapyCommand,
    words: Words,
    breaker: BreakerRules | None,
    use: Callable[[SlotControl, Words], Awaitable[int]],
) -> int:
    settings, code = command.settings, 0
    assert settings is not None

    async def run(backend: IBackend) -> None:
        nonlocal code
        crawl = await crawl_named(backend, settings, words.crawl)
        if not await is_there(backend, crawl):
            there = ", ".join(await backend.crawls()) or "none"
            raise ConfigurationError(crawl, f"{backend.url} knows no crawl of this name", f"There are: {there}")
        slots = SlotControl(backend, crawl, who_asks(), breaker)
        try:
            code = await use(slots, words)
        finally:
            await slots.close()

    return with_backend(command, run) or code


def _use_spider(settings: BaseSettings, crawl: str) -> None:
    """The settings of the spider that *crawl* is of, where it is one of this project's."""
    project = settings_project(settings)
    if project is None:
        return
    try:
        get_spider_loader(settings).load(crawl.removeprefix(f"{project}:")).update_settings(settings)
    except KeyError:
        return  # a crawl by its own name


def in_words(seconds: float) -> str:
    """A time from now."""
    days = seconds / 86_400
    return f"{days:.1f} days" if days >= 2 else duration(seconds)
