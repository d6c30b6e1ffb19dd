"""A topic of Kafka as a source of seeds: all partitions, from given offsets, without a group."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from confluent_kafka import Producer

from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.seeds.sources.kafka import KafkaSource
from mocra_scrapy.settings.seeds import SeedOptions, Source
from tests.services.kafka_broker import KafkaBroker
from tests.services.processes import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.other_server]


def source(topic: str, url: str, **options: Any) -> KafkaSource:
    return KafkaSource(Source("kafka", topic), SeedOptions((), None, url, options, 5.0, 0.5))


def produce(kafka: KafkaBroker, topic: str, numbers: range, partitions: int) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for i in numbers:
        producer.produce(topic, b"http://a.test/%d" % i, partition=i % partitions)
    assert producer.flush(60) == 0


async def read(one: KafkaSource, count: int) -> list[bytes]:
    found: list[bytes] = []
    deadline = time.monotonic() + 60
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} came"
        found += [seed.data for seed in await one.read(min(50, count - len(found)))]
    return found


async def test_another_worker_reads_on_where_one_was(kafka: KafkaBroker) -> None:
    topic = kafka.topic(3)
    url = f"kafka://{kafka.bootstrap}"
    first, second = source(topic, url), source(topic, url)
    produce(kafka, topic, range(300), 3)
    await first.begin(None, 1)
    got = await read(first, 120)
    assert sum(json.loads(first.position).values()) == 120
    produce(kafka, topic, range(300, 330), 3)
    await second.begin(first.position, 2)
    got += await read(second, 210)
    assert sorted(got) == sorted(b"http://a.test/%d" % i for i in range(330)), "each once"
    assert await second.read(50) == []
    await second.begin(b"damaged", 1)
    assert len(await read(second, 330)) == 330
    # A position behind the end is one in a topic that was deleted.
    await second.begin(b'{"0": 5000, "1": 110, "2": 110}', 1)
    assert len(await read(second, 110)) == 110
    await first.close()
    await second.close()


async def test_what_is_wrong_is_told(kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = source("nowhere", f"kafka://{kafka.bootstrap}")
    with pytest.raises(ConfigurationError, match="MOCRA_SEEDS: there is no topic 'nowhere'"):
        await missing.read(1)
    await missing.close()
    monkeypatch.setattr("mocra_scrapy.backends.kafka.seed_topic.PATIENCE", 1.0)
    away = source("t", f"kafka://127.0.0.1:{free_port()}")
    with pytest.raises(BackendUnavailable, match="no broker of kafka://"):
        await away.read(1)
    await away.close()


def test_an_address_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="no broker is named"):
        KafkaSource(Source("kafka", "t"), SeedOptions((), None, None, {}, 5.0, 0.5))
    with pytest.raises(ConfigurationError, match="no URL of Kafka"):
        source("t", "redis://localhost")
