"""How a reader leaves its group: so that the others hear of it, and have its partitions at once.

librdkafka (2.16) tells a group that a client leaves where the client has partitions, or where nothing is under way.
One that has none and is closed during a rebalance, or before its group has answered it the first time, says nothing:
it stays a member until its session ends, and no rebalance of the classic protocol ends before that. Where workers
come and go, one that died was enough for a group that never came to rest: each that came and left while the others
waited for the dead one was one more to wait for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

#: Seconds between two looks whether it is over.
LOOK = 0.02
#: Seconds for the group's first answer, of which a client that is to be closed knows only that it was asked for.
FIRST = 2.0
#: Seconds until a group that did not answer is asked once more.
AGAIN = 1.0


class Departure:
    """Of *consumer*, which has not subscribed yet.

    Args:
        protocol: of its group, as ``group.protocol``.
    """

    def __init__(self, consumer: Consumer, protocol: str) -> None:
        self._consumer, self._protocol = consumer, protocol
        self._asked = 0.0
        self._outside = consumer.consumer_group_metadata()

    def leave(self, until: float, hopeless: Callable[[], object]) -> None:
        """Blocks until the group has heard of it, until *until* (monotonic), or until it is *hopeless*; then the
        client is closed. It is polled meanwhile, since it has its part in a rebalance that is under way; what it
        brings is thrown away.

        Guarantee: raises nothing.
        """
        with contextlib.suppress(Exception):  # the client is thrown away
            self._poll(lambda: not self.has_joined, min(until, time.monotonic() + FIRST), hopeless)
            self._consumer.unsubscribe()  # by the classic protocol it is done when no rebalance is under way
            if self._protocol == "classic":
                self._poll(self._consumer.memberid, until, hopeless)
        with contextlib.suppress(Exception):
            self._consumer.close()

    def can_be_heard(self, place: TopicPartition) -> bool:
        """Whether the group answers; it is asked for its position at *place*, once in a second at most. Who leaves
        while it does not answer is a member to the end of its session.
        """
        from confluent_kafka import KafkaException

        if time.monotonic() < self._asked + AGAIN:
            return False
        self._asked = time.monotonic()
        try:
            self._consumer.committed([place], timeout=AGAIN / 2)
        except KafkaException:
            return False
        return True

    @property
    def has_joined(self) -> bool:
        """The group has answered it once."""
        return bool(self._consumer.consumer_group_metadata() != self._outside)

    def _poll(self, condition: Callable[[], object], until: float, hopeless: Callable[[], object]) -> None:
        while condition() and time.monotonic() < until and not hopeless():
            self._consumer.poll(LOOK)
