"""The settings about what sites say: every wrong value is told by its name, with the fix."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.feedback import read_feedback
from mocra_scrapy.settings.reader import SettingsReader
from mocra_scrapy.settings.robots import read_max_age


def test_defaults_are_accepted() -> None:
    options = read_feedback(Settings())
    assert (options.cluster, options.statuses, options.crawl_delay) == (True, {429, 503}, 60.0)
    assert (options.floor, options.most, options.recovery, options.calm) == (0.1, 60.0, 0.05, 5.0)


@pytest.mark.parametrize("value", ["429, 503", "[429,503]", [429, 503], ("429", "503"), {429, 503}])
def test_statuses_are_a_list_or_a_text(value: Any) -> None:
    assert read_feedback(Settings({"MOCRA_THROTTLE_FEEDBACK_STATUSES": value})).statuses == {429, 503}


@pytest.mark.parametrize("value", ["", "[]", []])
def test_no_statuses(value: Any) -> None:
    assert read_feedback(Settings({"MOCRA_THROTTLE_FEEDBACK_STATUSES": value})).statuses == frozenset()


def test_crawl_delay_is_switched_off() -> None:
    assert read_feedback(Settings({"MOCRA_THROTTLE_CRAWL_DELAY": "False"})).crawl_delay == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", 503),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", [200]),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", [600]),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", [503.5]),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", [True]),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", "429, busy"),
        ("MOCRA_THROTTLE_FEEDBACK_STATUSES", [None]),
        ("MOCRA_THROTTLE_FEEDBACK_FLOOR", 0),
        ("MOCRA_THROTTLE_FEEDBACK_MOST", 0.01),  # less than the floor
        ("MOCRA_THROTTLE_FEEDBACK_RECOVERY", 1),
        ("MOCRA_THROTTLE_FEEDBACK_CALM", -1),
        ("MOCRA_THROTTLE_RATE_LIMIT_HEADERS", "maybe"),
        ("MOCRA_THROTTLE_CRAWL_DELAY", "perhaps"),
        ("MOCRA_THROTTLE_CRAWL_DELAY_MAX", "long"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_feedback(Settings({name: value}))
    assert raised.value.subject == name
    assert raised.value.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [("MOCRA_ROBOTS_MAX_AGE", 0), ("MOCRA_ROBOTS_MAX_AGE", "a day"), ("MOCRA_ROBOTS_MAX_AGE", 700_000)],
)
def test_a_wrong_age_is_named(name: str, value: Any) -> None:
    assert read_max_age(SettingsReader(Settings())) == 86_400
    with pytest.raises(ConfigurationError) as raised:
        read_max_age(SettingsReader(Settings({name: value})))
    assert raised.value.subject == name
