"""``MOCRA_BREAKER`` and the settings about what sites say: wrong ones are told by name, with the fix."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy._breaker_options import PRESETS, read_breaker
from mocra_scrapy._error_classes import KINDS
from mocra_scrapy._feedback_options import read_feedback
from mocra_scrapy.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_BREAKER", "often"),
        ("MOCRA_BREAKER", 10),
        ("MOCRA_BREAKER", {}),
        ("MOCRA_BREAKER", {"slots": {"failures": 10}}),
        ("MOCRA_BREAKER", {"slot": 10}),
        ("MOCRA_BREAKER", {"slot": {"failures": 10, "windows": 60}}),
        ("MOCRA_BREAKER", {"slot": {"window": 60}}),
        ("MOCRA_BREAKER", {"slot": {"failures": -1}}),
        ("MOCRA_BREAKER", {"slot": {"failures": 1.5}}),
        ("MOCRA_BREAKER", {"slot": {"failures": True}}),
        ("MOCRA_BREAKER", {"slot": {"share": 2}}),
        ("MOCRA_BREAKER", {"slot": {"failures": 10, "window": 0}}),
        ("MOCRA_BREAKER", {"slot": {"failures": 10, "count": []}}),
        ("MOCRA_BREAKER", {"slot": {"failures": 10, "count": ["http_200"]}}),
        ("MOCRA_BREAKER", {"crawl": {"failures": 10}, "hold": "long"}),
        ("MOCRA_BREAKER", {"crawl": {"failures": 10}, "hold": 60, "longest": 30}),
        ("MOCRA_BREAKER", {"crawl": {"failures": 10}, "probes": 0}),
        ("MOCRA_BREAKER", {"preset": "mocra", "slot": None, "crawl": None}),
        ("MOCRA_BREAKER", "{preset: mocra}"),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", 429),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", [200]),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", "429,often"),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", [True]),
        ("MOCRA_THROTTLE_FEEDBACK_FLOOR", 0),
        ("MOCRA_THROTTLE_FEEDBACK_MOST", 0.01),
        ("MOCRA_THROTTLE_FEEDBACK_RECOVERY", 1),
        ("MOCRA_THROTTLE_FEEDBACK_CALM", -1),
        ("MOCRA_THROTTLE_CRAWL_DELAY", "perhaps"),
        ("MOCRA_THROTTLE_CRAWL_DELAY_MAX", 0),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: Any) -> None:
    read: Any = read_breaker if name == "MOCRA_BREAKER" else read_feedback
    with pytest.raises(ConfigurationError) as raised:
        read(Settings({name: value}))
    assert raised.value.subject.startswith(name)
    assert raised.value.fix


def test_no_breaker_unless_asked_for() -> None:
    assert read_breaker(Settings()) is None
    assert read_breaker(Settings({"MOCRA_BREAKER": ""})) is None
    assert read_breaker(Settings({"MOCRA_BREAKER": "null"})) is None


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_and_what_is_taken_out_of_them(preset: str) -> None:
    whole = read_breaker(Settings({"MOCRA_BREAKER": preset}))
    assert whole is not None
    assert whole == read_breaker(Settings({"MOCRA_BREAKER": json.dumps({"preset": preset})}))
    assert whole.slot is not None
    assert whole.crawl is not None
    assert whole.slot.kinds < whole.crawl.kinds <= set(KINDS)
    part = read_breaker(Settings({"MOCRA_BREAKER": {"preset": preset, "slot": None, "probes": 7}}))
    assert part is not None
    assert (part.slot, part.crawl, part.probes) == (None, whole.crawl, 7)


def test_mocras_numbers() -> None:
    rules = read_breaker(Settings({"MOCRA_BREAKER": "mocra"}))
    assert rules is not None
    assert rules.slot is not None
    assert rules.crawl is not None
    assert (rules.slot.failures, rules.slot.window) == (10, 60)
    assert (rules.crawl.failures, rules.crawl.window) == (100, 600)


def test_slots_are_held_by_the_cluster_only() -> None:
    worker = {"MOCRA_THROTTLE_SCOPE": "worker", "MOCRA_BREAKER": "mocra"}
    with pytest.raises(ConfigurationError, match="held by the cluster"):
        read_breaker(Settings(worker))
    rules = read_breaker(Settings({**worker, "MOCRA_BREAKER": {"preset": "mocra", "slot": None}}))
    assert rules is not None


@pytest.mark.parametrize("value", [[429, 503], (429, 503), {429, 503}, "429,503", "[429, 503]"])
def test_statuses_in_every_form(value: Any) -> None:
    assert read_feedback(Settings({"MOCRA_THROTTLE_FEEDBACK_STATUSES": value})).statuses == {429, 503}


def test_statuses_may_be_none() -> None:
    assert read_feedback(Settings({"MOCRA_THROTTLE_FEEDBACK_STATUSES": []})).statuses == frozenset()
