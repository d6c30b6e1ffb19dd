"""What can't be provoked with a broker: a producer that breaks down, and one whose queue is full."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mocra_scrapy.backends.kafka import log_writer, producer_thread
from mocra_scrapy.backends.kafka.address import KafkaAddress
from mocra_scrapy.backends.kafka.log_names import TIERS, Log, LogNames
from mocra_scrapy.backends.kafka.log_values import Outgoing, Refused, Written
from mocra_scrapy.backends.kafka.log_writer import LogWriter
from mocra_scrapy.backends.kafka.topics import TopicFacts
from mocra_scrapy.exceptions import BackendUnavailable, ConfigurationError
from mocra_scrapy.models import Entry
from mocra_scrapy.models.log import LogOptions

kafka = pytest.importorskip("confluent_kafka")
Report = Callable[[Any, Any], None]


class Message:
    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        return self._offset


class Producer:
    """Stores what it is given when it is polled.

    Attributes:
        breaks_after: messages that it still stores; then it breaks down, with the others.
        room: messages that it takes at a time.
        ready: set: what it is given; else it waits.
    """

    def __init__(self, stored: list[bytes], breaks_after: int | None = None, room: int = 10**6) -> None:
        self.stored, self.breaks_after, self.room = stored, breaks_after, room
        self.queue: list[tuple[bytes, Report]] = []
        self.fatal = False
        self.answers: Callable[[bytes], Any] = lambda _: None
        self.lock = threading.Lock()
        self.ready = threading.Event()
        self.ready.set()

    def produce(self, _topic: str, *, partition: int, on_delivery: Report, value: bytes, **_: Any) -> None:
        assert partition == 0
        if self.fatal:
            raise kafka.KafkaException(kafka.KafkaError(kafka.KafkaError._FATAL, "fenced", fatal=True))
        with self.lock:
            if len(self.queue) >= self.room:
                raise BufferError
            self.queue.append((value, on_delivery))

    def poll(self, _seconds: float) -> int:
        time.sleep(0.001)
        if not self.ready.is_set():
            return 0
        with self.lock:
            queue, self.queue = self.queue, []
        for value, report in queue:
            if self.breaks_after == 0:
                self.fatal = True
                report(kafka.KafkaError(kafka.KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "gap", fatal=True), None)
                continue
            error = self.answers(value)
            if error is None:
                self.stored.append(value)
                if self.breaks_after is not None:
                    self.breaks_after -= 1
            report(error, None if error else Message(len(self.stored) - 1))
        return 0

    def flush(self, _seconds: float) -> int:
        return self.poll(0)

    def purge(self) -> None:
        with self.lock:
            queue, self.queue = self.queue, []
        for _, report in queue:
            report(kafka.KafkaError(kafka.KafkaError._PURGE_QUEUE), None)

    def __len__(self) -> int:
        return len(self.queue)


@asynccontextmanager
async def writing(monkeypatch: pytest.MonkeyPatch, *producers: Producer) -> AsyncIterator[LogWriter]:
    """One after the other."""
    log = Log(KafkaAddress("h:1", {}, "X"), LogNames("p", "c"), LogOptions())
    topics = {tier: TopicFacts(log.names.topic(tier), 1, 1, {"max.message.bytes": "1000"}) for tier in TIERS}

    async def look(*_: object) -> dict[str, TopicFacts]:
        return topics

    left = list(producers)
    monkeypatch.setattr(log_writer, "look_for_log", look)
    monkeypatch.setattr(producer_thread, "make_producer", lambda *_: left.pop(0))
    writer = LogWriter(log)
    await writer.open()
    yield writer
    await writer.close()
    await writer.close()
    with pytest.raises(BackendUnavailable, match="closed"):
        await writer.write([Outgoing("late", Entry(b"x"))])


def some(count: int) -> list[Outgoing]:
    return [Outgoing(n, Entry(b"%d" % n)) for n in range(count)]


async def test_a_producer_that_breaks_down_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored before is not sent again, the rest is, and later messages go to the next one."""
    stored: list[bytes] = []
    async with writing(monkeypatch, Producer(stored, breaks_after=7), Producer(stored)) as writer:
        answers = await asyncio.wait_for(writer.write(some(20)), 60)
        assert [isinstance(answer, Written) for answer in answers] == [True] * 20
        assert await asyncio.wait_for(writer.write([Outgoing("x", Entry(b"more"))]), 60)
        assert writer.doubtful == 0, "all were reported, with an error"
    assert sorted(stored) == sorted([*(b"%d" % n for n in range(20)), b"more"])


async def test_a_full_queue_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[bytes] = []
    async with writing(monkeypatch, Producer(stored, room=3)) as writer:
        assert len(await asyncio.wait_for(writer.write(some(50)), 60)) == 50
    assert sorted(stored) == sorted(b"%d" % n for n in range(50))


async def test_what_is_refused_and_what_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stored: list[bytes] = []
    producer = Producer(stored)
    codes = {b"1": kafka.KafkaError.INVALID_RECORD, b"2": kafka.KafkaError._MSG_TIMED_OUT}
    producer.answers = lambda value: kafka.KafkaError(codes[value]) if value in codes else None
    async with writing(monkeypatch, producer) as writer:
        with pytest.raises(BackendUnavailable):
            await writer.write(some(4))
        codes[b"2"] = kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED
        with pytest.raises(ConfigurationError, match="may not write to topic"):
            await writer.write(some(4))
        del codes[b"2"]
        answers = await writer.write(some(4))
        assert [type(answer) for answer in answers] == [Written, Refused, Written, Written]
    assert sorted(stored) == [b"0", b"2", b"3"], "each once"


async def test_a_report_is_heard_while_brokers_are_asked_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that stood still answers the producer long before another question is given up."""
    producer = Producer([])
    given_up = 0

    async def look(*_: object) -> dict[str, TopicFacts]:
        nonlocal given_up
        producer.ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up += 1
        raise AssertionError

    producer.ready.clear()
    async with writing(monkeypatch, producer) as writer:
        monkeypatch.setattr(log_writer, "QUIET", 0.01)
        monkeypatch.setattr(log_writer, "look_for_log", look)
        assert len(await asyncio.wait_for(writer.write(some(3)), 60)) == 3
    assert (sorted(producer.stored), given_up) == ([b"0", b"1", b"2"], 1)


async def test_why_there_is_no_report_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look(*_: object) -> dict[str, TopicFacts]:
        raise ConfigurationError("X", "there is no topic 'p.c'", "Create it")

    producer = Producer([])
    producer.ready.clear()
    async with writing(monkeypatch, producer) as writer:
        monkeypatch.setattr(log_writer, "QUIET", 0.01)
        monkeypatch.setattr(log_writer, "look_for_log", look)
        with pytest.raises(ConfigurationError, match="there is no topic"):
            await asyncio.wait_for(writer.write(some(3)), 60)
        monkeypatch.setattr(log_writer, "QUIET", 60)
        producer.ready.set()
        assert len(await asyncio.wait_for(writer.write(some(3)), 60)) == 3
    assert sorted(producer.stored) == [b"0", b"1", b"2"], "each once"
