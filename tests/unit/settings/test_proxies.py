"""The settings of the proxy pool: what is wrong is named, with the fix, and without a password."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.proxies import read_proxies


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_PROXIES", 7),
        ("MOCRA_PROXIES", [{"text": "http://u:planted@h", "color": 1}]),
        ("MOCRA_PROXY_POOL", ""),
        ("MOCRA_PROXY_ON_EMPTY", "maybe"),
        ("MOCRA_PROXY_CONCURRENCY", -1),
        ("MOCRA_PROXY_FAILURES", 0),
        ("MOCRA_PROXY_COOL_DOWN", 0),
        ("MOCRA_PROXY_BAN_COOL_DOWN", "long"),
        ("MOCRA_PROXY_COOL_DOWN_MAX", 1),
        ("MOCRA_PROXY_BAN_STATUSES", [42]),
        ("MOCRA_PROXY_BAN_BODIES", ["("]),
        ("MOCRA_PROXY_POLICY", ""),
        ("MOCRA_PROXY_TRIES", -1),
        ("MOCRA_PROXY_REFRESH", -1),
        ("MOCRA_PROXY_STICKY", 0),
        ("MOCRA_SECRET_KEY", 7),
    ],
)
def test_wrong_values_are_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_proxies(Settings({"MOCRA_PROXIES": ["h:1"], name: value}))
    assert name in str(raised.value)
    assert raised.value.fix
    assert "planted" not in str(raised.value)
