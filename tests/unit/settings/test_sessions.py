"""MOCRA_SESSIONS, and where our middleware is put."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from scrapy import Spider
from scrapy.settings import Settings
from scrapy.utils.misc import load_object

from mocra_scrapy import Addon
from mocra_scrapy.addon.sessions import OURS, THEIRS, place_cookies
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.sessions import PoolOptions, read_sessions


def read(value: Any, **more: Any) -> Any:
    return read_sessions(Settings({"MOCRA_SESSIONS": value, **more}))


def test_what_may_be_set() -> None:
    assert read(False) is read(None) is read("0") is None
    assert read(True).pools == read("1").pools == {}
    assert read({"Shop.example": {}}).pools == {"shop.example": PoolOptions()}
    options = read('{"a.test": {"size": 3, "max_age": null, "user_agents": "Joe/1", "headers": {"A": "b"}}}').pools[
        "a.test"
    ]
    assert (options.size, options.max_age, options.user_agents, options.headers) == (3, 0, ("Joe/1",), {"A": "b"})


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("yes", "MOCRA_SESSIONS"),
        ({"https://a.test": {}}, "no host"),
        ({"a.test": 5}, r"\['a.test'\]: 5"),
        ({"a.test": {"sise": 5}}, "'sise' is unknown"),
        *(
            ({"a.test": {key: wrong}}, rf"\['{key}'\]")
            for key, wrong in {
                "size": 0,
                "wait": -1,
                "max_uses": 1.5,
                "proxy": "yes",
                "on_retry": "never",
                "policy": 5,
                "headers": {"A B": "c"},
                "user_agents": ["\n"],
                "bad_statuses": [1000],
            }.items()
        ),
        ({"a.test": {"headers": {"Cookie": "a=b"}}}, "Cookie"),
        ({"a.test": {"headers": "A: b"}}, "no dict"),
        ({"a.test": {"bad_statuses": 403}}, "no list"),
    ],
)
def test_what_is_wrong_is_named_with_the_fix(value: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        read(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_SESSIONS", "perhaps"),
        ("MOCRA_SESSION_TTL", 5),
        ("MOCRA_SECRET_KEY", "short"),
    ],
)
def test_each_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        read_sessions(Settings({name: value}))
    assert caught.value.fix


def test_a_key_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="base64") as caught:
        read(True, MOCRA_SECRET_KEY="s3cret")
    assert "s3cret" not in str(caught.value)


def placed(**settings: Any) -> dict[Any, Any]:
    known = Settings({"MOCRA_SESSIONS": True, **settings})
    Addon(type("C", (), {"spidercls": Spider})()).update_settings(known)  # type: ignore[arg-type]
    both = {**known.getdict("DOWNLOADER_MIDDLEWARES_BASE"), **known.getdict("DOWNLOADER_MIDDLEWARES")}
    return {load_object(key): order for key, order in both.items() if order is not None}


def test_it_stands_where_scrapys_does_only_if_it_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    ours, theirs = load_object(OURS), load_object(THEIRS)
    assert theirs in placed(MOCRA_SESSIONS=False)
    assert placed()[ours] == 700
    assert theirs not in placed()
    assert placed(DOWNLOADER_MIDDLEWARES={OURS: 650, THEIRS: None})[ours] == 650
    assert not caplog.records
    assert ours not in placed(DOWNLOADER_MIDDLEWARES={THEIRS: 650})
    assert ours not in placed(COOKIES_ENABLED=False)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["places Scrapy's" in text for text in warned] == [True, False]


def test_a_pool_that_binds_to_proxies_without_any_is_told(caplog: pytest.LogCaptureFixture) -> None:
    for more, told in (({}, 1), ({"MOCRA_PROXIES": "http://h:1"}, 0)):
        caplog.clear()
        settings = Settings({"MOCRA_SESSIONS": {"shop.example": {"proxy": True}}, **more})
        place_cookies(settings)
        assert caplog.text.count("MOCRA_SESSIONS['shop.example']['proxy'] has no effect") == told
