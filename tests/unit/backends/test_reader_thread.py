"""What a reader makes of what its client brings, in what order; clients of real brokers are in
tests/integration/kafka.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.log_names import Log, LogNames, LogPartition
from mocra_scrapy.backends.kafka.log_values import Start
from mocra_scrapy.backends.kafka.look_ahead import LookAhead
from mocra_scrapy.backends.kafka.reader_thread import ReaderThread
from mocra_scrapy.backends.kafka.rebalance import Listener
from mocra_scrapy.models.log import LogOptions

confluent_kafka = pytest.importorskip("confluent_kafka")
KafkaError = confluent_kafka.KafkaError
PLACE = LogPartition("normal", 0)
LOG = Log(read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {}), LogNames("t", "shop"), LogOptions())


def message(offset: int, error: Any = None) -> Any:
    facts = {
        "error": error,
        "topic": LOG.names.topic("normal"),
        "partition": 0,
        "offset": offset,
        "key": b"s",
        "value": b"",
        "timestamp": (1, 0),
        "headers": None,
    }
    return SimpleNamespace(**{name: (lambda given=value: given) for name, value in facts.items()})


def end(offset: int) -> Any:
    return message(offset, KafkaError(KafkaError._PARTITION_EOF))


class Turns:
    """A partition that is read from 0 on. Each call is what one turn brings; what the client is told, by that."""

    def __init__(self) -> None:
        self.ahead = LookAhead(LOG.options)
        nothing: Callable[..., None] = lambda *_: None  # noqa: E731
        self.thread = ReaderThread(LOG, self.ahead, Listener(nothing, nothing, nothing))
        self.ahead.begin(PLACE, Start(0))

    def __call__(self, *messages: Any) -> list[tuple[str, int]]:
        consumer = Mock()
        self.thread._take(consumer, Mock(), list(messages))
        told = []
        for name, arguments, _ in consumer.method_calls:
            place = arguments[0][0] if isinstance(arguments[0], list) else arguments[0]
            told.append((name, place.offset))
        return told


def test_the_end_comes_behind_what_is_in_front_of_it() -> None:
    turn = Turns()
    assert turn(message(0), message(1), end(2)) == []
    assert turn(message(2), end(3), message(3), end(4)) == []
    assert turn.ahead.expected(PLACE) == 4


def test_nothing_is_passed_over_however_often_its_end_is_told() -> None:
    """Ends that were believed before what lay in front of them made three of them a gap, and requests were lost."""
    turn = Turns()
    assert turn(end(0), message(0), end(1), end(1), message(1), end(2), end(2), end(2)) == []
    (batch,) = turn.ahead.take(10, 0.0)
    assert [one.offset for one in (*batch.records, *batch.unreadable)] == [0, 1]
    assert turn.ahead.take_missing() == []


def test_what_is_missing_is_looked_for_by_a_seek_then_by_a_new_beginning(caplog: pytest.LogCaptureFixture) -> None:
    """However much a turn brings of the past: each attempt has to come to the same."""
    turn, past = Turns(), [end(5), message(7), end(8)]
    assert turn(message(0), *past * 2) == [("seek", 1)]
    assert turn(*past * 2) == [("incremental_unassign", 1), ("incremental_assign", 1), ("resume", 1)]
    assert turn.ahead.expected(PLACE) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert turn(end(5)) == []
    assert turn.ahead.expected(PLACE) == 5
    assert "Kafka has nothing at offsets 1 to 4 of normal:0: they are passed over" in caplog.text


def test_what_was_found_again_is_read(caplog: pytest.LogCaptureFixture) -> None:
    turn = Turns()
    assert turn(end(2)) == [("seek", 0)]
    assert turn(message(0), message(1), end(2)) == []
    assert turn(end(9)) == [("seek", 2)], "it is counted anew"
    assert "passed over" not in caplog.text
