"""MOCRA_BUDGETS: its forms, its checks, and which limit counts for a name."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import BudgetLimits
from mocra_scrapy.settings.budgets import BudgetRules, Limits, checked_budgets, read_budgets
from mocra_scrapy.settings.domains import registrable_domain


def rules(value: Any) -> BudgetRules:
    return read_budgets(Settings({"MOCRA_BUDGETS": value}))


def test_nothing_is_limited_by_itself() -> None:
    assert not read_budgets(Settings())
    assert rules({}).of("slot:example.com") is None
    assert not rules({"slot": {}, "domain": None})


def test_the_short_form_means_every_name() -> None:
    found = rules({"slot": {"pages": 10, "depth": 0}})
    assert found.of("slot:a.example") == Limits(BudgetLimits(pages=10), 0)
    assert found.of("domain:a.example") is None
    assert found.plain == rules('{"slot": {"*": {"pages": "10", "depth": 0}}}').plain


def test_names_go_before_patterns_and_these_before_all_limit_by_limit() -> None:
    found = rules(
        {
            "slot": {
                "*": {"pages": 1, "errors": 2, "queued": 3},
                "*.example": {"pages": 4, "errors": 5},
                "b.*": {"pages": 6},
                "b.example": {"errors": None},
            }
        }
    )
    assert found.of("slot:other") == Limits(BudgetLimits(pages=1, errors=2, queued=3))
    assert found.of("slot:a.example") == Limits(BudgetLimits(pages=4, errors=5, queued=3))
    assert found.of("slot:b.org") == Limits(BudgetLimits(pages=6, errors=2, queued=3))
    assert found.of("slot:b.example") == Limits(BudgetLimits(pages=4, queued=3)), "the first pattern, no errors"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500 MB", 500_000_000),
        ("1.5GB", 1_500_000_000),
        ("10 KiB", 10_240),
        ("7b", 7),
        (12, 12),
        ("12", 12),
        (1e3, 1000),
    ],
)
def test_sizes(text: Any, size: int) -> None:
    assert rules({"slot": {"bytes": text}}).of("slot:a") == Limits(BudgetLimits(bytes=size))


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90 min", 5400), ("1 day", 86_400), (1.5, 1.5), ("7", 7), ("1.5 Hours", 5400)]
)
def test_times(text: Any, seconds: float) -> None:
    assert rules({"slot": {"time": text}}).of("slot:a") == Limits(BudgetLimits(time=seconds))


@pytest.mark.parametrize(
    ("value", "subject", "fix"),
    [
        ([], "MOCRA_BUDGETS", "Set a dict"),
        ({"host": {"pages": 1}}, "'host' is unknown", "Use slot, domain, seed"),
        ({"slot": 7}, "MOCRA_BUDGETS['slot']", '{"pages": 1000}'),
        *[({"slot": nothing}, f"{nothing!r} is not a dict", '{"pages": 1000}') for nothing in ([], 0, False, "")],
        ({"slot": {"pages": 1, "a.example": {"pages": 1}}}, "both names and budgets", '{"*"'),
        ({"slot": {"page": 1}}, "'page' is unknown", "Use pages, queued, bytes, errors, time, depth"),
        ({"slot": {"a.example": {"page": 1}}}, "MOCRA_BUDGETS['slot']['a.example']", "Use pages"),
        ({"slot": {"pages": -1}}, "MOCRA_BUDGETS['slot']['pages']", "whole number from 0"),
        ({"slot": {"pages": 1.5}}, "MOCRA_BUDGETS['slot']['pages']", "whole number"),
        ({"slot": {"bytes": "5 XB"}}, "['bytes']", '"500 MB"'),
        ({"slot": {"time": "soon"}}, "['time']", '"2h"'),
        ({"slot": {"time": "2months"}}, "'2months' is not a time", "minutes, h, hour, hours, d"),
        ({"slot": {"time": "5 ms"}}, "'5 ms' is not a time", "units of time are s, sec"),
        ({"slot": {"http://a.example": {"pages": 1}}}, "it is a URL", "Write 'a.example'"),
        ({"slot": {"a.example:80": {"pages": 1}}}, "it has a port", "Write 'a.example'"),
        ({"slot": {"@all": {"pages": 1}}}, "scopes have no budgets", "Name a slot"),
        ({"slot": {"[ä]*": {"pages": 1}}}, "other than ASCII", "?"),
        ({"domain": {"www.example.co.uk": {"pages": 1}}}, "registrable domain 'example.co.uk'", "Write 'example.co.uk'"),
        ({"seed": {"": {"pages": 1}}}, "is no name", "Name a seed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_fix(value: Any, subject: str, fix: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        checked_budgets(value)
    assert subject in str(raised.value)
    assert fix in str(raised.value)


def test_names_are_as_scrapy_has_them() -> None:
    found = rules({"slot": {"A.Example": {"pages": 1}}, "domain": {"Example.COM": {"pages": 2}}})
    assert found.of("slot:a.example") == Limits(BudgetLimits(pages=1))
    assert found.of("domain:example.com") == Limits(BudgetLimits(pages=2))


def test_a_change_goes_before_the_settings_limit_by_limit() -> None:
    own = rules({"slot": {"*": {"pages": 1, "errors": 2}, "a": {"pages": 3}}})
    live = own.changed(checked_budgets({"slot": {"a": {"errors": 9}}, "seed": {"queued": 4}}))
    assert live.of("slot:a") == Limits(BudgetLimits(pages=3, errors=9))
    assert live.of("slot:b") == Limits(BudgetLimits(pages=1, errors=2))
    assert live.of("seed:x") == Limits(BudgetLimits(queued=4))
    assert own.of("slot:a") == Limits(BudgetLimits(pages=3, errors=2))
    off = own.changed(checked_budgets({"slot": {"pages": None, "errors": None}}))
    assert off.of("slot:b") is None


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.Example.co.uk", "example.co.uk"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("wiki.eu.corp.internal", "corp.internal"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("co.uk", "co.uk"),
        ("", ""),
    ],
)
def test_registrable_domains(host: str, domain: str) -> None:
    assert registrable_domain(host) == domain
