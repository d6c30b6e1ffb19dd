"""The settings of pipelines: each wrong value is told by its name, with the fix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from scrapy import Spider
from scrapy.settings import Settings

from mocra_scrapy import Addon
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.settings.pipelines import (
    BatchOptions,
    read_batch_options,
    read_jsonlines,
    read_postgres,
    read_redis_items,
    read_store_options,
    read_unique,
)

REDIS = {"MOCRA_BACKEND": "redis://localhost"}
POSTGRES = {"MOCRA_POSTGRES_URL": "postgresql://localhost/x", "MOCRA_POSTGRES_TABLE": "items"}


def refused(read: Callable[[Settings], Any], name: str, given: dict[str, Any]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as raised:
        read(Settings(given))
    assert raised.value.subject.startswith(name)
    assert raised.value.fix
    return raised.value


def test_defaults_are_accepted() -> None:
    assert read_batch_options(Settings()) == BatchOptions()
    store = read_store_options(Settings())
    assert (str(store.spill), store.field) == (".mocra-spill", "_mocra")
    assert read_store_options(Settings({"MOCRA_SPILL_DIR": ""})).spill is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_BATCH_ITEMS", 0),
        ("MOCRA_BATCH_BYTES", "big"),
        ("MOCRA_BATCH_WAIT", -1),
        ("MOCRA_BATCH_TIMEOUT", 0),
        ("MOCRA_BATCH_RETRY_BASE", 0),
        ("MOCRA_BATCH_RETRY_CAP", 0),
        ("MOCRA_BATCH_CLOSE", 0),
    ],
)
def test_a_wrong_setting_of_batches_is_told_when_the_crawler_is_made(name: str, value: Any) -> None:
    refused(read_batch_options, name, {name: value})
    with pytest.raises(ConfigurationError, match=name):
        Addon(type("C", (), {"spidercls": Spider})()).update_settings(Settings({name: value}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("MOCRA_ITEM_FIELD", 3), ("MOCRA_SPILL_DIR", 3), ("MOCRA_SPILL_MAX_BYTES", -1)]
)
def test_a_wrong_setting_of_all_sinks_is_named(name: str, value: Any) -> None:
    refused(read_store_options, name, {name: value})


def test_a_sink_that_is_away_is_given_up_before_the_pages_are() -> None:
    given = {"MOCRA_STOP_GRACE": 5, "MOCRA_BATCH_CLOSE": 5}
    refused(read_store_options, "MOCRA_BATCH_CLOSE", given)
    assert read_store_options(Settings({"MOCRA_STOP_GRACE": 0, "MOCRA_BATCH_CLOSE": 60})).batch.close == 60
    # None of the business of a project without such a pipeline.
    Addon(type("C", (), {"spidercls": Spider})()).update_settings(Settings(given))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_UNIQUE_ITEMS", []),
        ("MOCRA_UNIQUE_ITEMS", 3),
        ("MOCRA_UNIQUE_ITEMS", '["url"'),
        ("MOCRA_UNIQUE_ITEMS", "[3]"),
        ("MOCRA_UNIQUE_OVER", "day"),
        ("MOCRA_UNIQUE_TTL", 0),
    ],
)
def test_a_wrong_setting_of_deduplication_is_named(name: str, value: Any) -> None:
    refused(read_unique, name, {"MOCRA_UNIQUE_ITEMS": ["url"], name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_JSONLINES_DIR", ""),
        ("MOCRA_JSONLINES_ROTATE_BYTES", -1),
        ("MOCRA_JSONLINES_ROTATE_SECONDS", -1),
        ("MOCRA_JSONLINES_COMPRESSION", "gzip"),
    ],
)
def test_a_wrong_setting_of_json_lines_is_named(name: str, value: Any) -> None:
    refused(read_jsonlines, name, {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_POSTGRES_URL", None),
        ("MOCRA_POSTGRES_URL", "mysql://localhost/x"),
        ("MOCRA_POSTGRES_TABLE", ""),
        ("MOCRA_POSTGRES_KEY", 3),
        ("MOCRA_POSTGRES_COLUMNS", {"url": 3}),
        ("MOCRA_POSTGRES_COLUMNS", ["url"]),
    ],
)
def test_a_wrong_setting_of_postgresql_is_named(name: str, value: Any) -> None:
    refused(read_postgres, name, {**POSTGRES, name: value})


@pytest.mark.parametrize(("name", "value"), [("MOCRA_POSTGRES_REST", "more"), ("MOCRA_POSTGRES_KEY", ["id"])])
def test_a_column_that_a_setting_names_is_among_the_columns(name: str, value: Any) -> None:
    refused(
        read_postgres, "MOCRA_POSTGRES_COLUMNS", {**POSTGRES, "MOCRA_POSTGRES_COLUMNS": {"url": "text"}, name: value}
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_REDIS_ITEMS_URL", 6379),
        ("MOCRA_REDIS_ITEMS_KEY", ""),
        ("MOCRA_REDIS_ITEMS_KIND", "set"),
        ("MOCRA_REDIS_ITEMS_MAXLEN", -1),
        ("MOCRA_REDIS_ITEMS_ID", ["url"]),
    ],
)
def test_a_wrong_setting_of_redis_is_named(name: str, value: Any) -> None:
    refused(lambda settings: read_redis_items(settings, "shop:books"), name, {**REDIS, name: value})


def test_redis_items_need_a_server_and_a_hash_its_fields() -> None:
    def read(settings: Settings) -> Any:
        return read_redis_items(settings, "shop:books")

    refused(read, "MOCRA_REDIS_ITEMS_URL", {})
    refused(read, "MOCRA_REDIS_ITEMS_ID", {**REDIS, "MOCRA_REDIS_ITEMS_KIND": "hash"})
    by_url = {**REDIS, "MOCRA_REDIS_ITEMS_KIND": "hash", "MOCRA_REDIS_ITEMS_ID": "url, shop"}
    refused(read, "MOCRA_REDIS_ITEMS_MAXLEN", {**by_url, "MOCRA_REDIS_ITEMS_MAXLEN": 5})
    options = read(Settings(by_url))
    assert (options.key, options.id, options.url) == ("shop:books:items", ("url", "shop"), "redis://localhost")


@pytest.mark.parametrize("value", ['["url", "shop"]', ' [ "url" , "shop" ]', "url, shop", ["url", "shop"]])
def test_a_list_is_what_the_command_line_can_say(value: Any) -> None:
    assert read_unique(Settings({"MOCRA_UNIQUE_ITEMS": value, "MOCRA_UNIQUE_TTL": 1})).fields == ("url", "shop")
