"""Requests into a crawl's log, each stored by all in-sync replicas before :meth:`LogWriter.write` answers.

``produce()`` only puts a message into a queue, so the event loop's thread does that. A thread of its own
serves the client, where reports arrive; what brokers are asked for has threads that nobody waits for.

A request stands for its *token*. One that is on its way is not sent again, however often it is written:
a call that was given up goes on, and the next one waits for the same reports. So as long as the process
lives, an outage doubles nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mocra_scrapy._tasks import end_tasks, in_a_thread
from mocra_scrapy.backends.kafka.address import OPTIONS
from mocra_scrapy.backends.kafka.admin import Admin
from mocra_scrapy.backends.kafka.client import Ears, meaning, shortened
from mocra_scrapy.backends.kafka.log_message import message_of, place_of
from mocra_scrapy.backends.kafka.log_names import Log, LogPartition
from mocra_scrapy.backends.kafka.log_values import Outgoing, Refused, Written
from mocra_scrapy.backends.kafka.producer_thread import ProducerListener, ProducerThread, Report
from mocra_scrapy.backends.kafka.topics import TopicFacts, look_for_log
from mocra_scrapy.exceptions import BackendUnavailable, MocraError
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

logger = logging.getLogger(__name__)

#: Seconds without a report after which brokers are asked for the reason.
QUIET = 5.0
#: Bytes of a message beside its value, at most: what a broker counts, and a producer does not.
AROUND = 512


@dataclass(slots=True, eq=False)
class _Sent:
    """What was written, and nobody has forgotten yet.

    Attributes:
        on_way: the producer has it.
        alone: it was too large, at least with others: it is sent when nothing else is.
        round: which producer has it.
    """

    outgoing: Outgoing
    result: Written | Refused | None = None
    on_way: bool = False
    alone: bool = False
    round: int = 0
    error: MocraError | None = None


class LogWriter:
    """Of one worker and one crawl. Its methods are for one event loop's thread.

    Args:
        clock: epoch seconds.

    Attributes:
        doubtful: messages that a new producer wrote again because the old one had broken down, and
            that may be in the log twice.
    """

    def __init__(self, log: Log, clock: Callable[[], float] = time.time) -> None:
        self._log, self._names, self._clock = log, log.names, clock
        self._admin, self._ears = Admin(log.address), Ears(log.address)
        self._topics: dict[str, TopicFacts] = {}
        self._sent: dict[Hashable, _Sent] = {}
        self._on_way = 0
        self._heard = asyncio.Event()
        self._turn = asyncio.Lock()
        self._closed = False
        self._thread: ProducerThread | None = None
        self.doubtful = 0

    async def open(self) -> None:
        """Its topics are there, or are created where that is allowed.

        Raises:
            ConfigurationError: there are none, this user may not write, the password is wrong.
            BackendUnavailable: no broker answers.
        """
        self._topics = await look_for_log(self._admin, self._log)
        room = min((facts.number("max.message.bytes") or 2**30 for facts in self._topics.values()), default=2**30)
        listener = ProducerListener(self._reported, self._remade)
        self._thread = ProducerThread(self._log.address, self._ears, room, asyncio.get_running_loop(), listener)
        await in_a_thread(self._thread.start, "mocra kafka writer")

    async def write(self, batch: Sequence[Outgoing]) -> list[Written | Refused]:
        """Returns when each of *batch* is stored, or refused for good.

        Raises:
            BackendUnavailable: not now. What is on its way stays there: write the same tokens again.
            ConfigurationError: neither now nor later, as things are: a topic is gone, or may not be
                written.
        """
        sent = [self._sent.setdefault(outgoing.token, _Sent(outgoing)) for outgoing in batch]
        while True:
            self._heard.clear()
            await self._send([one for one in sent if not one.on_way and one.result is None])
            errors = [one.error for one in sent if one.error is not None]
            if errors:
                for one in sent:
                    one.error = None  # told; written again, it is sent again
                raise errors[0]
            left = [one for one in sent if one.result is None]
            if not left:
                return [one.result for one in sent if one.result is not None]
            if any(one.on_way for one in left):
                await self._hear()

    def forget(self, tokens: Iterable[Hashable]) -> None:
        """Nobody will write these again. Those on their way stay known."""
        for token in tokens:
            known = self._sent.get(token)
            if known is not None and not known.on_way:
                del self._sent[token]

    @property
    def remembered(self) -> int:
        """How many tokens it knows."""
        return len(self._sent)

    async def close(self, timeout: float = 5.0) -> None:
        """What is on its way has *timeout* seconds. May be called twice."""
        self._closed = True
        self._heard.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.stop(timeout)

    # ------------------------------------------------------------------ inside

    async def _send(self, some: Sequence[_Sent]) -> None:
        """Give *some* to the producer: all at once, or one by one where they must be alone."""
        if not some:
            return
        async with self._turn:
            for one in some:
                if one.on_way or one.result is not None or one.error is not None:
                    continue
                if one.alone:
                    await self._until(lambda: not self._on_way)
                await self._produce(one)
                if one.alone:
                    await self._until(lambda one=one: not one.on_way)  # type: ignore[misc]

    async def _produce(self, one: _Sent) -> None:
        """Raises BackendUnavailable: there is no room, and none comes about."""
        from confluent_kafka import KafkaException

        now = self._clock()
        message = message_of(one.outgoing, now)
        place = place_of(one.outgoing, 1, now)
        place = place_of(one.outgoing, self._topics[place.tier].partitions, now)
        while True:
            thread = self._ready()
            try:
                thread.produce(self._names.topic(place.tier), place.number, message, (one, place, thread.round))
            except BufferError:  # it empties as brokers answer
                self._heard.clear()
                await self._hear()
            except KafkaException as error:
                self._settle(one, place, error.args[0], None)
                return
            else:
                one.on_way, one.round = True, thread.round
                self._on_way += 1
                return

    def _ready(self) -> ProducerThread:
        if self._thread is None or self._closed:
            raise BackendUnavailable("the log's writer is closed")
        return self._thread

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._heard.clear()
            await self._hear()

    async def _hear(self) -> None:
        """Until a report comes.

        Raises:
            BackendUnavailable, ConfigurationError: none came for a while, and this is why.
        """
        try:
            await asyncio.wait_for(self._heard.wait(), QUIET)
        except asyncio.TimeoutError:
            self._ready()
            if self._ears.refused is not None:
                raise self._ears.unavailable() from None
            await self._ask_why()
        self._ready()

    async def _ask_why(self) -> None:
        """The producer keeps to itself why it waits. Ends at its next report, which may come long before brokers say
        a reason: one of them that stood still, for example, is asked for longer than messages wait for it.
        """
        looking = asyncio.ensure_future(look_for_log(self._admin, self._log))
        hearing = asyncio.ensure_future(self._heard.wait())
        try:
            await asyncio.wait([looking, hearing], return_when=asyncio.FIRST_COMPLETED)
            if not self._heard.is_set():
                self._topics = looking.result()
        finally:
            await end_tasks([looking, hearing])

    def _reported(self, reports: Iterable[Report]) -> None:
        """What became of messages."""
        for what, error, offset in reports:
            one, place, round_ = cast("tuple[_Sent, LogPartition, int]", what)
            if not one.on_way or one.round != round_:
                continue
            one.on_way = False
            self._on_way -= 1
            self._settle(one, place, error, offset)
        self._heard.set()

    def _settle(self, one: _Sent, place: LogPartition, error: KafkaError | None, offset: int | None) -> None:
        if error is None:
            one.result = Written(place, -1 if offset is None else offset)
        elif _is_too_large(error):
            if one.alone or not self._others(one):
                one.result = Refused(_too_large(one.outgoing))
            one.alone = True
        elif _is_of_message(error):
            one.result = Refused(shortened(error.str()))
        elif not _is_of_producer(error):  # of those nothing is told: the next producer sends it
            one.error = meaning(error, self._names.topic(place.tier), self._log.setting, self._ears)

    def _others(self, one: _Sent) -> bool:
        """Whether *one* may have been refused because of others in the same batch."""
        room = self._topics[place_of(one.outgoing, 1, self._clock()).tier].number("max.message.bytes")
        return room is None or len(one.outgoing.entry.body) + AROUND <= room

    def _remade(self, why: str) -> None:
        """There is a new producer; what the old one had and did not report may be there twice."""
        again = [one for one in self._sent.values() if one.on_way]
        for one in again:
            one.on_way = False
        self._on_way = 0
        self.doubtful += len(again)
        logger.warning(
            "Kafka's producer broke down and was made anew (%s); %s again", why, counted(len(again), "message")
        )
        self._heard.set()


def _is_too_large(error: KafkaError) -> bool:
    from confluent_kafka import KafkaError as Codes

    return error.code() in (Codes.MSG_SIZE_TOO_LARGE, Codes.INVALID_MSG_SIZE)


def _is_of_message(error: KafkaError) -> bool:
    """Whether it will be refused whenever it is sent."""
    from confluent_kafka import KafkaError as Codes

    return error.code() in (Codes.INVALID_RECORD, Codes.INVALID_MSG, Codes.INVALID_TIMESTAMP, Codes._INVALID_ARG)


def _is_of_producer(error: KafkaError) -> bool:
    """Whether the producer sends nothing any more."""
    from confluent_kafka import KafkaError as Codes

    return bool(error.fatal()) or error.code() in (Codes._FATAL, Codes._PURGE_QUEUE, Codes._PURGE_INFLIGHT)


def _too_large(outgoing: Outgoing) -> str:
    return (
        f"its {len(outgoing.entry.body)} bytes are too large for a message: raise max.message.bytes of the topic and"
        f" message.max.bytes in {OPTIONS}"
    )
