"""MOCRA_SUMMARY and MOCRA_PROGRESS."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.reports import ReportOptions, read_reports


@pytest.mark.parametrize(
    ("value", "read"),
    [(None, None), ("", None), ("auto", None), ("None", None), ("False", False), (0, False), ("1", True), (True, True)],
)
def test_progress(value: Any, read: bool | None) -> None:
    assert read_reports(Settings({"MOCRA_PROGRESS": value})) == ReportOptions(True, read, 30.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("MOCRA_PROGRESS", "sometimes"), ("MOCRA_SUMMARY", "sometimes"), ("MOCRA_LOOP_WATCHDOG", -1)],
)
def test_a_wrong_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_reports(Settings({name: value}))
    assert raised.value.subject == name
    assert raised.value.fix
