"""Which kind a feed is, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.exporters import JsonLinesItemExporter
from scrapy.settings import Settings

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.feeds.plans import LINES, OTHER, PART, ROWS, STDOUT, check_feeds, plan_feed, with_worker
from mocra_scrapy.feeds.plans import _classes as classes

STORAGES, EXPORTERS = classes(Settings(), "FEED_STORAGES"), classes(Settings(), "FEED_EXPORTERS")


class OwnStorage:
    pass


class OwnLines(JsonLinesItemExporter):
    pass


@pytest.mark.parametrize(
    ("uri", "options", "kind"),
    [
        ("items.jsonl", {"format": "jsonlines"}, LINES),
        ("items.jl", {}, LINES),
        ("file:///tmp/items.jsonl", {}, LINES),
        (r"C:\items.jsonl", {"format": "jsonl"}, LINES),
        ("items.txt", {"format": "own"}, LINES),
        ("items.csv", {}, ROWS),
        ("items-%(mocra_worker)s.csv", {}, ROWS),
        ("items-%(mocra_worker)s.json", {}, PART),
        ("items-%(mocra_worker)s.pickle", {"format": "pickle"}, PART),
        ("items-%(mocra_worker)s.csv.gz", {"format": "csv", "postprocessing": ["x"]}, PART),
        ("s3://bucket/%(mocra_worker)s.jsonl", {}, PART),
        ("ftp://host/%(mocra_worker)s.jsonl", {}, PART),
        ("own://table", {"format": "json"}, OTHER),
        ("unknown://table", {"format": "nothing"}, OTHER),
        ("stdout:", {"format": "json"}, STDOUT),
    ],
)
def test_kinds(uri: str, options: dict[str, Any], kind: str) -> None:
    storages, exporters = {**STORAGES, "own": OwnStorage}, {**EXPORTERS, "own": OwnLines}
    plan = plan_feed(uri, options, storages, exporters)
    assert plan.kind == kind
    assert plan.is_divided == (uri == "items.csv")


def test_a_storage_of_the_projects_own_for_files_is_its_own() -> None:
    assert plan_feed("items.json", {}, {**STORAGES, "": OwnStorage, "file": OwnStorage}, EXPORTERS).kind == OTHER


@pytest.mark.parametrize(
    ("uri", "options", "says"),
    [
        ("items.json", {}, "several workers can't write one json file"),
        ("items.xml", {}, "several workers can't write one xml file"),
        ("items.dat", {"format": "pickle"}, "one pickle file"),
        ("s3://bucket/items.jsonl", {}, "only the last one would be left"),
        ("items.jsonl", {"postprocessing": ["x"]}, "post-processed"),
        ("ftp://user:hunter2@host/items.csv", {}, "only the last one would be left"),
    ],
)
def test_refusals_name_the_feed_and_the_fix(uri: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        check_feeds(Settings({"FEEDS": {uri: options}}))
    assert "-%(mocra_worker)s." in str(refused.value)
    assert "hunter2" not in str(refused.value)
    check_feeds(Settings({"FEEDS": {with_worker(uri): options}}))


def test_a_batch_is_one_workers() -> None:
    options = {"format": "jsonlines", "batch_item_count": 5}
    assert plan_feed("x-%(batch_id)d.jl", options, STORAGES, EXPORTERS).template == "x-%(batch_id)d-%(mocra_worker)s.jl"
    assert not plan_feed("x-%(batch_time)s.jl", options, STORAGES, EXPORTERS).is_divided
    with pytest.raises(ConfigurationError):
        check_feeds(Settings({"FEED_URI": "items.json", "FEED_FORMAT": "json"}))


@pytest.mark.parametrize(
    ("uri", "divided"),
    [
        ("items.csv", "items-W.csv"),
        ("out.d/items", "out.d/items-W"),
        ("out.d/.csv", "out.d/.csv-W"),
        (".csv", ".csv-W"),
        ("my.site.csv", "my.site-W.csv"),
        ("items.csv.gz", "items-W.csv.gz"),
        ("%(name)s.csv", "%(name)s-W.csv"),
        ("%(name)s-%(batch_id)05d", "%(name)s-%(batch_id)05d-W"),
        (r"C:\out\items.csv", r"C:\out\items-W.csv"),
        ("s3://bucket/a/items.json", "s3://bucket/a/items-W.json"),
    ],
)
def test_where_the_workers_part_is_put(uri: str, divided: str) -> None:
    assert with_worker(uri) == divided.replace("W", "%(mocra_worker)s")
