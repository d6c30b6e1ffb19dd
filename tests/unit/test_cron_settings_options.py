"""The settings of ``scrapy cron``: wrong ones are told by name, with the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.cron.options import read_cron_options
from mocra_scrapy.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_CRON", 7),
        ("MOCRA_CRON_NAME", " "),
        ("MOCRA_CRON_DIR", ""),
        ("MOCRA_CRON_LEASE", 0),
        ("MOCRA_CRON_LEASE", "soon"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as raised:
        read_cron_options(Settings({name: value})).source()
    assert raised.value.subject == name
    assert raised.value.fix
