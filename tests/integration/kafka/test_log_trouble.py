"""What is wrong with a log is told, and nothing is silently done; what goes away comes back."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
)

from mocra_scrapy.backends.kafka import log_reader
from mocra_scrapy.backends.kafka.admin import Admin
from mocra_scrapy.backends.kafka.log_names import Log, LogPartition
from mocra_scrapy.backends.kafka.log_values import (
    Commit,
    Gap,
    Grown,
    Lost,
    Outgoing,
    Recovered,
    Start,
    Trouble,
    Truncated,
)
from mocra_scrapy.backends.kafka.log_writer import LogWriter
from mocra_scrapy.backends.kafka.metadata import encode
from mocra_scrapy.backends.kafka.offset_lookup import OffsetLookup
from mocra_scrapy.backends.kafka.offsets import Runs
from mocra_scrapy.backends.kafka.topics import create_log, look_at_log
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.models import Entry
from tests.integration.kafka.stage import LIMIT, count_of, fill, log_on, opened, reading, together, writing
from tests.services.kafka_broker import KafkaBroker
from tests.services.processes import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.other_server]
PLACE = LogPartition("normal", 0)


def commit_by_hand(kafka: KafkaBroker, log: Log, offset: int, text: str) -> None:
    place = TopicPartition(log.names.topic("normal"), 0, offset, text)
    admin = kafka.admin()  # what it was asked for ends with it

    def trouble() -> Any:
        answer = admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(log.names.group, [place])])
        (done,) = answer.values()
        return done.result(60).topic_partitions[0].error

    deadline = time.monotonic() + LIMIT
    while (error := trouble()) is not None:  # a broker that has just started coordinates nothing yet
        assert error.code() in (
            KafkaError.NOT_COORDINATOR,
            KafkaError.COORDINATOR_NOT_AVAILABLE,
            KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        )
        assert time.monotonic() < deadline


async def test_metadata_that_anybody_wrote_mark_nothing_as_done(kafka: KafkaBroker) -> None:
    log = log_on(kafka.bootstrap, partitions=1)
    topic = log.names.topic("normal")
    async with writing(log) as writer:
        await fill(writer, 20)
    lookup = OffsetLookup(log)
    beyond = encode(topic, 0, 5, Runs([(7, 10), (15, 10**15)])).text
    for offset, text, finished, problem in (
        (5, encode(topic, 0, 5, Runs([(7, 10)])).text, Runs([(7, 10)]), ""),
        (5, beyond, Runs([(7, 10), (15, 20)]), "offsets of it are beyond the end of the log, 20"),
        (6, beyond, Runs(), "its checksum is wrong"),
        (5, "{}", Runs(), "it is of version '{', or not ours"),
        (5, "1" + "A" * 4000, Runs(), "its checksum is wrong"),
        (5, "", Runs(), ""),
        (500, "", Runs(), "offset 500 is beyond the end of the log, 20"),
    ):
        commit_by_hand(kafka, log, offset, text)
        mark = (await lookup.marks([PLACE]))[PLACE]
        assert (mark.committed, mark.finished) == (offset, finished)
        assert problem in mark.problem
        assert bool(mark.problem) == bool(problem)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_what_was_deleted_unread_is_told(kafka: KafkaBroker, protocol: str) -> None:
    """By retention, or by hand: before a worker begins, and while it reads. The partition can be read, and
    given to others, as before.
    """
    log = log_on(kafka.bootstrap, {"fetch.message.max.bytes": 1000}, partitions=1, ahead=5, protocol=protocol)
    async with writing(log) as writer:
        for first in range(0, 100, 10):
            await fill(writer, 10, first)
        assert await OffsetLookup(log).trim({PLACE: 10}) == {}
        async with reading(log, {PLACE: 4}) as member:
            await member.until_it_owns(6)
            assert member.gaps == {PLACE: Gap("deleted", 4, 10, 100)}
            member.positions[PLACE] = 10  # as the state is told by whoever decides
            member.takes = False
            await member.until(lambda: PLACE in member.reader._ahead.full())
            # What it has read ahead is still good; where it would go on nothing is left.
            assert await member.reader.lookup.trim({PLACE: 90}) == {}
            member.takes = True
            await member.until(lambda: member.all_of(Truncated) or len(member.records) == 90)
            told = [news.gap for news in member.all_of(Truncated)]
            assert len(member.records) < 90, "this test's own assumption: the client has not fetched all of it"
            position = member.positions[PLACE]
            assert told == [Gap("deleted", position, 90, 100)]
            assert await member.reader.begin({PLACE: Start(90)}) == {}
            member.positions[PLACE] = 90
            await member.until(lambda: member.positions[PLACE] == 100)
            assert member.numbers[-10:] == list(range(90, 100))
            async with reading(log, member.positions) as other:
                await together(member, other, condition=lambda: len(other.reader.owned) == 3)
                assert len(member.reader.owned) == 3
                await fill(writer, 10, 100)
                await together(member, other, condition=lambda: member.positions[PLACE] == 110)
            await member.until_it_owns(6)


async def test_a_log_that_ends_before_the_position_is_not_begun(kafka: KafkaBroker) -> None:
    """Somebody deleted the topic and made it anew."""
    log = log_on(kafka.bootstrap, partitions=1)
    async with writing(log) as writer:
        await fill(writer, 10)
        async with reading(log, {PLACE: 500}) as member:
            await member.until_it_owns(6)
            assert member.gaps == {PLACE: Gap("beyond", 500, 0, 10)}
            assert await member.reader.begin({PLACE: Start(3), LogPartition("low", 9): Start(0)}) == {
                LogPartition("low", 9): Gap("not ours", 0)
            }
            member.positions[PLACE] = 3
            assert await member.until_it_has(7) == list(range(3, 10))


async def test_messages_of_others_are_given_as_what_they_are(kafka: KafkaBroker) -> None:
    log = log_on(kafka.bootstrap, partitions=1)
    async with writing(log) as writer, reading(log) as member:
        await fill(writer, 2)
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        producer.produce(log.names.topic("normal"), b"hello", key=b"k", partition=0)
        assert producer.flush(60) == 0
        await fill(writer, 2, 2)
        assert await member.until_it_has(4) == [0, 1, 2, 3]
        assert [(one.offset, one.value, one.slot) for one in member.unreadable] == [(2, b"hello", "k")]


async def test_more_partitions_are_told_and_read(kafka: KafkaBroker, monkeypatch: Any) -> None:
    monkeypatch.setattr(log_reader, "WATCH", 0.2)
    log = log_on(kafka.bootstrap, {"topic.metadata.refresh.interval.ms": 300}, partitions=1)
    topic = log.names.topic("normal")
    async with reading(log) as member:
        await member.until_it_owns(6)
        admin = kafka.admin()
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(60)
        await member.until_it_owns(8)
        await member.until(lambda: member.all_of(Grown))
        assert member.all_of(Grown) == [Grown("normal", 1, 3)]
        async with writing(log) as writer:
            written = await fill(writer, 30)
            assert len({one.partition for one in written}) > 1
            await member.until_it_has(30)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_a_partition_that_stands_still_is_read_anew(
    kafka: KafkaBroker, protocol: str, monkeypatch: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As by a client that has lost its place, which says nothing of it."""
    monkeypatch.setattr(log_reader, "WATCH", 0.3)
    log = log_on(kafka.bootstrap, partitions=1, protocol=protocol)
    place = LogPartition("normal", 0)
    async with writing(log) as writer, reading(log) as member:
        await fill(writer, 5)
        await member.until_it_has(5)
        thread = member.reader._opened()
        asked = threading.Event()

        def lose_it(consumer: Any, _: object) -> None:
            consumer.pause([thread._place(place)])
            asked.set()

        thread._todo.put(lose_it)
        await asyncio.to_thread(asked.wait, LIMIT)
        await fill(writer, 5, 5)
        assert await member.until_it_has(10) == list(range(10)), "each once"
        await fill(writer, 5, 10)
        assert await member.until_it_has(15) == list(range(15))
    # A busy machine may stand still for longer than that, too.
    assert (place, 5) in [record.args for record in caplog.records if "read anew" in record.msg]


