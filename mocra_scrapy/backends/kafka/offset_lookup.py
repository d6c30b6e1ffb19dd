"""Where the partitions of a crawl's log stand, whoever reads them: for the end of a crawl, for resets,
for whoever takes a partition over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from mocra_scrapy._tasks import in_a_thread
from mocra_scrapy.backends.kafka.admin import Admin
from mocra_scrapy.backends.kafka.client import PATIENCE, NoTopic, meaning, no_option
from mocra_scrapy.backends.kafka.log_names import Log, LogPartition
from mocra_scrapy.backends.kafka.log_values import Marks
from mocra_scrapy.backends.kafka.metadata import decode
from mocra_scrapy.backends.kafka.offsets import Runs
from mocra_scrapy.backends.kafka.reading_trouble import meaning_of_reading

if TYPE_CHECKING:
    from confluent_kafka import TopicPartition

T = TypeVar("T")
#: Options that are of the members of a group, and fit with their session only. Who looks is none.
OF_MEMBERS = ("max.poll.interval.ms",)
#: Seconds for which the numbers of partitions are remembered.
FRESH = 30.0
#: Seconds in which all brokers hear of a new topic; between two attempts.
HEARSAY, AGAIN = 10.0, 0.2


class OffsetLookup:
    """Of one crawl. Its methods are for an event loop's thread; each call has a thread of its own, which
    nobody waits for when it is cancelled.

    All of them raise BackendUnavailable (no broker answers, or not about all of it; worth repeating) and
    ConfigurationError (a topic is missing, this user may not look).

    Where workers create topics one may be new, and brokers hear of it one after the other: it is missing
    when it still is after :data:`HEARSAY`.
    """

    def __init__(self, log: Log) -> None:
        self._admin, self._names, self._setting = Admin(log.address), log.names, log.setting
        self._patience = HEARSAY if log.options.create else 0.0
        self._counts: dict[str, int] = {}
        self._counted = float("-inf")

    async def partitions(self, *, anew: bool = True) -> Mapping[str, int]:
        """Tier -> how many partitions its topic has."""
        return await self._do(lambda: self._partitions(0.0 if anew else FRESH))

    async def ends(self) -> dict[LogPartition, int]:
        """Behind the newest message of each partition of each topic."""
        return await self._do(lambda: self._offsets(self._all(0.0), newest=True))

    async def bounds(self, some: Collection[LogPartition]) -> dict[LogPartition, tuple[int, int]]:
        """The oldest offset that is there of *some*, and behind the newest."""

        def ask() -> dict[LogPartition, tuple[int, int]]:
            first = self._offsets(some, newest=False)  # before the end: what is deleted meanwhile is not beyond it
            end = self._offsets(some, newest=True)
            return {partition: (first[partition], end[partition]) for partition in some}

        return await self._do(ask)

    async def marks(self, some: Collection[LogPartition] | None = None) -> dict[LogPartition, Marks]:
        """All about *some*; ``None``: about each partition."""

        def ask() -> dict[LogPartition, Marks]:
            wanted = self._all(0.0) if some is None else some
            first = self._offsets(wanted, newest=False)
            committed = self._committed(wanted)  # before the end: what is committed then is not beyond it
            end = self._offsets(wanted, newest=True)
            return {
                partition: self._marks(partition, first[partition], end[partition], *committed[partition])
                for partition in wanted
            }

        return await self._do(ask)

    async def trim(self, offsets: Mapping[LogPartition, int]) -> dict[LogPartition, str]:
        """Delete what lies before *offsets*. The reasons of those where brokers did not."""

        def ask() -> dict[LogPartition, str]:
            from confluent_kafka import KafkaException

            found = {}
            for partition, answer in self._each(
                lambda client, all_: client.delete_records(list(all_)), offsets
            ).items():
                try:
                    answer.result()
                except KafkaException as error:
                    found[partition] = str(error.args[0].str())
            return found

        return await self._do(ask) if offsets else {}

    # ------------------------------------------------------------------ in the thread

    async def _do(self, work: Callable[[], T]) -> T:
        until = time.monotonic() + self._patience
        while True:
            try:
                return await in_a_thread(work, "mocra kafka lookup")
            except NoTopic:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(AGAIN)

    def _partitions(self, fresh: float) -> dict[str, int]:
        from confluent_kafka import KafkaException, TopicCollection

        if time.monotonic() - self._counted > fresh:
            topics = self._names.topics()
            answers = self._admin.ask(
                lambda client: client.describe_topics(TopicCollection(list(topics.values())), request_timeout=PATIENCE)
            )
            counts = {}
            for tier, topic in topics.items():
                try:
                    counts[tier] = len(answers[topic].result().partitions)
                except KafkaException as error:
                    raise meaning(error.args[0], topic, self._setting, self._admin.ears) from error
            self._counts, self._counted = counts, time.monotonic()
        return self._counts

    def _all(self, fresh: float) -> list[LogPartition]:
        counts = self._partitions(fresh)
        return [LogPartition(tier, number) for tier, count in counts.items() for number in range(count)]

    def _offsets(self, some: Collection[LogPartition], *, newest: bool) -> dict[LogPartition, int]:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

        if not some:
            return {}
        spec: Any = OffsetSpec.latest() if newest else OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        answers = self._each(
            lambda client, all_: client.list_offsets(dict.fromkeys(all_, spec), request_timeout=PATIENCE),
            dict.fromkeys(some, -1),
        )
        found = {}
        for partition, answer in answers.items():
            try:
                found[partition] = int(answer.result().offset)
            except KafkaException as error:
                topic = self._names.topic(partition.tier)
                raise meaning(error.args[0], topic, self._setting, self._admin.ears) from error
        return found

    def _each(
        self,
        question: Callable[[Any, list[TopicPartition]], Mapping[TopicPartition, Any]],
        offsets: Mapping[LogPartition, int],
    ) -> dict[LogPartition, Any]:
        from confluent_kafka import TopicPartition

        asked = [
            TopicPartition(self._names.topic(partition.tier), partition.number, offset)
            for partition, offset in offsets.items()
        ]
        answers = self._admin.ask(lambda client: question(client, asked))
        return {self._names.partition(place.topic, place.partition): answer for place, answer in answers.items()}

    def _committed(self, some: Collection[LogPartition]) -> dict[LogPartition, tuple[int | None, str | None]]:
        """By a consumer that joins no group. An AdminClient would do, but librdkafka (2.16) crashes the
        process when ``list_consumer_group_offsets`` meets a group whose coordinator has just changed.
        """
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        group, ears = self._names.group, self._admin.ears
        found: dict[LogPartition, tuple[int | None, str | None]] = dict.fromkeys(some, (None, None))
        asked = [TopicPartition(self._names.topic(partition.tier), partition.number) for partition in some]
        config = {name: value for name, value in ears.config().items() if name not in OF_MEMBERS}
        try:
            consumer = Consumer({**config, "group.id": group, "enable.auto.commit": False})
        except (KafkaException, TypeError, ValueError) as error:
            raise no_option(error) from error
        try:
            for place in consumer.committed(asked, PATIENCE):
                if place.error is not None:
                    raise meaning(place.error, place.topic, self._setting, ears)
                if place.offset >= 0:
                    found[self._names.partition(place.topic, place.partition)] = (place.offset, place.metadata)
        except KafkaException as error:
            raise meaning_of_reading(error.args[0], "", self._setting, ears) from error
        finally:
            consumer.close()
        return found

    def _marks(
        self, partition: LogPartition, first: int, end: int, committed: int | None, metadata: str | None
    ) -> Marks:
        if committed is None:
            return Marks(first, end)
        topic = self._names.topic(partition.tier)
        finished, problem = decode(metadata, topic, partition.number, committed, end)
        if committed > end:  # of a topic that was there before
            return Marks(first, end, committed, Runs(), f"offset {committed} is beyond the end of the log, {end}")
        return Marks(first, end, committed, finished, problem)
