"""Commits of a reader that brokers have not answered yet. In the reader's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mocra_scrapy.backends.kafka.log_names import LogNames, LogPartition
from mocra_scrapy.backends.kafka.log_values import Commit
from mocra_scrapy.backends.kafka.rebalance import Membership

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, TopicPartition

#: Called with the reasons of those that were not committed.
Committed = Callable[[Mapping[LogPartition, str]], None]


class Commits:
    """Of one client after the other."""

    def __init__(self, names: LogNames) -> None:
        self._names = names
        self._waiting: list[tuple[dict[LogPartition, Commit], Committed]] = []

    def begin(
        self, consumer: Consumer, members: Membership, commits: dict[LogPartition, Commit], done: Committed
    ) -> None:
        """Does not wait for the answer."""
        from confluent_kafka import KafkaException

        foreign = dict.fromkeys(commits.keys() - members.owned, "another worker reads it")
        ours = {partition: one for partition, one in commits.items() if partition not in foreign}
        if not ours:
            done(foreign)
            return
        self._waiting.append((ours, lambda reasons: done({**foreign, **reasons})))
        try:
            consumer.commit(offsets=members.places(ours), asynchronous=True)
        except KafkaException as error:
            self._waiting.pop()[1](dict.fromkeys(ours, error.args[0].str()))

    def answered(self, error: KafkaError | None, places: list[TopicPartition]) -> None:
        """librdkafka answers in order; each commit has its own answer."""
        if not self._waiting:
            return
        ours, done = self._waiting.pop(0)
        reasons = {} if error is None else dict.fromkeys(ours, error.str())
        for place in places:
            if place.error is not None:
                reasons[self._names.partition(place.topic, place.partition)] = place.error.str()
        done(reasons)

    def give_up(self, why: str) -> None:
        """No answer comes any more."""
        waiting, self._waiting = self._waiting, []
        for ours, done in waiting:
            done(dict.fromkeys(ours, why))
