"""What a job is, and every key of the jobs file with its check. Pure.

How to add a key: a field of :class:`Job`, a line in :data:`KEYS`, an entry in
``docs/reference/cron.rst`` (a test compares them).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mocra_scrapy.cron.expression import BadExpression, Expression
from mocra_scrapy.cron.schedule import Schedule
from mocra_scrapy.cron.suggestions import did_you_mean
from mocra_scrapy.settings.checks import WrongValue, number

CONCURRENCY = ("forbid", "allow", "replace", "queue")
CATCH_UP = ("none", "last", "all")
EXECUTORS = ("process", "queue")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
MONTH = 31 * 86_400.0
SECONDS = "Write seconds, without quotes and units: 15 minutes are 900"


@dataclass(frozen=True, slots=True)
class Job:
    """One job, checked. Attributes: the keys of the jobs file, see ``docs/reference/cron``;
    durations are seconds.
    """

    name: str
    spider: str
    schedule: Schedule
    args: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    concurrency: str = "forbid"
    max_queued: int = 10
    misfire_grace: float = 300.0
    catch_up: str = "none"
    jitter: float = 0.0
    timeout: float = 0.0
    stop_grace: float = 30.0
    retries: int = 0
    retry_delay: float = 60.0
    success: Expression | None = None
    expect: Expression | None = None
    on_failure: tuple[str, ...] = ()
    on_missed: tuple[str, ...] = ()
    on_success_after_failure: tuple[str, ...] = ()
    executor: str = "process"
    workers: int = 1
    enabled: bool = True
    tags: tuple[str, ...] = ()
    history: int = 50
    history_failed: int = 50


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise WrongValue(f"{value!r} is not a text", "Write a text in quotes that is not empty")
    return value


def _choice(*known: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in known:
            guess = did_you_mean(value, known) if isinstance(value, str) else ""
            raise WrongValue(f"{value!r} is unknown", guess or f"Write one of {', '.join(map(repr, known))}")
        return str(value)

    return check


def _number(least: float, most: float) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        return number(value, least, most, what="a time in seconds", text=False, hint=SECONDS)

    return check


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        return int(number(value, least, most, whole=True, text=False))

    return check


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongValue(f"{value!r} is neither true nor false", "Write true or false, without quotes")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise WrongValue(f"{value!r} is not a table", 'Write { name = "value" }')
    return dict(value)


def _args(value: Any) -> dict[str, str]:
    args = {}
    for name, one in _table(value).items():
        if not isinstance(one, (str, int, float)):
            raise WrongValue(f"the argument {name!r} is {one!r}", "Spiders are given texts: write one in quotes")
        args[name] = str(one).lower() if isinstance(one, bool) else str(one)
    return args


def _settings(value: Any) -> dict[str, Any]:
    for name in _table(value):
        if not name.isupper():
            raise WrongValue(f"{name!r} is not the name of a setting", f"Write {name.upper()!r}, or move it to args")
    return dict(value)


def _tags(value: Any) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(tag, str) and tag for tag in value):
        raise WrongValue(f"{value!r} is not a list of texts", 'Write ["daily", "shop"]')
    return tuple(value)


def _success(value: Any) -> Expression:
    try:
        return Expression(_text(value))
    except BadExpression as error:
        raise WrongValue(str(error), 'Write, for example, "item_scraped_count > 0 and log_count/ERROR == 0"') from error


def _expect(value: Any) -> Expression:
    try:
        return Expression(_text(value), earlier=True)
    except BadExpression as error:
        raise WrongValue(str(error), 'Write, for example, "items >= 0.8 * median(items, 10)"') from error


def _alert(value: Any) -> tuple[str, ...]:
    """A URL, or a command: as one text or, without a shell's rules, as a list."""
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return (value.strip(),)
    try:
        words = shlex.split(value) if isinstance(value, str) else list(value)
    except (ValueError, TypeError) as error:
        raise WrongValue(
            f"{value!r} is not a command: {error}", 'Write "https://…", or ["mail-it", "--to", "me"]'
        ) from error
    if not words or not all(isinstance(word, str) and word for word in words):
        raise WrongValue(f"{value!r} is neither a command nor a URL", 'Write "https://…", or ["mail-it", "--to", "me"]')
    return tuple(words)


class Key(NamedTuple):
    """A key of the jobs file: what makes a checked value of what was written."""

    check: Callable[[Any], Any]
    required: bool = False


KEYS: dict[str, Key] = {
    "spider": Key(_text, required=True),
    "schedule": Key(_text, required=True),
    "timezone": Key(_text),
    "args": Key(_args),
    "settings": Key(_settings),
    "concurrency": Key(_choice(*CONCURRENCY)),
    "max_queued": Key(_whole(1, 1000)),
    "misfire_grace": Key(_number(1, MONTH)),
    "catch_up": Key(_choice(*CATCH_UP)),
    "jitter": Key(_number(0, 86_400)),
    "timeout": Key(_number(0, MONTH)),
    "stop_grace": Key(_number(0, 3600)),
    "retries": Key(_whole(0, 100)),
    "retry_delay": Key(_number(0, MONTH)),
    "success": Key(_success),
    "expect": Key(_expect),
    "on_failure": Key(_alert),
    "on_missed": Key(_alert),
    "on_success_after_failure": Key(_alert),
    "executor": Key(_choice(*EXECUTORS)),
    "workers": Key(_whole(1, 1000)),
    "enabled": Key(_flag),
    "tags": Key(_tags),
    "history": Key(_whole(1, 1000)),
    "history_failed": Key(_whole(1, 1000)),
}
