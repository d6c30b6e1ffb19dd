"""The consumer of a crawl's log, in a thread of its own: it polls all the time, so that its group sees
it alive, whatever the event loop does. When the client breaks down it is made anew.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mocra_scrapy.backends.kafka.client import LOOK, Ears
from mocra_scrapy.backends.kafka.commits import Commits, Committed
from mocra_scrapy.backends.kafka.leaving import Departure
from mocra_scrapy.backends.kafka.log_names import TIERS, Log, LogPartition
from mocra_scrapy.backends.kafka.log_values import Commit, Gap, Headers, Raw, Recovered, Start, Trouble, Truncated
from mocra_scrapy.backends.kafka.look_ahead import LookAhead
from mocra_scrapy.backends.kafka.reading_client import make_reader
from mocra_scrapy.backends.kafka.reading_trouble import is_end_of_client, meaning_of_reading, out_of_step
from mocra_scrapy.backends.kafka.rebalance import Listener, Membership, Release
from mocra_scrapy.exceptions import MocraError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

logger = logging.getLogger(__name__)

#: Messages that one turn takes from the client.
AT_ONCE = 500
#: Seconds before a client that broke down is made anew.
REST = 1.0


class ReaderThread:
    """Of one worker and one crawl. Its methods may be called from other threads."""

    def __init__(self, log: Log, ahead: LookAhead, listener: Listener) -> None:
        self._log, self._names, self._options, self._ahead = log, log.names, log.options, ahead
        self._listener, self._tell, self._some = listener, listener.heard, listener.some
        self._ears = Ears(log.address)
        self._todo: queue.SimpleQueue[Callable[[Consumer, Membership], None]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._last: Mapping[LogPartition, Commit] = {}
        self._commits = Commits(log.names)
        self._paused: set[LogPartition] = set()
        self._begun: set[LogPartition] = set()
        self._stuck: set[LogPartition] = set()
        self._sought: set[LogPartition] = set()  # in this turn: what else it brought of them is of the past
        self._later: dict[LogPartition, Start] = {}
        self._trouble = ""
        self._leaves, self._until = False, 0.0
        self._thread = threading.Thread(target=self._run, name="mocra kafka reader", daemon=True)
        self.release = Release()

    def start(self) -> None:
        self._thread.start()

    def stop(self, commits: Mapping[LogPartition, Commit], timeout: float) -> bool:
        """Commit, leave the group, end. Blocks; ``False``: it did not end in time."""
        self._last, self._until = commits, time.monotonic() + 0.8 * timeout  # the rest is for its end
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # ------------------------------------------------------------------ what it is asked for

    def begin(self, starts: Mapping[LogPartition, Start]) -> None:
        """Read them from there on, if they are still this member's."""
        self._todo.put(lambda consumer, members: self._begin(consumer, members, starts))

    def read_anew(self, standing: Mapping[LogPartition, int]) -> None:
        """The client gives nothing of these, though there is something at that offset."""
        self._todo.put(lambda consumer, _: self._read_anew(consumer, standing))

    def commit(self, commits: Mapping[LogPartition, Commit], done: Committed) -> None:
        """*done* is called in this thread with the reasons of those that were not committed."""
        self._todo.put(lambda consumer, members: self._commits.begin(consumer, members, dict(commits), done))

    def _begin(self, consumer: Consumer, members: Membership, starts: Mapping[LogPartition, Start]) -> None:
        from confluent_kafka import KafkaException

        for partition, start in starts.items():
            self._later.pop(partition, None)
            if partition not in members.owned:
                continue
            self._ahead.begin(partition, start)
            place = self._place(partition, self._ahead.expected(partition) or 0)
            try:
                if partition in self._stuck:
                    # A client whose offset was out of range does not seek any more.
                    consumer.incremental_unassign([place])
                    consumer.incremental_assign([place])
                    self._stuck.discard(partition)
                else:
                    consumer.seek(place)
            except KafkaException as error:
                logger.debug("Partition %s can't be sought yet: %s", partition, error)
                self._ahead.drop((partition,))
                self._later[partition] = start
                continue
            consumer.resume([place])
            self._paused.discard(partition)
            self._begun.add(partition)

    def _read_anew(self, consumer: Consumer, standing: Mapping[LogPartition, int]) -> None:
        for partition, offset in standing.items():
            if partition not in self._begun or self._ahead.expected(partition) != offset:
                continue  # it went on, or is another worker's
            logger.warning("Kafka's client gives nothing of %s from offset %d on: it is read anew", partition, offset)
            self._assign_anew(consumer, partition, offset)

    def _assign_anew(self, consumer: Consumer, partition: LogPartition, offset: int) -> None:
        from confluent_kafka import KafkaException

        place = self._place(partition, offset)
        # The group may have taken it. If not, the next time assigns what this one could not.
        with contextlib.suppress(KafkaException):
            consumer.incremental_unassign([place])
        with contextlib.suppress(KafkaException):
            consumer.incremental_assign([place])
            consumer.resume([place])
        self._paused.discard(partition)

    def _place(self, partition: LogPartition, offset: int = -1) -> TopicPartition:
        from confluent_kafka import TopicPartition

        return TopicPartition(self._names.topic(partition.tier), partition.number, offset)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._with_a_client()
            except MocraError as error:
                self._is_troubled(error)
            except Exception as error:
                logger.exception("The reader of Kafka's log broke down; it begins anew")
                self._is_troubled(MocraError(str(error)))
            self._stop.wait(REST)

    def _with_a_client(self) -> None:
        """Until the client breaks down, or it is told to stop."""
        self._leaves = self._ears.unheard = False
        members = Membership(self._log, self._ahead, self.release, self._listener, self._is_going)
        self._ears.clear()
        consumer = make_reader(self._log, self._ears, self._commits.answered)
        departure = Departure(consumer, self._options.protocol)
        try:
            consumer.subscribe(
                list(self._names.topics().values()),
                on_assign=members.assigned,
                on_revoke=members.revoked,
                on_lost=members.lost,
            )
            while not self._stop.is_set():
                self._turn(consumer, members, departure)
            last = {partition: one for partition, one in self._last.items() if partition in members.owned}
            if last:
                members.commit_now(consumer, last)
        finally:
            members.give_up(set(members.owned), "its client ended")
            self._paused.clear()
            self._begun.clear()
            self._later.clear()
            self._stuck.clear()
            self._commits.give_up("the client ended")
            self._leaves = True
            until = self._until if self._stop.is_set() else time.monotonic() + REST
            departure.leave(until, lambda: self._ears.down or self._trouble)

    def _is_going(self) -> bool:
        """Nobody is to be told what the group gives this client, or asked what it takes."""
        return self._leaves or self._stop.is_set()

    def _turn(self, consumer: Consumer, members: Membership, departure: Departure) -> None:
        while True:
            try:
                do = self._todo.get_nowait()
            except queue.Empty:
                break
            do(consumer, members)
        if self._later:
            self._begin(consumer, members, dict(self._later))
        self._balance(consumer, members)
        first = consumer.poll(LOOK)  # consume() waits for company
        if first is not None:
            self._take(consumer, members, [first, *consumer.consume(AT_ONCE, 0)])
        elif self._ears.refused is not None or self._ears.down:
            self._is_troubled(self._ears.unavailable())
        if self._ears.unheard and departure.can_be_heard(self._place(LogPartition(TIERS[0], 0))):
            raise out_of_step()

    def _balance(self, consumer: Consumer, members: Membership) -> None:
        """Pause what is full, go on with what is not."""
        self._begun &= members.owned
        self._stuck &= members.owned
        self._paused &= self._begun
        full = self._ahead.full() & self._begun
        for partitions, change in ((full - self._paused, consumer.pause), (self._paused - full, consumer.resume)):
            if partitions:
                change([self._place(partition) for partition in partitions])
        self._paused = full

    def _take(self, consumer: Consumer, members: Membership, messages: Iterable[Message]) -> None:
        found: dict[LogPartition, list[Raw]] = defaultdict(list)
        self._sought.clear()
        for message in messages:
            error = message.error()
            if error is not None:
                self._put(consumer, found)  # the end of a partition comes behind what is in it
                self._failed(consumer, members, message, error)
                continue
            partition = self._names.partition(message.topic() or "", message.partition() or 0)
            _, written = message.timestamp()
            found[partition].append(
                Raw(message.offset() or 0, message.key(), message.value(), _headers(message), written / 1000)
            )
        self._put(consumer, found)
        for place, since, until in self._ahead.take_missing():
            logger.warning("Kafka has nothing at offsets %d to %d of %s: they are passed over", since, until - 1, place)
        self._some()

    def _put(self, consumer: Consumer, found: dict[LogPartition, list[Raw]]) -> None:
        for partition, raws in found.items():
            if partition not in self._sought and not self._ahead.put(partition, raws):
                self._seek_again(consumer, partition)
        if found:
            self._is_fine()
            found.clear()

    def _seek_again(self, consumer: Consumer, partition: LogPartition) -> None:
        """Something seems to be missing. Before it is believed, a fetch that has nothing of the last ones says so."""
        from confluent_kafka import KafkaException

        self._sought.add(partition)
        offset = self._ahead.expected(partition)
        logger.debug("Partition %s did not go on at %s", partition, offset)
        if offset is not None and self._ahead.is_sure(partition):
            self._assign_anew(consumer, partition, offset)
        elif offset is not None:
            with contextlib.suppress(KafkaException):  # it is no longer this member's
                consumer.seek(self._place(partition, offset))

    def _failed(self, consumer: Consumer, members: Membership, message: Message, error: KafkaError) -> None:
        """Raises MocraError: the client is to be made anew."""
        from confluent_kafka import KafkaError as Codes

        code, topic = error.code(), message.topic()
        if code == Codes._PARTITION_EOF and topic is not None:
            partition = self._names.partition(topic, message.partition() or 0)
            if partition not in self._sought and not self._ahead.at_end(partition, message.offset() or 0):
                self._seek_again(consumer, partition)
            self._is_fine()
        elif code in (Codes._AUTO_OFFSET_RESET, Codes.OFFSET_OUT_OF_RANGE) and topic is not None:
            partition = self._names.partition(topic, message.partition() or 0)
            position = self._ahead.expected(partition)
            self._stuck.add(partition)
            if position is not None and partition in self._begun:
                self._ahead.drop((partition,))
                self._begun.discard(partition)
                consumer.pause([self._place(partition)])
                self._tell(Truncated(partition, Gap("beyond", position)))
        else:
            trouble = meaning_of_reading(error, topic or "", self._log.setting, self._ears)
            if is_end_of_client(error):
                raise trouble
            self._is_troubled(trouble)

    def _is_troubled(self, error: MocraError) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            self._tell(Trouble(error))

    def _is_fine(self) -> None:
        if self._trouble:
            self._trouble = ""
            self._ears.clear()
            self._tell(Recovered())


def _headers(message: Message) -> Headers | None:
    found: Any = message.headers()  # a list, whatever its type says
    return None if found is None else tuple(found)
