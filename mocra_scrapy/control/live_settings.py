"""Settings that can change while a crawl runs: what may be set, how it is checked, how a worker
applies it.

::

    await Control(backend, "books").set("CONCURRENT_REQUESTS", 4)

How to add one: call :func:`live_setting` when your component is imported, and write it into
``docs/guides/coordinate.rst``. A wrong value is refused where it is set (ConfigurationError), and
ignored with an error in the log where it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scrapy.utils.log import get_scrapy_root_handler

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.budgets import checked_budgets
from mocra_scrapy.settings.checks import setting_number

if TYPE_CHECKING:
    from mocra_scrapy.runtime import Mocra


@dataclass(frozen=True, slots=True)
class LiveSetting:
    """One of them.

    Attributes:
        name: the setting.
        check: gives the value to use; raises ConfigurationError or ValueError.
        apply: makes it so in this worker; ``None``: the project's own value is back.
    """

    name: str
    check: Callable[[Any], Any]
    apply: Callable[[Mocra, Any], None]


LIVE_SETTINGS: dict[str, LiveSetting] = {}


def live_setting(name: str, check: Callable[[Any], Any], apply: Callable[[Mocra, Any], None]) -> None:
    """Let *name* change while a crawl runs."""
    LIVE_SETTINGS[name] = LiveSetting(name, check, apply)


def checked(name: str, value: Any) -> Any:
    """*value* for the setting *name*.

    Raises:
        ConfigurationError: it can't change while a crawl runs, or not to that.
    """
    if name not in LIVE_SETTINGS:
        raise ConfigurationError(
            name,
            "it can't change while a crawl runs",
            f"These can: {', '.join(sorted(LIVE_SETTINGS))}. Others need a restart",
        )
    try:
        return LIVE_SETTINGS[name].check(value)
    except ValueError as error:
        raise ConfigurationError(name, str(error), "Use another value") from error


def whole(name: str, least: int, most: int) -> Callable[[Any], int]:
    """A check: a whole number, also as text."""

    def check(value: Any) -> int:
        return int(setting_number(name, value, least, most, what="a number of requests", whole=True))

    return check


LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def _level(value: Any) -> str:
    if value not in LEVELS:
        raise ConfigurationError("LOG_LEVEL", f"{value!r} is unknown", f"Set one of {', '.join(LEVELS)}")
    return str(value)


def _apply_level(mocra: Mocra, value: str | None) -> None:
    handler = get_scrapy_root_handler()
    if handler is not None:
        handler.setLevel(mocra.settings.get("LOG_LEVEL") if value is None else value)


def _apply_concurrency(mocra: Mocra, value: int | None) -> None:
    own = mocra.own_options
    number = own.concurrency if value is None else value
    prefetch = mocra.options.prefetch
    # As at the start: what is leased ahead follows, unless it was chosen.
    if mocra.settings.get("MOCRA_PREFETCH") is None and prefetch == min(mocra.options.concurrency, 256):
        prefetch = min(number, 256)
    mocra.options = replace(mocra.options, concurrency=number, prefetch=prefetch)
    mocra.worker_state.set_concurrency(mocra.settings.getint("CONCURRENT_REQUESTS") if value is None else number)
    mocra.worker_state.look_again()


def _apply_prefetch(mocra: Mocra, value: int | None) -> None:
    if value is None:
        chosen = mocra.settings.get("MOCRA_PREFETCH") is not None
        value = mocra.own_options.prefetch if chosen else min(mocra.options.concurrency, 256)
    mocra.options = replace(mocra.options, prefetch=value)
    mocra.worker_state.look_again()


def _apply_budgets(mocra: Mocra, value: Any) -> None:
    own = mocra.own_options.budgets
    rules = own if value is None else own.changed(checked_budgets(value))
    mocra.options = replace(mocra.options, budgets=rules)
    if mocra.worker_state.budgets is not None:
        mocra.worker_state.budgets.change(rules)
        mocra.worker_state.look_again()


live_setting("MOCRA_BUDGETS", checked_budgets, _apply_budgets)
live_setting("CONCURRENT_REQUESTS", whole("CONCURRENT_REQUESTS", 1, 10_000), _apply_concurrency)
live_setting("LOG_LEVEL", _level, _apply_level)
live_setting("MOCRA_PREFETCH", whole("MOCRA_PREFETCH", 0, 10_000), _apply_prefetch)
