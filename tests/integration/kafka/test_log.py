"""Requests into a log, and out of it, on a real broker; with both protocols of groups."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import Counter
from typing import Any

import pytest

from mocra_scrapy.backends.kafka.client import Ears
from mocra_scrapy.backends.kafka.leaving import Departure
from mocra_scrapy.backends.kafka.log_names import Log, LogPartition
from mocra_scrapy.backends.kafka.log_values import Assigned, Commit, Lost, Outgoing, Refused, Revoked, Start, Written
from mocra_scrapy.backends.kafka.offsets import Runs
from mocra_scrapy.backends.kafka.reading_client import make_reader
from mocra_scrapy.models import Entry
from tests.integration.kafka.many_writes import write_and_read
from tests.integration.kafka.stage import LIMIT, Member, count_of, fill, log_on, reading, together, writing
from tests.services.kafka_broker import KafkaBroker

pytestmark = [pytest.mark.kafka, pytest.mark.other_server]
protocols = pytest.mark.parametrize("protocol", ["classic", "consumer"])


@protocols
async def test_what_is_written_is_read_once_whoever_comes_and_goes(kafka: KafkaBroker, protocol: str) -> None:
    log = log_on(kafka.bootstrap, protocol=protocol)
    positions: dict[LogPartition, int] = {}
    async with writing(log) as writer, reading(log, positions) as first:
        await fill(writer, 300, priority=1)
        await fill(writer, 300, 300)
        await first.until_it_has(600)
        async with reading(log, positions) as second:
            half = count_of(log) // 2
            await together(first, second, condition=lambda: len(first.reader.owned) == len(second.reader.owned) == half)
            assert not first.reader.owned & second.reader.owned
            assert len(first.all_of(Revoked)) >= 1
            assert first.lost == set(), "it gave them in good order"
            await fill(writer, 300, 600, priority=-1)
            await together(first, second, condition=lambda: len(first.records) + len(second.records) == 900)
            # What was revoked is committed, and told to who has it now.
            told = {partition: mark.committed for partition, mark in second.marks.items()}
            assert {one: told[one] for one in told if one.tier != "low" and told[one]} == {
                one: positions[one] for one in told if one.tier != "low" and positions.get(one)
            }
        await fill(writer, 100, 900)
        await first.until_it_owns(count_of(log))
        await first.until(lambda: len(first.records) + len(second.records) == 1000)
    assert sorted(first.numbers + second.numbers) == list(range(1000))


@protocols
async def test_what_is_written_while_it_is_read_is_all_read(kafka: KafkaBroker, protocol: str) -> None:
    """The reader meets the end of each partition again and again. Long: ``make soak SOAK=kafka-writes``."""
    found = await write_and_read(kafka.bootstrap, protocol, 1, writes=150, seconds=LIMIT)
    assert found["each_once"], found


async def test_a_position_and_what_is_finished_ahead_of_it(kafka: KafkaBroker) -> None:
    log = log_on(kafka.bootstrap, partitions=1)
    place = LogPartition("normal", 0)
    async with writing(log) as writer:
        written = await fill(writer, 50)
        assert written == [Written(place, offset) for offset in range(50)]
    async with reading(log, {place: 10}) as member:
        assert await member.until_it_has(40) == list(range(10, 50))
        finished = Runs([(22, 30), (35, 36)])
        assert await member.reader.commit({place: Commit(20, finished), LogPartition("low", 7): Commit(1)}) == {
            LogPartition("low", 7): "another worker reads it"
        }
        # It may be told to begin somewhere else at any time.
        member.records.clear()
        member.positions[place] = 20
        assert await member.reader.begin({place: Start(20, finished)}) == {}
        await member.until_it_has(21)
        assert member.numbers == [n for n in range(20, 50) if n not in finished]
        assert member.positions[place] == 50
    async with reading(log, member.positions) as other:
        await other.until_it_owns(6)
        assert other.marks[place] == (0, 50, 20, finished, "")
        assert other.marks[LogPartition("high", 0)] == (0, 0, None, Runs(), "")


async def test_a_token_is_written_once_however_often(kafka: KafkaBroker) -> None:
    log = log_on(kafka.bootstrap, partitions=1)
    some = [Outgoing(n, Entry(b"%d" % n, "s")) for n in range(200)]
    async with writing(log) as writer:
        call = asyncio.ensure_future(writer.write(some))
        await asyncio.sleep(0)  # it is under way
        call.cancel()
        first, second = await asyncio.gather(writer.write(some), writer.write(some[:50]))
        assert second == first[:50]
        assert writer.remembered == 200
        writer.forget(range(200))
        assert writer.remembered == 0
        assert len(kafka.messages(log.names.topic("normal"))) == 200
        await writer.write(some[:1])
        assert len(kafka.messages(log.names.topic("normal"))) == 201, "it was forgotten"


@pytest.mark.parametrize("told", [True, False], ids=["known", "hidden"])
async def test_what_is_too_large_is_refused_alone(kafka: KafkaBroker, monkeypatch: Any, told: bool) -> None:
    """Also where the size is not known before (no right to look, or somebody changes it), and a broker
    refuses a batch as a whole.
    """
    log = log_on(kafka.bootstrap, None if told else {"message.max.bytes": 10**6}, partitions=1, message_bytes=20_000)
    async with writing(log) as writer:
        await fill(writer, 1)
        for facts in writer._topics.values() if not told else ():
            monkeypatch.delitem(facts.config, "max.message.bytes")  # type: ignore[arg-type]
        sizes = [100, 30_000, 9000, 9000, 19_000, 25_000, 100]
        answers = await writer.write([Outgoing(("x", n), Entry(b"x" * size, "s")) for n, size in enumerate(sizes)])
    assert [isinstance(answer, Refused) for answer in answers] == [size > 20_000 for size in sizes]
    refused = answers[1]
    assert isinstance(refused, Refused)
    assert "its 30000 bytes are too large for a message: raise max.message.bytes" in refused.reason
    stored = Counter(len(message.value()) for message in kafka.messages(log.names.topic("normal")))
    assert stored == {1: 1, 100: 2, 9000: 2, 19_000: 1}


async def test_a_delayed_request_waits_in_its_tier(kafka: KafkaBroker) -> None:
    """The clock is the reader's."""
    log = log_on(kafka.bootstrap, partitions=1)
    ahead = 0.0

    def clock() -> float:
        import time

        return time.time() + ahead

    async with writing(log) as writer, reading(log, clock=clock) as member:
        written = await writer.write(
            [
                Outgoing(1, Entry(b"1", "s", delay=90)),
                Outgoing(2, Entry(b"2", "s", delay=700)),
                Outgoing(3, Entry(b"3")),
            ]
        )
        assert [one.partition.tier for one in written if isinstance(one, Written)] == ["wait-60", "wait-600", "normal"]
        await member.until(lambda: member.numbers == [3])
        await member.until(lambda: member.reader._ahead.next_due(clock()) is not None)
        due = member.reader.next_due()
        assert due is not None
        assert 0 < due <= 60
        ahead = 61
        await member.until(lambda: member.numbers == [1, 3])
        (record,) = [record for record in member.records if record.entry.body == b"1"]
        assert 20 < record.entry.delay < 30, "what is left"
        ahead = 601
        await member.until(lambda: member.numbers == [1, 2, 3])


