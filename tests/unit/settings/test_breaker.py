"""``MOCRA_BREAKER``: presets, dicts, JSON; whatever is wrong is told by its place, with the fix."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import BreakerRules, Threshold
from mocra_scrapy.models.failure_kinds import DOWNLOAD, KINDS
from mocra_scrapy.settings.breaker import PRESETS, read_breaker

FAULTS = frozenset((*DOWNLOAD, "http_5xx", "http_429"))


def read(value: Any, **more: Any) -> BreakerRules | None:
    return read_breaker(Settings({"MOCRA_BREAKER": value, **more}))


@pytest.mark.parametrize("value", [None, "", "null"])
def test_no_breaker(value: Any) -> None:
    assert read(value) is None
    assert read_breaker(Settings()) is None


@pytest.mark.parametrize("value", ["mocra", '"mocra"', {"preset": "mocra"}, '{"preset": "mocra"}'])
def test_a_preset_by_name_dict_or_json(value: Any) -> None:
    rules = read(value)
    assert rules is not None
    assert rules.slot == Threshold(60.0, 10, 0.0, 20, FAULTS)
    assert rules.crawl == Threshold(600.0, 100, 0.0, 20, FAULTS | {"parse", "pipeline"})
    assert (rules.hold, rules.longest, rules.probes) == (30.0, 600.0, 3)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_both_thresholds(name: str) -> None:
    rules = read(name)
    assert rules is not None
    assert rules.slot is not None
    assert rules.crawl is not None


def test_what_is_said_replaces_a_part_of_the_preset() -> None:
    rules = read({"preset": "mocra", "slot": {"share": "0.5", "count": "http_403"}, "hold": 900, "probes": "2"})
    assert rules is not None
    assert rules.slot == Threshold(60.0, 0, 0.5, 20, frozenset({"http_403"}))
    assert rules.crawl is not None
    assert (rules.hold, rules.longest, rules.probes) == (900.0, 900.0, 2), "a long hold takes the longest with it"


def test_all_kinds_can_be_listed() -> None:
    rules = read({"crawl": {"failures": 1, "count": list(KINDS)}})
    assert rules is not None
    assert rules.slot is None
    assert rules.crawl is not None
    assert rules.crawl.kinds == set(KINDS)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("MOCRA_BREAKER", 7, ""),
        ("MOCRA_BREAKER", [], ""),
        ("MOCRA_BREAKER", "{preset", ""),
        ("MOCRA_BREAKER", {}, ""),
        ("MOCRA_BREAKER", {"hold": 3}, ""),
        ("MOCRA_BREAKER", {"slots": {}}, ""),
        ("MOCRA_BREAKER", "none at all", ""),
        ("MOCRA_BREAKER", "mocca", "['preset']"),
        ("MOCRA_BREAKER", {"preset": "mocca"}, "['preset']"),
        ("MOCRA_BREAKER", {"preset": ["mocra"]}, "['preset']"),
        ("MOCRA_BREAKER", {"slot": 10}, "['slot']"),
        ("MOCRA_BREAKER", {"slot": {}}, "['slot']"),
        ("MOCRA_BREAKER", {"slot": {"failure": 1}}, "['slot']"),
        ("MOCRA_BREAKER", {"slot": {"failures": -1}}, "['slot']['failures']"),
        ("MOCRA_BREAKER", {"slot": {"failures": 1.5}}, "['slot']['failures']"),
        ("MOCRA_BREAKER", {"slot": {"failures": True}}, "['slot']['failures']"),
        ("MOCRA_BREAKER", {"crawl": {"share": 1.1}}, "['crawl']['share']"),
        ("MOCRA_BREAKER", {"crawl": {"share": "half"}}, "['crawl']['share']"),
        ("MOCRA_BREAKER", {"crawl": {"share": 0.5, "least": 0}}, "['crawl']['least']"),
        ("MOCRA_BREAKER", {"crawl": {"share": 0.5, "window": 0}}, "['crawl']['window']"),
        ("MOCRA_BREAKER", {"crawl": {"share": 0.5, "count": []}}, "['crawl']['count']"),
        ("MOCRA_BREAKER", {"crawl": {"share": 0.5, "count": 3}}, "['crawl']['count']"),
        ("MOCRA_BREAKER", {"crawl": {"share": 0.5, "count": ["http_500"]}}, "['crawl']['count']"),
        ("MOCRA_BREAKER", {"crawl": {"share": 0.5, "count": [["tls"]]}}, "['crawl']['count']"),
        ("MOCRA_BREAKER", {"preset": "mocra", "hold": 0}, "['hold']"),
        ("MOCRA_BREAKER", {"preset": "mocra", "hold": float("nan")}, "['hold']"),
        ("MOCRA_BREAKER", {"preset": "mocra", "longest": 10}, "['longest']"),
        ("MOCRA_BREAKER", {"preset": "mocra", "probes": None}, "['probes']"),
        ("MOCRA_BREAKER", {"preset": "mocra", "ramp": -1}, "['ramp']"),
        ("MOCRA_BREAKER", {"slot": {"slow": -1}}, "['slot']['slow']"),
        ("MOCRA_BREAKER", {"slot": {"slow": 5, "slow_share": 0}}, "['slot']['slow_share']"),
        ("MOCRA_BREAKER", {"slot": {"slow": 5, "slow_share": 2}}, "['slot']['slow_share']"),
        ("MOCRA_BREAKER", {"crawl": {"slow": 5}}, "['crawl']"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: Any, part: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_breaker(Settings({name: value}))
    assert raised.value.subject == name + part
    assert raised.value.fix


def test_slow_downloads_and_growing_again() -> None:
    rules = read({"slot": {"slow": 5}, "ramp": "60"})
    assert rules is not None
    assert rules.slot is not None
    assert (rules.slot.failures, rules.slot.share, rules.slot.slow, rules.slot.slow_share) == (0, 0.0, 5.0, 0.5)
    assert (rules.ramp, rules.openings) == (60.0, 6)
    with pytest.raises(ConfigurationError) as raised:
        read("mocra", MOCRA_STALL_OPENINGS="often")
    assert raised.value.subject == "MOCRA_STALL_OPENINGS"
    more = read("mocra", MOCRA_STALL_OPENINGS=0)
    assert more is not None
    assert more.openings == 0


def test_slots_are_held_by_the_cluster_only() -> None:
    with pytest.raises(ConfigurationError, match="MOCRA_THROTTLE_SCOPE") as raised:
        read("mocra", MOCRA_THROTTLE_SCOPE="worker")
    assert raised.value.subject == "MOCRA_BREAKER['slot']"
    rules = read({"preset": "mocra", "slot": None}, MOCRA_THROTTLE_SCOPE="worker")
    assert rules is not None
    assert rules.slot is None
