"""Where the partitions of a crawl's log stand, whoever reads them: for the end of a crawl, for resets,
for whoever takes a partition over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from mocra_scrapy._tasks import in_a_thread
from mocra_scrapy.backends.kafka.admin import Admin
from mocra_scrapy.backends.kafka.client import DOWN, PATIENCE, Ears, meaning, no_option
from mocra_scrapy.backends.kafka.log_names import Log, LogPartition
from mocra_scrapy.backends.kafka.log_values import Marks
from mocra_scrapy.backends.kafka.metadata import decode
from mocra_scrapy.backends.kafka.offsets import Runs

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition

T = TypeVar("T")
#: Seconds for which the numbers of partitions are remembered.
FRESH = 30.0
#: Seconds of one question for what is committed, and before it is asked again.
SLICE, AGAIN = 2.0, 0.1


class OffsetLookup:
    """Of one crawl. Its methods are for an event loop's thread; each call has a thread of its own, which
    nobody waits for when it is cancelled.

    All of them raise BackendUnavailable (no broker answers, or not about all of it; worth repeating) and
    ConfigurationError (a topic is missing, this user may not look).
    """

    def __init__(self, log: Log) -> None:
        self._admin, self._names, self._setting = Admin(log.address), log.names, log.setting
        self._ears = Ears(log.address)
        self._consumer: Consumer | None = None
        self._making = threading.Lock()
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
        return await in_a_thread(work, "mocra kafka lookup")

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
        from confluent_kafka import KafkaException, TopicPartition

        asked = [TopicPartition(self._names.topic(partition.tier), partition.number) for partition in some]
        found: dict[LogPartition, tuple[int | None, str | None]] = dict.fromkeys(some, (None, None))
        if not asked:
            return found
        client, began = self._group(), time.monotonic()
        while True:
            try:
                places = client.committed(asked, timeout=SLICE)
                break
            except KafkaException as error:
                if self._ears.refused is not None or error.args[0].code() not in _not_yet():
                    raise meaning(error.args[0], f"{self._names.group} (group)", self._setting, self._ears) from error
                waited = time.monotonic() - began
                if waited > PATIENCE or (self._ears.down and waited > DOWN):
                    raise self._ears.unavailable() from error
            time.sleep(AGAIN)
        for place in places:
            if place.error is not None:
                raise meaning(place.error, place.topic, self._setting, self._ears)
            if place.offset >= 0:
                found[self._names.partition(place.topic, place.partition)] = (place.offset, place.metadata)
        return found

    def _group(self) -> Consumer:
        """A client that knows the group, and is no member. An AdminClient can't be asked: where a coordinator
        answers that it is not ready or not the one, librdkafka takes it for a consumer, and the process dies.
        """
        from confluent_kafka import Consumer, KafkaException

        with self._making:
            self._ears.clear()
            if self._consumer is None:
                ours = {"group.id": self._names.group, "enable.auto.commit": False}
                try:
                    self._consumer = Consumer({**self._ears.config(), **ours})
                except (KafkaException, TypeError, ValueError) as error:
                    raise no_option(error) from error
            return self._consumer

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


def _not_yet() -> frozenset[int]:
    """Answers after which the question is worth repeating."""
    from confluent_kafka import KafkaError as Codes

    return frozenset(
        {
            Codes._TIMED_OUT,
            Codes._WAIT_COORD,
            Codes._TRANSPORT,
            Codes._ALL_BROKERS_DOWN,
            Codes.COORDINATOR_LOAD_IN_PROGRESS,
            Codes.COORDINATOR_NOT_AVAILABLE,
            Codes.NOT_COORDINATOR,
        }
    )
