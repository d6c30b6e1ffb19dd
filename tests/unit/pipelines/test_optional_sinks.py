"""The sinks whose clients are extras: their settings, and what is said without the client."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings

import mocra_scrapy
from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.client import shortened
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.kafka import KafkaPipeline
from mocra_scrapy.pipelines.parquet import ParquetPipeline
from mocra_scrapy.pipelines.postgres import PostgresPipeline
from mocra_scrapy.settings.sinks import read_kafka_items, read_parquet

URL = "MOCRA_KAFKA_ITEMS_URL"
KAFKA = {URL: "kafka://localhost", "MOCRA_KAFKA_ITEMS_TOPIC": "books"}


@pytest.mark.parametrize(
    ("pipeline", "client", "extra", "settings"),
    [
        (KafkaPipeline, "confluent_kafka", "kafka", KAFKA),
        (
            PostgresPipeline,
            "psycopg",
            "postgres",
            {"MOCRA_POSTGRES_URL": "postgresql://h/d", "MOCRA_POSTGRES_TABLE": "t"},
        ),
        (ParquetPipeline, "pyarrow", "parquet", {}),
    ],
)
async def test_without_its_client_the_extra_is_named(
    pipeline: type[BatchPipeline],
    client: str,
    extra: str,
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == client]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, client, None)  # as if it were not installed
    settings = {**settings, "MOCRA_PARQUET_DIR": str(tmp_path)}
    sink = pipeline.make_sink(Settings(settings), Place("s", "p:s", "w", "_mocra"))
    with pytest.raises(ConfigurationError, match=rf'{pipeline.__name__} needs .*pip install "mocra-scrapy\[{extra}\]"'):
        await sink.open()
    await sink.close()


def test_a_client_is_imported_where_it_is_used_and_not_before() -> None:
    """Which folders import them at all, ``test_floors`` says."""
    root, clients = Path(mocra_scrapy.__file__).parent, {"confluent_kafka", "psycopg", "pyarrow"}
    for path in (*(root / "pipelines").rglob("*.py"), *(root / "backends" / "kafka").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:  # not within functions, nor for type checkers
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not clients & {name.partition(".")[0] for name in names}, path


@pytest.mark.parametrize(
    ("url", "bootstrap"),
    [
        ("kafka://localhost", "localhost:9092"),
        ("kafka://a:1,b.example.org:65535/", "a:1,b.example.org:65535"),
        ("KAFKA://[::1]:9093, 10.0.0.1", "[::1]:9093,10.0.0.1:9092"),
    ],
)
def test_where_kafka_is(url: str, bootstrap: str) -> None:
    assert read_address(URL, url, {}).bootstrap == bootstrap


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:9092", "it is no URL of Kafka. Write kafka://"),
        ("redis://localhost", "it is no URL of Kafka"),
        ("kafka://", "'' is no host and port"),
        ("kafka://a:0", "'a:0' is no host and port"),
        ("kafka://a:99999", "'a:99999' is no host and port"),
        ("kafka://a/topic", "'a/topic' is no host and port"),
        ("kafka://u:hush@a", "has no user and no password. Set MOCRA_KAFKA_OPTIONS"),
    ],
)
def test_what_is_no_url_of_kafka(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_address(URL, url, {})
    assert refused.value.subject == URL
    assert words in str(refused.value)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bootstrap.servers": "a"}, "MOCRA_KAFKA_OPTIONS['bootstrap.servers']: it can't be set: the URL says"),
        ({"transactional.id": "a"}, "batches are no transactions"),
        ({"acks": 1}, "MOCRA_KAFKA_OPTIONS['acks']: 1 would lose what brokers have not copied"),
        ({"enable.idempotence": False}, "False would lose"),
        ({"enable.idempotence": "false"}, "'false' would lose"),
        ({"error_cb": print}, "builtin_function_or_method is no value of an option"),
        ({3: "a"}, "is no value of an option"),
    ],
)
def test_options_that_would_break_a_promise_are_refused(options: dict[Any, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_address(URL, "kafka://a", options)
    assert words in str(refused.value)


def test_options_that_say_what_is_so_anyway_are_taken() -> None:
    options = {"acks": "all", "enable.idempotence": "TRUE", "compression.type": "lz4", "linger.ms": 20}
    assert read_address(URL, "kafka://a", options).options == options


async def test_an_option_that_librdkafka_does_not_know_is_named() -> None:
    settings = Settings({**KAFKA, "MOCRA_KAFKA_OPTIONS": {"linger.millis": 5}})
    sink = KafkaPipeline.make_sink(settings, Place("s", "p:s", "w", "_mocra"))
    with pytest.raises(
        ConfigurationError, match=r'MOCRA_KAFKA_OPTIONS: No such configuration property: "linger.millis"'
    ):
        await sink.open()
    await sink.close()


def test_what_librdkafka_says_of_a_connection_is_shortened() -> None:
    after = "(after 300ms in state AUTH_REQ, 2 identical error(s) suppressed)"
    assert (
        shortened(f"sasl_plaintext://a:1/bootstrap: SASL error: wrong password {after}") == "SASL error: wrong password"
    )


@pytest.mark.parametrize("name", [URL, "MOCRA_KAFKA_ITEMS_TOPIC"])
def test_kafka_needs_a_place_and_a_topic(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}: KafkaPipeline needs it"):
        read_kafka_items(Settings({**KAFKA, name: ""}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_KAFKA_ITEMS_URL", 9092),
        ("MOCRA_KAFKA_ITEMS_TOPIC", ["items"]),
        ("MOCRA_KAFKA_ITEMS_KEY", 1),
        ("MOCRA_KAFKA_ITEMS_HEADERS", 1),
        ("MOCRA_KAFKA_OPTIONS", "acks=all"),
    ],
)
def test_settings_of_kafka_that_make_no_sense_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_kafka_items(Settings({**KAFKA, name: value}))
    assert refused.value.subject == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MOCRA_PARQUET_DIR", ""),
        ("MOCRA_PARQUET_COMPRESSION", "zip"),
        ("MOCRA_PARQUET_ROW_GROUP", 0),
        ("MOCRA_PARQUET_ROTATE_BYTES", -1),
        ("MOCRA_PARQUET_ROTATE_SECONDS", "soon"),
        ("MOCRA_PARQUET_SCHEMA", {"a": 1}),
        ("MOCRA_PARQUET_SCHEMA", "["),
    ],
)
def test_settings_of_parquet_that_make_no_sense_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_parquet(Settings({name: value}))
    assert refused.value.subject.startswith(name)
