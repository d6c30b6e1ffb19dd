"""Records as messages of a Kafka topic."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mocra_scrapy._tasks import in_a_thread
from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.admin import check_topic
from mocra_scrapy.backends.kafka.client import LOOK, Ears, make_producer, meaning, need_client
from mocra_scrapy.events.sink import Refused
from mocra_scrapy.exceptions import ConfigurationError

if TYPE_CHECKING:
    from mocra_scrapy.backends.kafka.address import KafkaAddress
    from mocra_scrapy.events.envelope import Record
    from mocra_scrapy.settings.events import SinkOptions


class KafkaSink:
    """One message each: the record as JSON. Its key is the crawl, so that the events of a crawl are in
    one partition, in order; the header ``event`` is their kind. Stored by all in-sync replicas.

    The client blocks, so each batch has a thread that nobody waits for.

    Raises:
        ConfigurationError: confluent-kafka is missing, or the URL is wrong.
    """

    linger = 0.1

    def __init__(self, options: SinkOptions, kafka_options: Mapping[str, Any]) -> None:
        subject = f"MOCRA_EVENTS[{options.name!r}]"
        need_client(subject, "it")
        assert options.url is not None
        assert options.topic is not None
        self.timeout = options.timeout
        address = read_address(f"{subject}['url']", options.url, kafka_options)
        self._sender = _Sender(address, options.topic, f"{subject}['topic']")

    async def send(self, records: Sequence[Record]) -> None:
        given_up = threading.Event()
        messages = [_message(record) for record in records]
        try:
            await in_a_thread(partial(self._sender.send, messages, given_up.is_set), "mocra events kafka")
        except ConfigurationError as error:
            raise Refused(str(error)) from error
        finally:
            given_up.set()

    async def close(self) -> None:
        await in_a_thread(self._sender.close, "mocra events kafka")


def _message(record: Record) -> dict[str, Any]:
    """What ``produce()`` takes."""
    key = record.source.crawl or record.source.project or ""
    headers = [("event", record.event.name.encode()), ("id", record.id.encode())]
    return {"value": record.encoded, "key": key.encode(), "headers": headers}


class _Sender:
    """The producer. Blocks; a batch whose time is over may still be here when the next one comes."""

    def __init__(self, address: KafkaAddress, topic: str, setting: str) -> None:
        self._address, self._topic, self._setting = address, topic, setting
        self._ears = Ears(address)
        self._turn = threading.Lock()
        self._producer: Any = None

    def send(self, messages: Sequence[dict[str, Any]], given_up: Callable[[], bool]) -> None:
        """Returns when all *messages* are stored.

        Raises:
            BackendUnavailable: not now.
            ConfigurationError: neither now nor later, as things are.
        """
        with self._turn:
            try:
                self._send(messages, given_up)
            except BaseException:
                self._drop()  # it would go on with them
                raise

    def _send(self, messages: Sequence[dict[str, Any]], given_up: Callable[[], bool]) -> None:
        if self._producer is None:
            # It says what is wrong, as a producer does not.
            check_topic(self._address, self._ears, self._topic, self._setting, given_up)
            self._producer = make_producer(self._address, self._ears)
        self._ears.clear()
        producer, told = self._producer, list[Any]()
        for message in messages:
            self._produce(producer, message, told, given_up)
        while len(told) < len(messages):
            producer.flush(LOOK)
            if self._ears.refused is not None or given_up():
                raise self._ears.unavailable()
        failed = [error for error in told if error is not None]
        if failed:
            raise meaning(failed[0], self._topic, self._setting, self._ears)

    def _produce(self, producer: Any, message: dict[str, Any], told: list[Any], given_up: Callable[[], bool]) -> None:
        while True:
            try:
                producer.produce(self._topic, **message, on_delivery=lambda error, _: told.append(error))
            except BufferError as error:  # it empties as brokers answer
                producer.poll(LOOK)
                if given_up():
                    raise self._ears.unavailable() from error
            else:
                producer.poll(0)
                return

    def close(self) -> None:
        """What it still has is dropped."""
        with self._turn:
            self._drop()

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.purge()
            producer.poll(0)
