"""MOCRA_KAFKA_…, as far as they say how a crawl's log is."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.log import LogOptions
from mocra_scrapy.settings.kafka import read_kafka


def test_defaults_lose_nothing() -> None:
    assert read_kafka(Settings()) == LogOptions(12, 3, 2, message_bytes=1_048_576 + 65_536)


def test_all_may_be_said() -> None:
    given = {
        "MOCRA_KAFKA_PARTITIONS": "24",
        "MOCRA_KAFKA_REPLICATION": 2,
        "MOCRA_KAFKA_RETENTION": 86_400,
        "MOCRA_KAFKA_CREATE_TOPICS": "True",
        "MOCRA_KAFKA_GROUP_PROTOCOL": "consumer",
        "MOCRA_KAFKA_SESSION_TIMEOUT": 10,
        "MOCRA_KAFKA_REVOKE_TIMEOUT": 2,
        "MOCRA_KAFKA_AHEAD": 100,
        "MOCRA_KAFKA_AHEAD_BYTES": 2**21,
        "MOCRA_ENTRY_MAX_BYTES": 1000,
    }
    assert read_kafka(Settings(given)) == LogOptions(
        24, 2, 1, 86_400.0, 1000 + 65_536, True, "consumer", 10.0, 2.0, 100, 2**21
    )
    assert read_kafka(Settings({"MOCRA_KAFKA_REPLICATION": 1})).min_insync == 1
    assert read_kafka(Settings({"MOCRA_KAFKA_MIN_INSYNC": 3})).min_insync == 3


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MOCRA_KAFKA_PARTITIONS", 0, "from 1 to 10000"),
        ("MOCRA_KAFKA_REPLICATION", "many", "not a number of copies"),
        ("MOCRA_KAFKA_MIN_INSYNC", 4, "can't be in sync where MOCRA_KAFKA_REPLICATION is 3. Set it to 2"),
        ("MOCRA_KAFKA_RETENTION", 1, "not a time in seconds"),
        ("MOCRA_KAFKA_GROUP_PROTOCOL", "share", "'classic', 'consumer'"),
        ("MOCRA_KAFKA_SESSION_TIMEOUT", 0, "not a time in seconds"),
        ("MOCRA_KAFKA_REVOKE_TIMEOUT", -1, "not a time in seconds"),
        ("MOCRA_KAFKA_CREATE_TOPICS", "perhaps", "neither true nor false"),
        ("MOCRA_KAFKA_WINDOW", 1, "not a number of requests"),
        ("MOCRA_KAFKA_AHEAD", 0, "not a number of requests"),
        ("MOCRA_KAFKA_AHEAD_BYTES", 1000, "not a size in bytes"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as error:
        read_kafka(Settings({name: value}))
    assert words in str(error.value)


def test_a_url_may_have_a_prefix_where_one_is_taken() -> None:
    address = read_address("MOCRA_QUEUE_BACKEND", "kafka://a:1,b/shop/", {}, takes_prefix=True)
    assert (address.bootstrap, address.prefix) == ("a:1,b:9092", "shop")
    assert read_address("MOCRA_QUEUE_BACKEND", "kafka://a/", {}, takes_prefix=True).prefix is None
    for url in ("kafka://a/b/c", "kafka://a/p?acks=1"):
        with pytest.raises(ConfigurationError, match="MOCRA_QUEUE_BACKEND"):
            read_address("MOCRA_QUEUE_BACKEND", url, {}, takes_prefix=True)
    with pytest.raises(ConfigurationError, match="no host and port"):
        read_address("MOCRA_SEEDS_KAFKA", "kafka://a/shop", {})


@pytest.mark.parametrize("name", ["group.protocol", "session.timeout.ms", "auto.offset.reset", "group.instance.id"])
def test_what_concerns_the_group_is_said_elsewhere(name: str) -> None:
    with pytest.raises(ConfigurationError, match="it can't be set"):
        read_address("MOCRA_QUEUE_BACKEND", "kafka://a", {name: "1000"})
