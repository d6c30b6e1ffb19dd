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
    assert read_reports(Settings({"MOCRA_PROGRESS": value})) == ReportOptions(True, read)


@pytest.mark.parametrize("name", ["MOCRA_PROGRESS", "MOCRA_SUMMARY"])
def test_a_wrong_value_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: 'sometimes' is neither true nor false"):
        read_reports(Settings({name: "sometimes"}))