async def test_what_is_not_there_is_passed_over_and_told(kafka: KafkaBroker, caplog: pytest.LogCaptureFixture) -> None:
    """The end of a transaction has an offset, and no message. Before that is believed it is looked for, also by a
    client that begins anew.
    """
    log = log_on(kafka.bootstrap, partitions=1)
    place = LogPartition("normal", 0)
    async with writing(log) as writer:
        await fill(writer, 5)
        other = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": log.names.group})
        await asyncio.to_thread(other.init_transactions)
        other.begin_transaction()
        other.produce(log.names.topic("normal"), b"no request", partition=0)
        await asyncio.to_thread(other.commit_transaction)
        lookup, deadline = OffsetLookup(log), time.monotonic() + LIMIT
        while (await lookup.bounds([place]))[place] != (0, 7):  # the end is written behind the answer
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await fill(writer, 5, 5)
        async with reading(log) as member:
            assert await member.until_it_has(10) == list(range(10))
            assert [one.offset for one in member.unreadable] == [5]
            await fill(writer, 5, 10)
            assert await member.until_it_has(15) == list(range(15))
    told = [record.args for record in caplog.records if "passed over" in record.msg]
    assert told == [(6, 6, place)]


def test_topics_are_created_as_asked_for_or_not_at_all(kafka: KafkaBroker) -> None:
    log = log_on(kafka.bootstrap, partitions=3, retention=86_400.0)
    admin = Admin(log.address)
    assert look_at_log(admin, log) == {}
    names = sorted(log.names.topics().values())
    assert sorted(create_log(admin, log, dry_run=True)) == names
    assert look_at_log(admin, log) == {}
    assert sorted(create_log(admin, log)) == names
    deadline = time.monotonic() + LIMIT
    while len(found := look_at_log(admin, log)) < 6:
        assert time.monotonic() < deadline
    assert create_log(admin, log) == []
    facts = found["wait-60"]
    assert (facts.partitions, facts.replication, facts.number("retention.ms")) == (3, 1, 86_400_000)
    assert (facts.may_read, facts.may_write) == (True, True)
    too_many = log_on(kafka.bootstrap, replication=3, min_insync=2)
    with pytest.raises(ConfigurationError, match=r"MOCRA_KAFKA_REPLICATION: topic .* can't have 3 copies"):
        create_log(admin, too_many)
    assert look_at_log(admin, too_many) == {}


