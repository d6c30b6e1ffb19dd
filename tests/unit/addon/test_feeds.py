"""Whose exporter writes the feeds."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Spider
from scrapy.extension import ExtensionManager
from scrapy.extensions.feedexport import FeedExporter as Theirs
from scrapy.settings import Settings
from scrapy.utils.misc import load_object

from mocra_scrapy import Addon
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.extensions.feedexport import FeedExporter as Ours

THEIRS, OURS = "scrapy.extensions.feedexport.FeedExporter", "mocra_scrapy.extensions.feedexport.FeedExporter"
LINES, JSON = {"items.jsonl": {"format": "jsonlines"}}, {"items.json": {"format": "json"}}
REDIS = "redis://127.0.0.1:1/0"


class Mine(Theirs):
    pass


class MineOfOurs(Ours):
    pass


def exporters(backend: str = REDIS, feeds: Any = LINES, **settings: Any) -> list[type]:
    given = Settings({"MOCRA_BACKEND": backend, "FEEDS": feeds, **settings})
    Addon(type("C", (), {"spidercls": Spider})()).update_settings(given)  # type: ignore[arg-type]
    found = [load_object(path) for path in ExtensionManager._get_mwlist_from_settings(given)]
    return [cls for cls in found if issubclass(cls, Theirs)]


@pytest.mark.parametrize(
    ("backend", "feeds", "expected"),
    [
        (REDIS, LINES, Ours),
        (REDIS, {}, Ours),  # which is not enabled, unless a spider sets FEEDS in its from_crawler
        ("memory://", {}, Theirs),
        ("memory://", LINES, Theirs),
        ("memory://", JSON, Theirs),
        ("memory://", {"items-%(mocra_worker)s.json": {"format": "json"}}, Ours),
    ],
)
def test_ours_stands_where_it_is_needed(backend: str, feeds: Any, expected: type) -> None:
    assert exporters(backend, feeds) == [expected]


@pytest.mark.parametrize(
    ("said", "expected", "warns"),
    [
        ({THEIRS: None}, [], False),
        ({THEIRS: None, Mine: 0}, [Mine], True),
        ({THEIRS: 7}, [Theirs], True),
        ({THEIRS: None, MineOfOurs: 0}, [MineOfOurs], False),
        ({OURS: None}, [Theirs], False),
    ],
)
def test_the_project_has_the_last_word(
    said: dict[Any, Any], expected: list[type], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    assert exporters(EXTENSIONS=said) == expected
    assert ("make it a subclass of" in caplog.text) == warns
    if warns or not expected or expected == [Theirs]:
        exporters(feeds=JSON, EXTENSIONS=said)  # none of our business
    else:
        with pytest.raises(ConfigurationError):
            exporters(feeds=JSON, EXTENSIONS=said)


def test_what_cannot_be_written_is_refused_when_the_crawler_is_made() -> None:
    with pytest.raises(ConfigurationError, match=r"FEEDS 'items.json': .* Write 'items-%\(mocra_worker\)s.json'"):
        exporters(feeds=JSON)
    exporters("memory://", JSON)


def test_a_storage_or_exporter_that_is_not_there_is_scrapys_to_tell() -> None:
    assert exporters(feeds=LINES, FEED_STORAGES={"odd": "no.such.Storage"}) == [Ours]
    assert exporters(feeds={"x://y": {"format": "none"}}) == [Ours]
