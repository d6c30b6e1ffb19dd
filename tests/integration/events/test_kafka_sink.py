"""Events on a real Kafka."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mocra_scrapy.events.envelope import Record, Source
from mocra_scrapy.events.records import BreakerClosed
from mocra_scrapy.events.sink import Refused
from mocra_scrapy.events.sinks.kafka import KafkaSink
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.settings.events import SinkOptions
from tests.services.kafka_broker import KafkaBroker
from tests.services.processes import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.other_server]


def sink(topic: str, bootstrap: str, options: dict[str, Any] | None = None, **more: Any) -> KafkaSink:
    return KafkaSink(SinkOptions("kafka", "kafka", url=f"kafka://{bootstrap}", topic=topic, **more), options or {})


def records(count: int, first: int = 1, crawl: str = "shop:books") -> list[Record]:
    source = Source("w", "shop", crawl, "books")
    return [Record(BreakerClosed(f"slot {n}"), source, n, 0.0) for n in range(first, first + count)]


async def test_records_of_a_crawl_are_in_order(kafka: KafkaBroker) -> None:
    topic = kafka.topic(3)
    to = sink(topic, kafka.bootstrap)
    for first in (1, 101, 201):
        await to.send(records(100, first))
    await to.send(records(5, crawl="shop:toys"))
    await to.close()
    await to.close()
    found = [message for message in kafka.messages(topic) if message.key() == b"shop:books"]
    assert len({message.partition() for message in found}) == 1
    told = [json.loads(message.value()) for message in found]
    assert [record["number"] for record in told] == list(range(1, 301))
    assert dict(found[0].headers()) == {"event": b"breaker.closed", "id": b"w:1"}
    assert told[0]["data"] == {"slot": "slot 1"}


async def test_what_is_wrong_is_told(kafka: KafkaBroker) -> None:
    with pytest.raises(Refused, match=r"MOCRA_EVENTS\['kafka'\]\['topic'\]: there is no topic 'nowhere'"):
        await sink("nowhere", kafka.bootstrap).send(records(1))
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "alice"}
    with pytest.raises(Refused, match="MOCRA_KAFKA_OPTIONS"):
        await sink(kafka.topic(), kafka.secure, {**login, "sasl.password": "wrong"}).send(records(1))
    with pytest.raises(ConfigurationError, match=r"MOCRA_EVENTS\['kafka'\]\['url'\]"):
        KafkaSink(SinkOptions("kafka", "kafka", url="redis://h", topic="t"), {})


async def test_a_broker_that_is_away_is_worth_another_attempt() -> None:
    with pytest.raises(BackendUnavailable):
        await sink("topic", f"127.0.0.1:{free_port()}").send(records(1))