async def test_without_topics_or_rights_it_says_what_to_do(kafka: KafkaBroker) -> None:
    log = log_on(kafka.bootstrap, create=False)
    with pytest.raises(ConfigurationError, match=r"there is no topic .*\.high' \(6 are missing\).*create-topics"):
        await LogWriter(log).open()
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "bob"}
    with pytest.raises(ConfigurationError, match=r"MOCRA_KAFKA_OPTIONS: .*[Aa]uthentication"):
        await LogWriter(log_on(kafka.secure, {**login, "sasl.password": "wrong"})).open()
    login["sasl.password"] = kafka.PASSWORD
    theirs = log_on(kafka.secure, login, partitions=1)
    await opened(writer := LogWriter(theirs))
    await writer.close()
    forbid = [
        AclBinding(
            ResourceType.TOPIC,
            theirs.names.group,
            ResourcePatternType.PREFIXED,
            "User:bob",
            "*",
            AclOperation.WRITE,
            AclPermissionType.DENY,
        )
    ]
    admin = kafka.admin()
    for done in admin.create_acls(forbid).values():
        done.result(60)
    deadline, told = time.monotonic() + LIMIT, ""
    while not told:
        assert time.monotonic() < deadline
        try:
            await (again := LogWriter(theirs)).open()
            await again.close()
        except ConfigurationError as error:
            told = str(error)
    assert "this user may not write to topic" in told


async def test_nobody_there_is_worth_another_attempt() -> None:
    with pytest.raises(BackendUnavailable):
        await LogWriter(log_on(f"127.0.0.1:{free_port()}")).open()


async def test_a_broker_that_was_away_loses_and_doubles_nothing(kafka_alone: KafkaBroker, monkeypatch: Any) -> None:
    monkeypatch.setattr("mocra_scrapy.backends.kafka.log_writer.QUIET", 0.5)
    log = log_on(kafka_alone.bootstrap, partitions=1)
    async with writing(log) as writer, reading(log) as member:
        await fill(writer, 10)
        await member.until_it_has(10)
        kafka_alone.kill()
        some = [Outgoing(n, Entry(b"%d" % n, "s")) for n in range(10, 110)]
        with pytest.raises(BackendUnavailable):
            await writer.write(some)
        await member.until(lambda: member.all_of(Trouble))
        with pytest.raises(BackendUnavailable):
            await member.reader.begin({PLACE: Start(0)})
        await asyncio.to_thread(kafka_alone.start)
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                await writer.write(some)
                break
            except BackendUnavailable:
                assert time.monotonic() < deadline
        assert await member.until_it_has(110) == list(range(110))
        await member.until(lambda: member.all_of(Recovered))
        assert len(kafka_alone.messages(log.names.topic("normal"))) == 110
        assert await member.reader.commit({}) == {}


