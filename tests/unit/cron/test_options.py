"""The settings of cron: wrong ones are told by name, with the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.cron.options import read_cron_options
from mocra_scrapy.exceptions import ConfigurationError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_are_accepted(tmp_path: Path) -> None:
    options = read_cron_options(Settings({"BOT_NAME": "shop"}))
    assert (options.address.name, options.lease) == ("shop", 30.0)
    assert options.address.folder == str(options.project / ".mocra-cron")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_CRON", 3),
        ("MOCRA_CRON", ["prices"]),
        ("MOCRA_CRON_NAME", 3),
        ("MOCRA_CRON_NAME", ""),
        ("MOCRA_CRON_DIR", ""),
        ("MOCRA_CRON_LEASE", 0),
        ("MOCRA_CRON_LEASE", 3601),
        ("MOCRA_CRON_LEASE", "long"),
    ],
)
def test_wrong_values_are_told_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_cron_options(Settings({name: value})).source()
    assert str(error.value).startswith(name)
