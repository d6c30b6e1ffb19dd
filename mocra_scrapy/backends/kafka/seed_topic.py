"""A topic that is read from given offsets on, all partitions of it by one reader. No group is joined and
nothing is committed: who reads keeps its offsets elsewhere. All of it blocks: call it from a thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from mocra_scrapy.backends.kafka.address import KafkaAddress
from mocra_scrapy.backends.kafka.client import PATIENCE, Ears, meaning
from mocra_scrapy.exceptions import ConfigurationError, MocraError
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError

logger = logging.getLogger(__name__)

#: Seconds that a read waits for messages, and between two looks whether the topic has more partitions.
WAIT, LOOK = 0.1, 30.0


class TopicMessage(NamedTuple):
    partition: int
    offset: int
    value: bytes


class KafkaSeedTopic:
    """Of one worker.

    Args:
        setting: that names the topic.
    """

    def __init__(self, address: KafkaAddress, topic: str, setting: str) -> None:
        self._address, self._topic, self._setting = address, topic, setting
        self._ears = Ears(address)
        self._consumer: Consumer | None = None
        self._partitions: set[int] = set()
        self._looked = 0.0

    def read(self, offsets: Mapping[int, int], want: int) -> list[TopicMessage]:
        """Up to *want* messages. *offsets*: of the next one of each partition, where the first read begins
        and whoever meets a new partition; one that is not there is read from its beginning.

        Raises:
            ConfigurationError: there is no such topic, it may not be read, the password is wrong.
            BackendUnavailable: no broker answers; ask again.
        """
        from confluent_kafka import KafkaException

        try:
            if self._consumer is None:
                self._consumer = self._made()
            if time.monotonic() - self._looked > LOOK:
                self._assign(self._consumer, offsets)
            messages = self._consumer.consume(want, WAIT)
        except KafkaException as error:
            self.close()
            raise self._meaning(error.args[0]) from error
        except MocraError:
            self.close()
            raise
        found = []
        for message in messages:
            trouble = message.error()
            if trouble is not None:
                self.close()  # what came with it is read again
                raise self._meaning(trouble)
            found.append(TopicMessage(message.partition() or 0, message.offset() or 0, message.value() or b""))
        if not messages and self._ears.down:
            raise self._ears.unavailable()
        return found

    def _made(self) -> Consumer:
        from confluent_kafka import Consumer

        self._ears.clear()
        self._looked, self._partitions = 0.0, set()
        ours = {
            "group.id": "mocra_scrapy",  # the client wants one, and none is joined
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "queued.max.messages.kbytes": 16_384,
        }
        return Consumer({**self._ears.config(), **ours})

    def _assign(self, consumer: Consumer, offsets: Mapping[int, int]) -> None:
        """Read all partitions there are, also those that came since."""
        from confluent_kafka import KafkaException, TopicPartition

        answer = consumer.list_topics(self._topic, PATIENCE).topics[self._topic]
        if answer.error is not None:
            raise KafkaException(answer.error)
        new = []
        for partition in sorted(set(answer.partitions) - self._partitions):
            first, end = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), PATIENCE)
            new.append(
                TopicPartition(self._topic, partition, self._begin(partition, offsets.get(partition), first, end))
            )
        if new:
            consumer.incremental_assign(new)
            self._partitions.update(one.partition for one in new)
        self._looked = time.monotonic()

    def _begin(self, partition: int, known: int | None, first: int, end: int) -> int:
        if known is None or first <= known <= end:
            return first if known is None else known
        if known < first:
            logger.error(
                "Topic %s deleted %s of partition %d before this crawl read them (retention)",
                self._topic,
                counted(first - known, "message"),
                partition,
            )
        else:
            logger.warning("Topic %s was made anew: partition %d is read from its beginning", self._topic, partition)
        return first

    def _meaning(self, error: KafkaError) -> MocraError:
        from confluent_kafka import KafkaError as Codes

        if error.code() in (Codes.TOPIC_AUTHORIZATION_FAILED, Codes.CLUSTER_AUTHORIZATION_FAILED):
            return ConfigurationError(
                self._setting,
                f"this user may not read topic {self._topic!r}",
                "Grant it READ and DESCRIBE: kafka-acls.sh --consumer",
            )
        if error.code() in (Codes._TRANSPORT, Codes._ALL_BROKERS_DOWN, Codes._RESOLVE):
            return self._ears.unavailable()
        return meaning(error, self._topic, self._setting, self._ears)

    def close(self) -> None:
        """The next read begins with the offsets that it is given. May be called twice."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()
