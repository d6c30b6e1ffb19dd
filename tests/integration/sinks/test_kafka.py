"""``KafkaPipeline`` on a real broker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mocra_scrapy.backends.kafka import producer
from mocra_scrapy.exceptions import ConfigurationError, ItemRefused, SinkUnavailable
from mocra_scrapy.pipelines.kafka import KafkaPipeline
from tests.integration.sinks.storing import Told, batcher, books, ids, opened, sink_of, stored
from tests.services.kafka_broker import KafkaBroker
from tests.services.processes import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.other_server, pytest.mark.timeout(1200)]


def settings(kafka: KafkaBroker, topic: str, **more: Any) -> dict[str, Any]:
    return {"KAFKA_ITEMS_URL": f"kafka://{kafka.bootstrap}", "KAFKA_ITEMS_TOPIC": topic, **more}


def login(kafka: KafkaBroker, topic: str, user: str, password: str) -> dict[str, Any]:
    options = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    options |= {"sasl.username": user, "sasl.password": password}
    return {"KAFKA_ITEMS_URL": f"kafka://{kafka.secure}", "KAFKA_ITEMS_TOPIC": topic, "KAFKA_OPTIONS": options}


async def test_messages_have_the_item_its_key_and_its_headers(kafka: KafkaBroker) -> None:
    topic = kafka.topic(2)
    where = settings(kafka, topic, KAFKA_ITEMS_KEY=["id"], KAFKA_ITEMS_HEADERS=["title", "nothing"])
    async with opened(KafkaPipeline, **where) as sink:
        await sink.write(books(500))
    found = {json.loads(message.value())["id"]: message for message in kafka.messages(topic)}
    assert len(found) == 500
    assert json.loads(found[7].value()) == {"id": 7, "title": "book 7"}
    assert found[7].key() == b"7"
    wanted = {"title": b"book 7", "mocra-page": b"ab", "mocra-item": b"8", "mocra-delivery": b"1"}
    assert dict(found[7].headers()) == wanted
    assert {message.partition() for message in found.values()} == {0, 1}


async def test_an_item_without_its_key_is_refused_alone(kafka: KafkaBroker) -> None:
    topic = kafka.topic()
    async with opened(KafkaPipeline, **settings(kafka, topic, KAFKA_ITEMS_KEY="url,id")) as sink:
        with pytest.raises(ItemRefused, match="'url' of MOCRA_KAFKA_ITEMS_KEY") as refused:
            await sink.write([stored({"url": "u", "id": 1}), stored({"id": 2})])
        assert set(refused.value.which or ()) == {1}
        await sink.write([stored({"url": "u", "id": 1})])
    assert [message.key() for message in kafka.messages(topic)] == [b'["u",1]']


async def test_a_compacted_topic_takes_no_item_without_a_key(kafka: KafkaBroker) -> None:
    topic = kafka.topic(cleanup_policy="compact")
    async with opened(KafkaPipeline, **settings(kafka, topic)) as sink:
        with pytest.raises(
            ItemRefused, match=r"failed to validate record\. It has no key: a compacted topic"
        ) as refused:
            await sink.write(books(3))
        assert set(refused.value.which or ()) == {0, 1, 2}
    async with opened(KafkaPipeline, **settings(kafka, topic, KAFKA_ITEMS_KEY=["id"])) as sink:
        await sink.write(books(3))


async def test_of_a_batch_only_what_is_too_large_is_refused_and_nothing_is_sent_twice(kafka: KafkaBroker) -> None:
    """The broker takes 4,000 bytes at once: less than what the client puts together."""
    topic, told = kafka.topic(max_message_bytes="4000"), Told()
    batch = books(300)
    batch[77] = stored({"id": 77, "title": "x" * 5000})
    batch[200] = stored({"id": 200, "title": "x" * 2_000_000})  # the client itself takes no more than a million
    async with opened(KafkaPipeline, **settings(kafka, topic)) as sink:
        storing = batcher(sink, told)
        results = await asyncio.gather(*map(storing.store, batch), return_exceptions=True)
    failed = [at for at, result in enumerate(results) if result is not None]
    assert failed == [77, 200]
    assert "raise max.message.bytes of the topic" in str(results[77])
    assert sorted(ids([message.value() for message in kafka.messages(topic)])) == sorted({*range(300)} - {77, 200})


async def test_a_missing_topic_is_found_out_at_the_start_and_not_created(kafka: KafkaBroker) -> None:
    with pytest.raises(ConfigurationError, match=r"MOCRA_KAFKA_ITEMS_TOPIC: there is no topic 'nowhere'. Create it"):
        await sink_of(KafkaPipeline, **settings(kafka, "nowhere")).open()
    assert "nowhere" not in kafka.admin().list_topics(timeout=60).topics


async def test_a_wrong_password_is_said_at_the_start(kafka: KafkaBroker) -> None:
    with pytest.raises(ConfigurationError, match=r"Invalid username or password. Check .*sasl.password") as refused:
        await sink_of(KafkaPipeline, **login(kafka, kafka.topic(), "alice", "hush-hush")).open()
    assert "hush-hush" not in str(refused.value)


async def test_a_user_without_the_right_is_told_at_the_start(kafka: KafkaBroker) -> None:
    from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, ResourcePatternType, ResourceType

    topic, admin = kafka.topic(), kafka.admin()
    anybody = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL)
    rights = [
        AclBinding(*anybody, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for user, operation in (("alice", AclOperation.READ), ("bob", AclOperation.WRITE))
    ]
    for done in admin.create_acls(rights).values():
        done.result(60)

    async def write_as(user: str) -> None:
        async with opened(KafkaPipeline, **login(kafka, topic, user, kafka.PASSWORD)) as sink:
            await sink.write(books(1))

    told = ""
    while not told:  # the broker hears of new rights a moment later
        try:
            await write_as("alice")
        except ConfigurationError as error:
            told = str(error)
    assert f"this user may not write to topic '{topic}'. Grant it WRITE" in told
    before = len(kafka.messages(topic))
    await write_as("bob")
    assert len(kafka.messages(topic)) == before + 1


async def test_a_topic_that_is_deleted_under_a_crawl_is_told_and_may_come_back(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from confluent_kafka.admin import NewTopic

    monkeypatch.setattr(producer, "QUIET", 0.2)
    topic, admin, again, reason = kafka.topic(), kafka.admin(), books(1), ""
    async with opened(KafkaPipeline, **settings(kafka, topic)) as sink:
        await sink.write(books(1))
        admin.delete_topics([topic])[topic].result(60)
        while "there is no topic" not in reason:  # the broker takes messages until it hears of it
            try:
                await sink.write(again)
            except (ConfigurationError, SinkUnavailable) as error:
                reason = str(error)
        admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(60)
        while reason:
            try:
                await sink.write(again)
                reason = ""
            except (ConfigurationError, SinkUnavailable):
                continue
    assert len(kafka.messages(topic)) == 1


async def test_a_broker_that_is_not_there_is_named_with_the_reason() -> None:
    where = f"127.0.0.1:{free_port()}"
    sink = sink_of(KafkaPipeline, KAFKA_ITEMS_URL=f"kafka://{where}", KAFKA_ITEMS_TOPIC="items")
    with pytest.raises(SinkUnavailable, match=f"no broker of kafka://{where} answers: Connect to .* refused"):
        await sink.open()
    await sink.close()


async def test_a_listener_that_wants_a_password_is_not_just_silent(kafka: KafkaBroker) -> None:
    sink = sink_of(KafkaPipeline, KAFKA_ITEMS_URL=f"kafka://{kafka.secure}", KAFKA_ITEMS_TOPIC="items")
    with pytest.raises(SinkUnavailable, match=r"Maybe it wants another security.protocol in MOCRA_KAFKA_OPTIONS"):
        await sink.open()
    await sink.close()


async def test_a_broker_that_is_stopped_in_mid_batch_and_comes_back_has_every_item(kafka_alone: KafkaBroker) -> None:
    topic, told = kafka_alone.topic(3), Told()
    loop = asyncio.get_running_loop()
    async with opened(KafkaPipeline, **settings(kafka_alone, topic)) as sink:
        storing = batcher(sink, told, items=50, timeout=2.0)
        all_books = books(2000)
        first = [asyncio.ensure_future(storing.store(book)) for book in all_books[:1000]]
        await first[200]
        await loop.run_in_executor(None, kafka_alone.stop)
        rest = [asyncio.ensure_future(storing.store(book)) for book in all_books[1000:]]
        while not told.outages:
            await asyncio.sleep(0.01)
        await loop.run_in_executor(None, kafka_alone.start)
        await asyncio.gather(*first, *rest)
    found = ids([message.value() for message in kafka_alone.messages(topic)])
    assert sorted(found) == list(range(2000)), "nothing is lost, and nothing doubled: the producer lives"
    assert "kafka://" in told.outages[0]
