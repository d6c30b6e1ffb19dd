"""The settings about failures: every wrong value is told by its name."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.failures import read_failure_options


def test_defaults_are_accepted() -> None:
    options = read_failure_options(Settings())
    assert (options.on_error, options.dead_retries, options.retry_base) == ("ack", True, 1.0)
    given = {"MOCRA_RETRY_BASE": "0", "MOCRA_ON_ERROR": "retry", "MOCRA_DEAD_RETRIES": "False"}
    options = read_failure_options(Settings(given))
    assert (options.on_error, options.dead_retries, options.retry_base) == ("retry", False, 0.0)


def test_zero_switches_off() -> None:
    names = ("MOCRA_CALLBACK_TIMEOUT", "MOCRA_CALLBACK_NOTICE", "MOCRA_STOP_GRACE")
    off = read_failure_options(Settings(dict.fromkeys(names, "0")))
    assert (off.callback_timeout, off.callback_notice, off.stop_grace) == (None, None, None)
    assert read_failure_options(Settings()).callback_timeout is None
    on = read_failure_options(Settings(dict.fromkeys(names, "7")))
    assert (on.callback_timeout, on.callback_notice, on.stop_grace) == (7, 7, 7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_RETRY_BASE", -1),
        ("MOCRA_RETRY_BASE", "soon"),
        ("MOCRA_RETRY_CAP", float("nan")),
        ("MOCRA_RETRY_CAP", float("inf")),
        ("MOCRA_RETRY_AFTER_CAP", -0.5),
        ("MOCRA_DELAY_MAX", True),
        ("MOCRA_DELAY_MAX", 1e12),
        ("MOCRA_DEFER_MAX", -1),
        ("MOCRA_STALL_MAX", "never"),
        ("MOCRA_STALL_ATTEMPTS", 0),
        ("MOCRA_STALL_OPENINGS", -1),
        ("MOCRA_DEAD_BODY_MAX_BYTES", 65 * 2**20),
        ("MOCRA_ON_ERROR", "ignore"),
        ("MOCRA_TRANSACTIONAL", "sometimes"),
        ("MOCRA_TRANSACTIONAL_MAX", 0),
        ("MOCRA_TRANSACTIONAL_MAX", 10_001),
        ("MOCRA_ON_ERROR", 1),
        ("MOCRA_DEAD_RETRIES", "perhaps"),
        ("MOCRA_CALLBACK_TIMEOUT", -1),
        ("MOCRA_CALLBACK_TIMEOUT", "long"),
        ("MOCRA_CALLBACK_NOTICE", -1),
        ("MOCRA_STOP_GRACE", "soon"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_failure_options(Settings({name: value}))
    assert raised.value.subject == name
    assert raised.value.fix
