"""``MOCRA_SEEDS`` and what belongs to it."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.seeds import Source, read_seeds


def read(**settings: Any) -> Any:
    return read_seeds(Settings(settings), "books")


@pytest.mark.parametrize(
    ("value", "sources"),
    [
        (None, []),
        ("", []),
        ([], []),
        ("redis:%(name)s:start_urls", [Source("redis", "books:start_urls")]),
        ("stdin", [Source("stdin")]),
        (["stream:s", "file:/tmp/a b"], [Source("stream", "s"), Source("file", "/tmp/a b")]),
        ({"redis": "k", "url": "redis://h"}, [Source("redis", "k", {"url": "redis://h"})]),
        ('["stream:s", {"redis": "k"}]', [Source("stream", "s"), Source("redis", "k")]),
        ('{"stream": "s"}', [Source("stream", "s")]),
    ],
)
def test_sources_are_read(value: Any, sources: list[Source]) -> None:
    assert list(read(MOCRA_SEEDS=value).sources) == sources


@pytest.mark.parametrize(
    ("setting", "value", "problem"),
    [
        ("MOCRA_SEEDS", 7, "int is not a list"),
        ("MOCRA_SEEDS", [7], "7 is not a source"),
        ("MOCRA_SEEDS", "kafkaesque:x", "there is no source 'kafkaesque'"),
        ("MOCRA_SEEDS", "redis", "'redis' has no address"),
        ("MOCRA_SEEDS", "redis: ", "'redis' has no address"),
        ("MOCRA_SEEDS", "[not json", "it is not valid JSON"),
        ("MOCRA_SEEDS", {"redis": "a", "stream": "b"}, "names 2 kinds"),
        ("MOCRA_SEEDS", {"url": "redis://h"}, "names 0 kinds"),
        ("MOCRA_SEEDS", {"redis": "a", "uri": "x"}, "option 'uri' is unknown"),
        ("MOCRA_SEEDS", ["stdin", "stdin"], "'stdin' is there twice"),
        ("MOCRA_SEEDS_REDIS", " ", "is not a URL"),
        ("MOCRA_SEEDS_KAFKA", " ", "is not a URL"),
        ("MOCRA_SEEDS_POLL", 0, "is not a time in seconds"),
        ("MOCRA_SEEDS_IDLE", -1, "is not a time in seconds"),
    ],
)
def test_what_is_wrong_is_named(setting: str, value: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(**{setting: value})
    assert caught.value.subject.startswith(setting)
    assert problem in caught.value.problem
    assert caught.value.fix


def test_defaults() -> None:
    options = read()
    assert (options.sources, options.redis, options.poll, options.idle) == ((), None, 0.5, 5.0)


def test_passwords_are_in_no_name() -> None:
    assert "hunter2" not in Source("file", "http://user:hunter2@host/x").name
    there = Source("redis", "k", {"url": "redis://:hunter2@host"})
    assert "hunter2" not in there.name
    assert there.name != Source("redis", "k", {"url": "redis://other"}).name, "one key on two servers is two sources"