async def test_closing_gives_the_partitions_free_at_once(kafka: KafkaBroker) -> None:
    log = log_on(kafka.bootstrap, session_timeout=60)
    place = LogPartition("normal", 0)
    positions: dict[LogPartition, int] = {}
    async with reading(log, positions) as first:
        await first.until_it_owns(count_of(log))
        assert await first.reader.close({place: Commit(0)})
        assert await first.reader.close(), "twice"
        async with reading(log, positions) as second:
            await second.until_it_owns(count_of(log))
            assert second.all_of(Assigned)
            assert not second.all_of(Lost)
            assert second.marks[place].committed == 0


async def members_of(admin: Any, log: Log) -> tuple[str, int]:
    """The state of the group of *log*, and how many members it has. A broker that has never had a group finds none."""
    from confluent_kafka import KafkaException

    asked = admin.describe_consumer_groups([log.names.group], request_timeout=30)[log.names.group]
    try:
        found = await asyncio.to_thread(asked.result, 60)
    except KafkaException as error:
        return error.args[0].name(), 0
    return found.state.name, len(found.members)


@protocols
async def test_who_goes_and_owns_nothing_leaves_all_the_same(kafka: KafkaBroker, protocol: str) -> None:
    """With sessions that outlast this test: whoever left without a word would be a member to its end."""
    more = {"session_timeout": 300} if protocol == "classic" else {}
    log, admin, looks = log_on(kafka.bootstrap, protocol=protocol, partitions=1, **more), kafka.admin(), True

    async def members() -> tuple[str, int]:
        return await members_of(admin, log)

    async def look_on(*some: Member) -> None:
        while looks:
            for member in some:
                await member.look()
            await asyncio.sleep(0.01)

    async with contextlib.AsyncExitStack() as others:
        some = [await others.enter_async_context(reading(log)) for _ in range(count_of(log))]
        deadline = time.monotonic() + LIMIT
        await together(*some, condition=lambda: all(len(member.reader.owned) == 1 for member in some))
        looking = asyncio.ensure_future(look_on(*some))
        for wanted in (("STABLE", len(some) + 1), ("PREPARING_REBALANCING", len(some) + 1)):
            async with reading(log) as guest:
                while protocol == "classic" and await members() != wanted:
                    assert time.monotonic() < deadline, await members()
                assert not guest.reader.owned
            while await members() != ("STABLE", len(some)):
                assert time.monotonic() < deadline, await members()
        looks = False
        await looking


async def test_who_goes_while_others_are_waited_for_leaves_all_the_same(
    kafka: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """librdkafka closes a client that waits for the end of a rebalance without a word. While a group waited for one
    that died, each that came and left was one more, and no rebalance ever ended.
    """
    log, admin = log_on(kafka.bootstrap, partitions=1, session_timeout=300), kafka.admin()
    deadline, going = time.monotonic() + LIMIT, threading.Event()
    leave = Departure.leave
    monkeypatch.setattr(Departure, "leave", lambda *given: (going.set(), leave(*given))[1])

    async def until(*wanted: tuple[str, int]) -> None:
        while (found := await members_of(admin, log)) not in wanted:
            assert time.monotonic() < deadline, found

    async with writing(log):  # which creates the topics
        # A member that takes no part in rebalances, because nobody polls it.
        still = make_reader(log, Ears(log.address), lambda *_: None)
    still.subscribe(list(log.names.topics().values()))
    try:
        await until(("STABLE", 1))
        async with reading(log) as guest:
            await until(("PREPARING_REBALANCING", 2))
            closing = asyncio.ensure_future(guest.reader.close(timeout=LIMIT))
            await asyncio.to_thread(going.wait, LIMIT)
            await asyncio.to_thread(still.poll, 0.0)  # it takes part
            while (found := await members_of(admin, log)) != ("STABLE", 1):
                assert time.monotonic() < deadline, found
                await asyncio.to_thread(still.poll, 0.1)
            assert await closing
    finally:
        await asyncio.to_thread(still.close)
