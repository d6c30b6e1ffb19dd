"""The one check of a number, and that each place where a number may be written uses it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.control.live_settings import checked
from mocra_scrapy.cron.config import Source, load_jobs
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.breaker import read_breaker
from mocra_scrapy.settings.checks import WrongValue, number, setting_number
from mocra_scrapy.settings.crawl import read_options
from mocra_scrapy.settings.throttle import read_limits


@pytest.mark.parametrize(
    ("value", "options", "found"),
    [(1, {}, 1.0), ("2.5", {}, 2.5), (10, {}, 10.0), (" 3 ", {"whole": True}, 3.0), (3.0, {"whole": True}, 3.0)],
)
def test_a_number(value: Any, options: Mapping[str, Any], found: float) -> None:
    assert number(value, 1, 10, **options) == found


NONE = [None, True, "x", "", [], {}, b"x", object(), math.nan, 10**400, "nan"]
OUTSIDE = [0.99, 11, math.inf, -math.inf, "1e999", -1]


@pytest.mark.parametrize("value", NONE + OUTSIDE, ids=lambda value: repr(value)[:12])
def test_no_number(value: Any) -> None:
    with pytest.raises(WrongValue) as told:
        number(value, 1, 10)
    assert told.value.problem == f"{value!r} is {'out of range' if value in OUTSIDE else 'not a number'}"
    assert told.value.fix == "Set a number from 1 to 10"


def test_what_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"^A: 'x' is not a size\. Set a whole number from 0 to 1000000$"):
        setting_number("A", "x", 0, 1_000_000, what="a size", whole=True)
    with pytest.raises(ConfigurationError, match=r"^A: 1\.5 is not a whole number\. Set a whole number from 0 to 10$"):
        setting_number("A", 1.5, 0, 10, what="a size", whole=True)
    with pytest.raises(WrongValue, match=r"^'5' is not a number\. Write seconds$"):
        number("5", 0.5, 10, text=False, hint="Write seconds")
    with pytest.raises(WrongValue, match=r"Set a number from 0\.5 to 10$"):
        number(11, 0.5, 10, hint="Write seconds")


def _jobs(**keys: Any) -> object:
    return load_jobs(Source(None, data={"jobs": {"a": {"spider": "s", "schedule": "@daily", **keys}}}))


PLACES: list[tuple[str, Callable[[], object]]] = [
    ("MOCRA_LEASE", lambda: read_options(Settings({"MOCRA_LEASE": -7}), "x")),
    ("MOCRA_MAX_DEAD", lambda: read_options(Settings({"MOCRA_MAX_DEAD": -7}), "x")),
    ("DOWNLOAD_DELAY", lambda: read_limits(Settings({"DOWNLOAD_DELAY": -7}))),
    ("DOWNLOAD_SLOTS['a']['delay']", lambda: read_limits(Settings({"DOWNLOAD_SLOTS": {"a": {"delay": -7}}}))),
    ("DOWNLOAD_SLOTS['a']['jitter']", lambda: read_limits(Settings({"DOWNLOAD_SLOTS": {"a": {"jitter": -7}}}))),
    ("MOCRA_THROTTLE['a']['burst']", lambda: read_limits(Settings({"MOCRA_THROTTLE": {"a": {"burst": -7}}}))),
    ("MOCRA_THROTTLE['a']['jitter']", lambda: read_limits(Settings({"MOCRA_THROTTLE": {"a": {"jitter": -7}}}))),
    ("MOCRA_BREAKER['hold']", lambda: read_breaker(Settings({"MOCRA_BREAKER": {"preset": "mocra", "hold": -7}}))),
    ("MOCRA_BREAKER['slot']['window']", lambda: read_breaker(Settings({"MOCRA_BREAKER": {"slot": {"window": -7}}}))),
    ("CONCURRENT_REQUESTS", lambda: checked("CONCURRENT_REQUESTS", -7)),
    ("jobs.a.timeout", lambda: _jobs(timeout=-7)),
    ("jobs.a.retries", lambda: _jobs(retries=-7)),
]


@pytest.mark.parametrize(("name", "read"), PLACES, ids=[name for name, _ in PLACES])
def test_every_place_names_the_field_the_value_and_the_fix(name: str, read: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError) as told:
        read()
    assert told.value.subject.endswith(name)
    assert "-7" in told.value.problem
    assert told.value.fix.startswith("Set a ")
