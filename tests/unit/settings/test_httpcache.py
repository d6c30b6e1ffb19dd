"""The settings of the shared HTTP cache."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Spider
from scrapy.settings import Settings

from mocra_scrapy.downloadermiddlewares.httpcache import BackendCacheStorage, RFC9111Policy
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.httpcache import POLICY, STORAGE, names_ours, policy_is_ours, read_httpcache


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("MOCRA_HTTPCACHE_SCOPE", "team"),
        ("MOCRA_HTTPCACHE_MAX_BYTES", 1),
        ("MOCRA_HTTPCACHE_ENTRY_MAX_BYTES", 0),
        ("MOCRA_HTTPCACHE_ENTRY_MAX_BYTES", 2**27),  # more than a sixteenth of all
        ("MOCRA_HTTPCACHE_KEEP", 0),
        ("MOCRA_HTTPCACHE_KEEP", "long"),
        ("MOCRA_HTTPCACHE_HEURISTIC", 1.5),
        ("MOCRA_HTTPCACHE_HEURISTIC_MAX", -1),
        ("MOCRA_HTTPCACHE_NEGATIVE", {200: 5}),
        ("MOCRA_HTTPCACHE_NEGATIVE", {404: "5"}),
        ("MOCRA_HTTPCACHE_NEGATIVE", {404: True}),
        ("MOCRA_HTTPCACHE_NEGATIVE", "no JSON"),
        ("MOCRA_HTTPCACHE_STALE_IF_ERROR", -1),
        ("MOCRA_HTTPCACHE_WAIT", -1),
    ],
)
def test_what_is_wrong_is_named(name: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read_httpcache(Settings({name: wrong}))


def test_scrapys_settings_mean_the_same() -> None:
    read = read_httpcache(
        Settings(
            {
                "HTTPCACHE_EXPIRATION_SECS": "9",
                "HTTPCACHE_IGNORE_HTTP_CODES": ["500", 503],
                "HTTPCACHE_IGNORE_SCHEMES": "ftp,s3",
                "HTTPCACHE_IGNORE_RESPONSE_CACHE_CONTROLS": ["No-Store", b"private"],
                "HTTPCACHE_ALWAYS_STORE": "True",
                "COMPRESSION_ENABLED": False,
                "MOCRA_HTTPCACHE_NEGATIVE": '{"404": 5}',
            }
        )
    )
    assert (read.keep, read.always_store, read.decoding) == (9.0, True, False)
    assert (read.ignored_statuses, read.ignored_schemes) == ({500, 503}, {"ftp", "s3"})
    assert read.ignored_directives == {b"no-store", b"private"}
    assert read.negative == {404: 5.0}


def test_scopes() -> None:
    names = {}
    for scope in ("crawl", "spider", "all"):
        read = read_httpcache(Settings({"MOCRA_HTTPCACHE_SCOPE": scope}))
        names[scope] = (read.namespace("shop:books-2030", "shop", "books"), read.shared)
    assert names == {
        "crawl": ("crawl:shop:books-2030", False),
        "spider": ("spider:shop:books", True),
        "all": ("all", True),
    }


class Derived(RFC9111Policy):
    """A project's own."""


@pytest.mark.parametrize(
    ("settings", "ours", "policy"),
    [
        ({}, False, False),
        ({"HTTPCACHE_POLICY": POLICY}, True, True),
        ({"HTTPCACHE_STORAGE": STORAGE}, True, False),
        ({"HTTPCACHE_STORAGE": BackendCacheStorage}, True, False),
        ({"HTTPCACHE_POLICY": Derived}, True, True),
        ({"HTTPCACHE_POLICY": f"{__name__}.Derived"}, True, True),
        ({"HTTPCACHE_POLICY": "nowhere.at.All"}, False, False),
        ({"HTTPCACHE_POLICY": Spider}, False, False),
    ],
)
def test_which_are_ours(settings: dict[str, Any], ours: bool, policy: bool) -> None:
    assert names_ours(Settings(settings)) == ours
    assert policy_is_ours(Settings(settings)) == policy