async def test_a_member_that_stood_still_loses_its_partitions_and_comes_back(kafka: KafkaBroker) -> None:
    """Its own client says so (max.poll.interval.ms), and may keep to itself that partitions are lost."""
    log = log_on(kafka.bootstrap, {"max.poll.interval.ms": 1000}, partitions=1, session_timeout=1)
    positions: dict[LogPartition, int] = {}
    async with writing(log) as writer, reading(log, positions) as member:
        await fill(writer, 10)
        await member.until_it_has(10)
        member.reader._thread._todo.put(lambda *_: time.sleep(3))  # type: ignore[union-attr]
        await member.until(lambda: len(member.lost) == count_of(log), "lost")
        assert member.reader.owned == frozenset() or member.all_of(Lost)
        await member.until_it_owns(count_of(log))
        await fill(writer, 10, 10)
        assert await member.until_it_has(20) == list(range(20))


async def test_an_answer_of_the_group_that_came_too_late_makes_a_member_join_anew(kafka_alone: KafkaBroker) -> None:
    """librdkafka does not ask again what it is to have, or to give up: partitions would be read by nobody."""
    log = log_on(kafka_alone.bootstrap, protocol="consumer")
    async with writing(log) as writer, reading(log) as member:
        await fill(writer, 10)
        await member.until_it_has(10)
        thread = member.reader._thread
        assert kafka_alone.pid is not None
        assert thread is not None
        os.kill(kafka_alone.pid, signal.SIGSTOP)
        try:
            await member.until(lambda: thread._ears.unheard, "a heartbeat without an answer")
            assert not member.lost, "it would not be heard when it says that it leaves"
        finally:
            os.kill(kafka_alone.pid, signal.SIGCONT)
        await member.until(lambda: "too late" in str(member.all_of(Trouble)) and member.all_of(Recovered))
        assert len(member.lost) == count_of(log)
        await member.until_it_owns(count_of(log))
        await fill(writer, 10, 10)
        assert await member.until_it_has(20) == list(range(20))


async def test_over_tls_with_the_rights_that_the_guide_grants(kafka: KafkaBroker) -> None:
    """SCRAM, and ACLs for the crawl's topics and group; another user may do nothing there."""
    plain = log_on(kafka.bootstrap, partitions=1)
    await asyncio.to_thread(create_log, Admin(plain.address), plain)
    granted = [
        (ResourceType.TOPIC, operation)
        for operation in (AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.DESCRIBE_CONFIGS)
    ]
    granted += [(ResourceType.GROUP, AclOperation.READ), (ResourceType.GROUP, AclOperation.DESCRIBE)]
    rules = [
        AclBinding(
            kind,
            plain.names.group,
            ResourcePatternType.PREFIXED,
            "User:alice",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for kind, operation in granted
    ]
    admin = kafka.admin()
    for done in admin.create_acls(rules).values():
        done.result(60)
    log = log_on(kafka.tls, kafka.login("alice"), crawl=plain.names.crawl, partitions=1, create=False)
    deadline = time.monotonic() + LIMIT
    while True:  # rights are known a moment later
        try:
            await (writer := LogWriter(log)).open()
            break
        except ConfigurationError:
            assert time.monotonic() < deadline
    await writer.close()
    async with writing(log) as writer, reading(log) as member:
        await fill(writer, 10)
        assert await member.until_it_has(10) == list(range(10))
        assert await member.reader.commit({PLACE: Commit(10)}) == {}
    theirs = log_on(kafka.tls, kafka.login("bob"), crawl=plain.names.crawl, partitions=1, create=False)
    with pytest.raises(ConfigurationError, match=r"this user may not|there is no topic"):
        await LogWriter(theirs).open()
    with pytest.raises(ConfigurationError, match=r"MOCRA_KAFKA_OPTIONS: .*[Aa]uthentication"):
        await LogWriter(log_on(kafka.tls, kafka.login("alice", "wrong"))).open()
    no_ca = {name: value for name, value in kafka.login("alice").items() if name != "ssl.ca.location"}
    with pytest.raises(ConfigurationError, match=r"MOCRA_KAFKA_OPTIONS: .*certificate"):
        await LogWriter(log_on(kafka.tls, no_ca)).open()
