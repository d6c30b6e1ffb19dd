"""The servers that tests share: one for all processes of a session, which one test at a time may stop; and how
processes share the tests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services import order
from tests.services.kafka_broker import KafkaBroker
from tests.services.postgres_server import PostgresServer


@pytest.mark.postgres
@pytest.mark.other_server
def test_a_table_outlives_a_crash_of_the_server_and_the_server_its_first_user(
    postgres_alone: PostgresServer, tmp_path: Path
) -> None:
    with postgres_alone.client() as client:
        client.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    postgres_alone.kill()
    with pytest.raises(Exception, match="refused"):
        postgres_alone.client()
    postgres_alone.start()
    other = PostgresServer(postgres_alone.folder)
    other.join()  # as another process of the session does: it is the same server
    assert other.pid == postgres_alone.pid
    other.leave()
    with postgres_alone.client() as client:
        assert client.execute("SELECT n FROM kept").fetchone() == (7,)
        client.execute("DROP TABLE kept")


@pytest.mark.kafka
@pytest.mark.other_server
def test_messages_are_read_as_they_were_written(kafka: KafkaBroker) -> None:
    from confluent_kafka import Producer

    topic = kafka.topic(3)
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(10):
        producer.produce(topic, b"%d" % number, key=b"%d" % number)
    producer.flush(60)
    assert sorted(message.value() for message in kafka.messages(topic)) == [b"%d" % n for n in range(10)]


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_each_process_begins_with_what_waits(count: int) -> None:
    waiting = [("waits", file, number) for file in range(10) for number in range(file + 1)]
    tests = [("short", 0, number) for number in range(200)] + waiting
    found = order.in_parts(tests, count, waits=lambda test: test[0] == "waits", file=lambda test: test[1])
    assert sorted(found) == sorted(tests), "each of them, once"
    parts, rest = [], found
    for left in range(count, 0, -1):  # as pytest-xdist divides them
        parts, rest = [*parts, rest[: len(rest) // left]], rest[len(rest) // left :]
    for part in parts:
        kinds = [kind for kind, *_ in part]
        assert kinds == sorted(kinds, reverse=True)
        assert {*kinds} == {"waits", "short"}
    homes = {(file, number) for number, part in enumerate(parts) for kind, file, _ in part if kind == "waits"}
    assert len(homes) == 10, "no file is in two of them"


def test_too_many_that_wait_are_no_fewer() -> None:
    tests = [("one file", number) for number in range(9)]
    assert order.in_parts(tests, 4, waits=lambda _: True, file=lambda test: test[0]) == tests
