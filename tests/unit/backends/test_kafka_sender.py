"""What can't be provoked with a broker at will: one that answers a producer while another question is still open."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from mocra_scrapy.backends.kafka import producer as module
from mocra_scrapy.backends.kafka.address import KafkaAddress
from mocra_scrapy.backends.kafka.producer import Sender
from mocra_scrapy.exceptions import BackendUnavailable

pytest.importorskip("confluent_kafka")


class Producer:
    """Reports what it has once it is *ready*."""

    def __init__(self, ready: Callable[[], bool]) -> None:
        self.ready, self.queue = ready, list[Callable[[Any, Any], None]]()

    def produce(self, _topic: str, *, on_delivery: Callable[[Any, Any], None], **_: Any) -> None:
        self.queue.append(on_delivery)

    def poll(self, _seconds: float) -> int:
        time.sleep(0.001)
        if self.ready():
            while self.queue:
                self.queue.pop(0)(None, None)
        return 0

    def flush(self, seconds: float) -> int:
        self.poll(seconds)
        return len(self.queue)

    def __len__(self) -> int:
        return len(self.queue)


def sender(monkeypatch: pytest.MonkeyPatch, ready: Callable[[], bool], asked: list[int]) -> Sender:
    """Its brokers say nothing to the question whether the topic is there, but for the first time."""

    def check(_address: object, ears: Any, _topic: str, _setting: str, stopped: Callable[[], bool]) -> int:
        asked.append(1)
        while len(asked) > 1 and not stopped():
            pass
        if len(asked) > 1:
            raise BackendUnavailable("no answer in time")
        return 1

    monkeypatch.setattr(module, "check_topic", check)
    monkeypatch.setattr(module, "make_producer", lambda *_: Producer(ready))
    monkeypatch.setattr(module, "QUIET", 0.01)
    return Sender(KafkaAddress("h:1", {}, "X"), "items", "KAFKA_ITEMS_TOPIC")


def test_a_report_is_heard_while_brokers_are_asked_why_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    one = sender(monkeypatch, lambda: len(asked) > 1, asked)
    assert one.send([(object(), {"value": b"x"}), (object(), {"value": b"y"})], lambda: False) == {}
    assert len(asked) == 2


def test_nobody_waits_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    one = sender(monkeypatch, lambda: False, asked)
    with pytest.raises(BackendUnavailable, match="no answer"):
        one.send([(object(), {"value": b"x"})], lambda: len(asked) > 1)
