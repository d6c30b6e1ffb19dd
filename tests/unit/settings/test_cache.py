"""The settings of the cache, and what ``mocra.cache`` makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.settings import Settings
from scrapy.statscollectors import MemoryStatsCollector

from mocra_scrapy import Mocra
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.cache import read_caches


class BookSpider(Spider):
    name = "books"


def mocra(**settings: Any) -> Mocra:
    crawler = Crawler(BookSpider, Settings({"MOCRA_BACKEND": "memory://", **settings}))
    crawler.stats = MemoryStatsCollector(crawler)
    return Mocra.from_crawler(crawler)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MOCRA_CACHE_TTL", 0, "MOCRA_CACHE_TTL"),
        ("MOCRA_CACHE_MAX_ENTRIES", "many", "MOCRA_CACHE_MAX_ENTRIES"),
        ("MOCRA_CACHE_MAX_BYTES", 1000, "MOCRA_CACHE_MAX_BYTES"),
        ("MOCRA_CACHE_MAX_BYTES", 1_000_000, "a sixteenth of MOCRA_CACHE_MAX_BYTES = 1000000. Set 62500 at most"),
        ("MOCRA_CACHE_MAX_VALUE_BYTES", 0, "MOCRA_CACHE_MAX_VALUE_BYTES"),
        ("MOCRA_CACHE_ON_OUTAGE", "shout", "Set one of 'raise', 'miss'"),
        ("MOCRA_CACHES", ["prices"], "MOCRA_CACHES"),
        ("MOCRA_CACHES", "{", "MOCRA_CACHES"),
        ("MOCRA_CACHES", {"prices": 60}, r"MOCRA_CACHES\['prices'\]: 60 is not a dict"),
        ("MOCRA_CACHES", {"prices": {"tll": 60}}, "'tll' is unknown. Known are ttl"),
    ],
)
def test_wrong_settings_stop_the_start(name: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_caches(Settings({name: value}))
    with pytest.raises(ConfigurationError, match=words):
        mocra(**{name: value})


def test_arguments_go_before_namespaces_and_those_before_all() -> None:
    caches = json.dumps({"prices": {"ttl": 60, "max_bytes": 1_600_000, "local_entries": 7}})
    one = mocra(MOCRA_CACHES=caches, MOCRA_CACHE_TTL="30", MOCRA_CACHE_MAX_ENTRIES=5, MOCRA_CACHE_ON_OUTAGE="miss")
    options = one.cache("prices", local_age=2).options
    assert (options.ttl, options.on_outage) == (60, "miss")
    assert (options.bounds.max_entries, options.bounds.max_bytes, options.bounds.max_value_bytes) == (
        5,
        1_600_000,
        100_000,
    )
    assert (options.local.entries, options.local.age) == (7, 2.0)
    assert one.cache("other").options.ttl == 30
    assert one.cache("prices") is one.cache("prices", local_age=2.0)
    with pytest.raises(ConfigurationError, match="Say it once, in MOCRA_CACHES"):
        one.cache("prices", ttl=61)
    with pytest.raises(ConfigurationError, match=r"cache 'new', ttl: '60m' is not a time"):
        one.cache("new", ttl="60m")


async def seven() -> int:
    return 7


async def test_a_cache_lives_between_the_opening_and_the_closing() -> None:
    one = mocra()
    early = one.cache("early", local_entries=10)
    async with one.connected():
        late = one.cache("late", local_entries=10)
        for cache in (early, late):
            await cache.set("a", 1)
            assert await cache.get("a") == 1
        assert await late.get_or_compute("b", seven) == 7
    assert one.crawler.stats is not None
    stats = one.crawler.stats.get_stats()
    assert (stats["mocra/cache/stored"], stats["mocra/cache/computed"]) == (3, 1)
    assert stats["mocra/cache/hits"] + stats.get("mocra/cache/local_hits", 0) == 2
