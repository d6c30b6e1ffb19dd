"""What the client of a log's reader is made with."""

from __future__ import annotations

from typing import Any

import pytest

from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.client import Ears
from mocra_scrapy.backends.kafka.log_names import Log, LogNames
from mocra_scrapy.backends.kafka.reading_client import make_reader
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models.log import LogOptions

confluent_kafka = pytest.importorskip("confluent_kafka")


def made(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], **options: Any) -> dict[str, Any]:
    monkeypatch.setattr(confluent_kafka, "Consumer", dict)
    address = read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", given)
    log = Log(address, LogNames("t", "shop"), LogOptions(**options))
    found: Any = make_reader(log, Ears(address), lambda *_: None)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({}, 60), ({"session_timeout": 45.0}, 90), ({"revoke_timeout": 20.0}, 80), ({"protocol": "consumer"}, 60)],
)
def test_a_group_waits_a_minute_for_a_member_that_does_not_do_its_part(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], wanted: int
) -> None:
    """Not five, as librdkafka has it; and longer than the member may take."""
    assert made(monkeypatch, {}, **options)["max.poll.interval.ms"] == wanted * 1000


def test_what_the_project_says_comes_first_but_for_what_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(monkeypatch, {"max.poll.interval.ms": 1000, "fetch.wait.max.ms": 7})
    assert (found["max.poll.interval.ms"], found["fetch.wait.max.ms"]) == (1000, 7)
    assert not found["enable.auto.commit"]


def test_an_option_that_librdkafka_does_not_take_is_named() -> None:
    address = read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {"max.poll.interval.ms": 5})
    log = Log(address, LogNames("t", "shop"), LogOptions())
    with pytest.raises(ConfigurationError, match=r"max\.poll\.interval\.ms"):
        make_reader(log, Ears(address), lambda *_: None)


def test_an_answer_of_the_group_that_came_too_late_is_heard_of() -> None:
    """In the words of librdkafka 2.16; those of a real one are in tests/integration/kafka."""
    ears = Ears(read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {}))
    line = "REQTMOUT [mocra_scrapy#consumer-2] [thrd:GroupCoordinator]: GroupCoordinator/2: Timed out %s in flight (after 1s)"
    ears.log(5, line, "FetchRequest")
    assert not ears.unheard
    ears.log(5, line, "ConsumerGroupHeartbeatRequest")
    ears.clear()
    assert ears.unheard, "it is of the past when the client is another one"
