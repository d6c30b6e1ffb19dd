"""What a client is told, in what order, before it is closed; real groups are left in tests/integration/kafka."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mocra_scrapy.backends.kafka.leaving import Departure

confluent_kafka = pytest.importorskip("confluent_kafka")


class Client:
    """Of a group that answers its first request, and ends a rebalance, when it has been polled that often.

    Attributes:
        told: what it was told, without polls that follow each other.
    """

    def __init__(self, *, joins: int = 0, settles: int = 0) -> None:
        self.joins, self.settles, self.told = joins, settles, list[str]()
        self.polled = 0
        self._goes = False

    def consumer_group_metadata(self) -> tuple[str, bool]:
        return "opaque", self.polled >= self.joins and "subscribe" in self.told

    def memberid(self) -> str | None:
        return None if self._goes and self.polled >= self.joins + self.settles else "me"

    def subscribe(self) -> None:
        self.told.append("subscribe")

    def unsubscribe(self) -> None:
        self.told.append("unsubscribe")
        self._goes = True

    def close(self) -> None:
        self.told.append("close")

    def poll(self, timeout: float) -> None:
        assert timeout <= 0.1
        self.polled += 1
        if self.told[-1] != "poll":
            self.told.append("poll")


def go(
    client: Any, protocol: str = "classic", seconds: float = 60.0, hopeless: Callable[[], object] = bool
) -> list[str]:
    departure = Departure(client, protocol)
    client.subscribe()
    departure.leave(time.monotonic() + seconds, hopeless)
    assert client.told.pop(0) == "subscribe"
    told: list[str] = client.told
    return told


def test_a_member_of_a_group_at_rest_leaves_at_once() -> None:
    assert go(Client()) == ["unsubscribe", "close"]
    assert go(Client(), "consumer") == ["unsubscribe", "close"]


def test_a_rebalance_that_is_under_way_is_sat_out() -> None:
    client = Client(settles=7)
    assert go(client) == ["unsubscribe", "poll", "close"]
    assert client.polled == 7


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_who_has_not_joined_yet_joins_first(protocol: str) -> None:
    """What was asked for can't be taken back, and who is not known can't say that it goes."""
    client = Client(joins=5)
    assert go(client, protocol) == ["poll", "unsubscribe", "close"]
    assert client.polled == 5


@pytest.mark.parametrize("never", [{"joins": 10**9}, {"settles": 10**9}], ids=["joins", "settles"])
def test_it_ends_when_nobody_answers(never: dict[str, int]) -> None:
    assert go(Client(**never), seconds=0.0) == ["unsubscribe", "close"]
    assert go(Client(**never), hopeless=lambda: "no broker answers") == ["unsubscribe", "close"]


def test_a_client_that_raises_is_closed_all_the_same() -> None:
    class Broken(Client):
        def unsubscribe(self) -> None:
            raise RuntimeError("fatal")

    assert go(Broken()) == ["close"]


def test_whether_the_group_answers_is_asked_once_in_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 100.0, list[float]()
    monkeypatch.setattr("mocra_scrapy.backends.kafka.leaving.time", SimpleNamespace(monotonic=lambda: now))

    class Silent(Client):
        answers = False

        def committed(self, places: list[str], timeout: float) -> None:
            asked.append(timeout)
            if not self.answers:
                raise confluent_kafka.KafkaException(confluent_kafka.KafkaError(-185))

    client: Any = Silent()
    departure: Any = Departure(client, "consumer")
    assert not departure.can_be_heard("place")
    client.answers = True
    now = 100.9
    assert not departure.can_be_heard("place"), "not asked"
    now = 101.0
    assert departure.can_be_heard("place")
    assert asked == [0.5, 0.5]
