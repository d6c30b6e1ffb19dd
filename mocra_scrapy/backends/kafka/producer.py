"""Messages to a topic, each stored by all in-sync replicas when :meth:`Sender.send` returns. Blocks: one
thread calls it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mocra_scrapy.backends.kafka.address import OPTIONS, KafkaAddress
from mocra_scrapy.backends.kafka.admin import check_topic
from mocra_scrapy.backends.kafka.client import LOOK, Ears, make_producer, meaning, shortened
from mocra_scrapy.exceptions import BackendUnavailable

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

#: Seconds without an answer after which brokers are asked for the reason.
QUIET = 5.0

#: Brokers don't say that it is this.
NO_KEY = ". It has no key: a compacted topic takes none without"

#: What is sent: an object that stands for it, and what ``produce()`` takes.
Outgoing = tuple[object, dict[str, Any]]


@dataclass(slots=True, eq=False)
class _Sent:
    """A message on its way. *token* keeps its address its own."""

    token: object
    done: bool = False
    error: KafkaError | None = None

    def report(self, error: KafkaError | None, _message: Message | None) -> None:
        self.done, self.error = True, error


class Sender:
    """Of one topic.

    A call that was given up goes on in the producer. When its messages are sent again, which their
    tokens tell, they are only waited for: as long as the process lives, an outage doubles nothing.

    Args:
        setting: that names the topic.
    """

    def __init__(self, address: KafkaAddress, topic: str, setting: str) -> None:
        self._address, self._topic, self._setting = address, topic, setting
        self._ears = Ears(address)
        self._checked = False
        self._producer: Producer | None = None
        #: By the address of their tokens: what nobody has been told of yet.
        self._sent: dict[int, _Sent] = {}

    def check(self, given_up: Callable[[], bool]) -> None:
        check_topic(self._address, self._ears, self._topic, self._setting, given_up)
        self._checked = True

    def close(self, _given_up: Callable[[], bool]) -> None:
        """Drop the producer, and what it still has."""
        producer, self._producer, self._checked = self._producer, None, False
        self._sent.clear()
        if producer is not None:
            producer.purge()
            producer.poll(0)

    def send(self, batch: Sequence[Outgoing], given_up: Callable[[], bool]) -> dict[int, str]:
        """Returns when each message of *batch* is stored or refused; the refused ones, with the
        reason.

        Those that are too large together are sent again in halves: a broker refuses what a producer
        has put together as a whole.

        Raises:
            BackendUnavailable, ConfigurationError: not now, for some of them at least.
        """
        if not any(id(token) in self._sent for token, _ in batch):
            self._sent = {at: sent for at, sent in self._sent.items() if not sent.done}
        refused: dict[int, str] = {}
        parts = [list(range(len(batch)))]
        while parts:
            part, large = parts.pop(), []
            for at, error in self._round(batch, part, given_up).items():
                if _is_too_large(error):
                    large.append(at)
                elif _is_of_message(error):
                    refused[at] = shortened(error.str()) + ("" if "key" in batch[at][1] else NO_KEY)
                else:
                    raise meaning(error, self._topic, self._setting, self._ears)
            if large and len(part) == 1:
                refused[large[0]] = _too_large(batch[large[0]][1])
            elif large:
                middle = (len(large) + 1) // 2
                parts += [some for some in (large[middle:], large[:middle]) if some]
        if not refused:  # or those that are stored are written once more, without the refused ones
            for token, _ in batch:
                self._sent.pop(id(token), None)
        return refused

    def _round(
        self, batch: Sequence[Outgoing], part: Sequence[int], given_up: Callable[[], bool]
    ) -> dict[int, KafkaError]:
        """Send *part* of *batch*, and wait for the reports of all. Those that failed, with the error.

        Raises:
            BackendUnavailable, ConfigurationError: nobody waits any longer; or no broker is there, the
                topic is gone, or may not be written.
        """
        producer = self._ready(given_up)
        for at in part:
            token, message = batch[at]
            if id(token) not in self._sent:
                self._sent[id(token)] = self._produce(producer, token, message, given_up)
        waiting = [self._sent[id(batch[at][0])] for at in part]
        heard = time.monotonic()
        while not all(sent.done for sent in waiting):
            before = len(producer)
            if producer.flush(LOOK) < before:
                heard = time.monotonic()
            if self._ears.refused is not None or given_up():
                raise self._ears.unavailable()
            if time.monotonic() - heard > QUIET:
                self._ask_why(producer, given_up)
                heard = time.monotonic()
        failed = {at: sent.error for at, sent in zip(part, waiting, strict=True) if sent.error is not None}
        for at in failed:
            del self._sent[id(batch[at][0])]
        if any(error.fatal() for error in failed.values()):
            self.close(given_up)  # it sends nothing any more
        return failed

    def _ask_why(self, producer: Producer, given_up: Callable[[], bool]) -> None:
        """The producer keeps to itself why it waits. Ends at its next report, which may come long before brokers say
        a reason.
        """
        left = len(producer)

        def is_enough() -> bool:
            producer.poll(0)
            return len(producer) < left or given_up()

        try:
            self.check(is_enough)
        except BackendUnavailable:
            if len(producer) == left:
                raise

    def _ready(self, given_up: Callable[[], bool]) -> Producer:
        if self._producer is None:
            if not self._checked:
                self.check(given_up)
            self._producer = make_producer(self._address, self._ears)
        self._ears.clear()
        return self._producer

    def _produce(
        self, producer: Producer, token: object, message: dict[str, Any], given_up: Callable[[], bool]
    ) -> _Sent:
        from confluent_kafka import KafkaException

        sent = _Sent(token)
        while True:
            try:
                producer.produce(self._topic, **message, on_delivery=sent.report)
            except BufferError as error:  # it empties as brokers answer
                producer.poll(LOOK)
                if given_up():
                    raise self._ears.unavailable() from error
            except KafkaException as error:
                sent.report(error.args[0], None)
                return sent
            else:
                producer.poll(0)
                return sent


def _is_too_large(error: KafkaError) -> bool:
    from confluent_kafka import KafkaError as Codes

    return error.code() in (Codes.MSG_SIZE_TOO_LARGE, Codes.INVALID_MSG_SIZE)


def _is_of_message(error: KafkaError) -> bool:
    """Whether it will be refused whenever it is sent."""
    from confluent_kafka import KafkaError as Codes

    return error.code() in (Codes.INVALID_RECORD, Codes.INVALID_MSG, Codes.INVALID_TIMESTAMP, Codes._INVALID_ARG)


def _too_large(message: dict[str, Any]) -> str:
    return (
        f"its {len(message['value'])} bytes are too large for a message: raise max.message.bytes of the topic and"
        f" message.max.bytes in {OPTIONS}"
    )
