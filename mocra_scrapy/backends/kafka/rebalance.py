"""What a group does to one of its members: partitions come, go, and are lost. In the reader's thread.

A partition that comes is assigned and paused, so that nothing of it is read before somebody says where
to begin. One that goes in good order is held back until what is under way is settled and committed, or
until a deadline. One that is lost is another worker's already, and nothing can be committed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from mocra_scrapy.backends.kafka.log_names import Log, LogPartition
from mocra_scrapy.backends.kafka.log_values import Commit, Lost, News, Revoked
from mocra_scrapy.backends.kafka.look_ahead import LookAhead
from mocra_scrapy.backends.kafka.metadata import encode

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition


class Listener(NamedTuple):
    """Who is told, in the reader's thread.

    Attributes:
        heard: of news, in order.
        came: of partitions that are this member's now.
        some: that there is something to take.
    """

    heard: Callable[[News], None]
    came: Callable[[frozenset[LogPartition]], None]
    some: Callable[[], None]


class Release:
    """Partitions that are going: the thread waits here for what is to be committed of them."""

    def __init__(self) -> None:
        self._left: set[LogPartition] = set()
        self._commits: dict[LogPartition, Commit] = {}
        self._changed = threading.Condition()

    def expect(self, partitions: Iterable[LogPartition]) -> None:
        """These are going from now on."""
        with self._changed:
            self._left, self._commits = set(partitions), {}

    def wait(self, deadline: float, stopped: Callable[[], bool]) -> dict[LogPartition, Commit]:
        """Until all were given free, or *deadline* (monotonic). What is to be committed."""
        with self._changed:
            while self._left and not stopped() and time.monotonic() < deadline:
                self._changed.wait(min(0.1, max(0.0, deadline - time.monotonic())))
            commits, self._left, self._commits = self._commits, set(), {}
            return commits

    def give(self, partitions: Iterable[LogPartition], commits: Mapping[LogPartition, Commit]) -> None:
        """What is not expected is of the past."""
        with self._changed:
            self._commits.update({one: commit for one, commit in commits.items() if one in self._left})
            self._left -= set(partitions)
            self._changed.notify_all()


class Membership:
    """Of one consumer.

    Attributes:
        owned: partitions that are this member's.
    """

    def __init__(
        self, log: Log, ahead: LookAhead, release: Release, listener: Listener, stopped: Callable[[], bool]
    ) -> None:
        self._names, self._patience, self._ahead, self._release = log.names, log.options.revoke_timeout, ahead, release
        self._tell, self._came, self._stopped = listener.heard, listener.came, stopped
        self.owned: set[LogPartition] = set()

    def assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        for place in places:
            place.offset = 0  # begin() says where; an offset that brokers had to look up could come behind that
        consumer.incremental_assign(places)
        if places:
            consumer.pause(places)
        new = self._partitions(places)
        self.owned |= new
        if new and not self._stopped():
            self._came(new)

    def revoked(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        going = self._partitions(places) & self.owned
        self._ahead.drop(going)
        self.owned -= going
        if going and not self._stopped():
            deadline = time.monotonic() + self._patience
            self._release.expect(going)
            self._tell(Revoked(going, deadline))
            commits = self._release.wait(deadline, self._stopped)
            if commits:
                self.commit_now(consumer, commits)
        consumer.incremental_unassign(places)

    def lost(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        self.give_up(self._partitions(places), "the group counts this worker as dead, or began anew without it")
        consumer.incremental_unassign(places)

    def give_up(self, partitions: Iterable[LogPartition], why: str) -> None:
        """These are not this member's any more."""
        gone = frozenset(partitions) & self.owned
        self._ahead.drop(gone)
        self.owned -= gone
        if gone:
            self._tell(Lost(gone, why))

    def commit_now(self, consumer: Consumer, commits: Mapping[LogPartition, Commit]) -> None:
        """And wait for the answer, which may say no: then somebody reads a bit of it once more."""
        from confluent_kafka import KafkaException

        try:
            consumer.commit(offsets=self.places(commits), asynchronous=False)
        except KafkaException:
            return

    def places(self, commits: Mapping[LogPartition, Commit]) -> list[TopicPartition]:
        """As a client takes it."""
        from confluent_kafka import TopicPartition

        found = []
        for partition, commit in commits.items():
            topic = self._names.topic(partition.tier)
            text = encode(topic, partition.number, commit.offset, commit.finished).text
            found.append(TopicPartition(topic, partition.number, commit.offset, text))
        return found

    def _partitions(self, places: Iterable[TopicPartition]) -> frozenset[LogPartition]:
        return frozenset(self._names.partition(place.topic, place.partition) for place in places)
