"""``KafkaPipeline``: messages of a topic, each stored by all in-sync replicas before its page is done.

The producer is idempotent: what it repeats by itself is stored once. A topic has an item twice where
its page was fetched twice; messages carry the item's origin as headers, so that readers can tell.
The client blocks, so it has a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from mocra_scrapy.backends.kafka.address import OPTIONS, KafkaAddress, read_address
from mocra_scrapy.backends.kafka.client import LOOK, Ears, check_topic, make_producer, meaning, need_client, shortened
from mocra_scrapy.exceptions import BackendUnavailable, ItemRefused, SinkUnavailable
from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.settings.sinks import KafkaItemsOptions, read_kafka_items

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer
    from scrapy.settings import BaseSettings

#: What is sent: an item, and what ``produce()`` takes.
_Message = tuple[StoredItem, dict[str, Any]]

TOPIC = "MOCRA_KAFKA_ITEMS_TOPIC"
#: What headers of an item's origin begin with.
PREFIX = "mocra-"
#: Seconds without a broker after which a write is told to be hopeless for now.
AWAY = 5.0


class KafkaPipeline(BatchPipeline):
    """At least once; see ``docs/guides/store-items``."""

    kind = "kafka"

    @classmethod
    def make_sink(cls, settings: BaseSettings, place: Place) -> KafkaSink:
        return KafkaSink(read_kafka_items(settings), origin=bool(place.field))


class KafkaSink:
    """See :class:`~mocra_scrapy.pipelines.sink.Sink`. *origin*: whether messages say of which page
    they are.
    """

    def __init__(self, options: KafkaItemsOptions, *, origin: bool) -> None:
        address = read_address("MOCRA_KAFKA_ITEMS_URL", options.url, options.options)
        self.name = f"topic {options.topic} of kafka://{address.bootstrap}"
        self._options, self._origin = options, origin
        self._sender = _Sender(address, options.topic)
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        need_client("ITEM_PIPELINES", "KafkaPipeline")
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "mocra-kafka")
        await self._in_thread(self._sender.check)

    async def write(self, batch: Sequence[StoredItem]) -> None:
        messages, refused = [], {}
        for at, item in enumerate(batch):
            try:
                messages.append(self._message(item))
            except ItemRefused as error:
                refused[at] = error.reason
        if refused:
            raise ItemRefused(next(iter(refused.values())), refused)
        refused = await self._in_thread(self._sender.send, list(zip(batch, messages, strict=True)))
        if refused:
            raise ItemRefused(next(iter(refused.values())), refused)

    async def close(self) -> None:
        if self._thread is not None:
            try:
                await self._in_thread(self._sender.close)
            finally:
                self._thread.shutdown(wait=False)

    # ------------------------------------------------------------------ inside

    async def _in_thread(self, call: Callable[..., Any], *arguments: object) -> Any:
        """Its thread learns that nobody waits any longer, and ends soon."""
        given_up = threading.Event()
        try:
            work = partial(call, *arguments, given_up.is_set)
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except BackendUnavailable as error:
            raise SinkUnavailable(str(error)) from error
        finally:
            given_up.set()

    def _message(self, item: StoredItem) -> dict[str, Any]:
        """What ``produce()`` takes."""
        message: dict[str, Any] = {"value": item.text}
        key, wanted = self._options.key, self._options.headers
        fields = json.loads(item.text) if key or wanted else {}
        if key:
            for name in key:
                if fields.get(name) is None:
                    raise ItemRefused(f"field {name!r} of MOCRA_KAFKA_ITEMS_KEY is missing or None")
            message["key"] = _text(fields[key[0]]) if len(key) == 1 else _json([fields[name] for name in key])
        headers = [(name, _text(fields[name])) for name in wanted if fields.get(name) is not None]
        if self._origin:
            headers += [(PREFIX + name, _text(value)) for name, value in item.origin.items()]
        if headers:
            message["headers"] = headers
        return message


def _text(value: Any) -> bytes:
    return value.encode(errors="backslashreplace") if isinstance(value, str) else _json(value)


def _json(value: Any) -> bytes:
    return _text(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


@dataclass(slots=True, eq=False)
class _Sent:
    """A message on its way. *item* keeps its address its own."""

    item: StoredItem
    done: bool = False
    error: KafkaError | None = None

    def report(self, error: KafkaError | None, _message: Message | None) -> None:
        self.done, self.error = True, error


class _Sender:
    """The producer. Blocks; one thread calls it.

    A write that was given up goes on in the producer. When its items are written again they are not
    sent again, but waited for: as long as the process lives, an outage doubles nothing.
    """

    def __init__(self, address: KafkaAddress, topic: str) -> None:
        self._address, self._topic = address, topic
        self._ears = Ears(address)
        self._checked = False
        self._producer: Producer | None = None
        #: By the address of their items: what nobody has been told of yet.
        self._sent: dict[int, _Sent] = {}

    def check(self, given_up: Callable[[], bool]) -> None:
        check_topic(self._address, self._ears, self._topic, TOPIC, given_up)
        self._checked = True

    def close(self, _given_up: Callable[[], bool]) -> None:
        """Drop the producer, and what it still has."""
        producer, self._producer, self._checked = self._producer, None, False
        self._sent.clear()
        if producer is not None:
            producer.purge()
            producer.poll(0)

    def send(self, batch: Sequence[_Message], given_up: Callable[[], bool]) -> dict[int, str]:
        """Returns when each message of *batch* is stored or refused; the refused ones, with the
        reason.

        Those that are too large together are sent again in halves: a broker refuses what a producer
        has put together as a whole.

        Raises:
            BackendUnavailable, ConfigurationError: not now, for some of them at least.
        """
        if not any(id(item) in self._sent for item, _ in batch):
            self._sent = {at: sent for at, sent in self._sent.items() if not sent.done}
        refused: dict[int, str] = {}
        parts = [list(range(len(batch)))]
        while parts:
            part, large = parts.pop(), []
            for at, error in self._round(batch, part, given_up).items():
                if _is_too_large(error):
                    large.append(at)
                elif _is_of_message(error):
                    refused[at] = shortened(error.str())
                else:
                    raise meaning(error, self._topic, TOPIC, self._ears)
            if large and len(part) == 1:
                refused[large[0]] = _too_large(batch[large[0]][0])
            elif large:
                middle = (len(large) + 1) // 2
                parts += [some for some in (large[middle:], large[:middle]) if some]
        if not refused:  # or those that are stored are written once more, without the refused ones
            for item, _ in batch:
                self._sent.pop(id(item), None)
        return refused

    def _round(
        self, batch: Sequence[_Message], part: Sequence[int], given_up: Callable[[], bool]
    ) -> dict[int, KafkaError]:
        """Send *part* of *batch*, and wait for the reports of all. Those that failed, with the error.

        Raises:
            BackendUnavailable, ConfigurationError: nobody waits any longer, or no broker is there.
        """
        producer = self._ready(given_up)
        for at in part:
            item, message = batch[at]
            if id(item) not in self._sent:
                self._sent[id(item)] = self._produce(producer, item, message, given_up)
        waiting = [self._sent[id(batch[at][0])] for at in part]
        there = time.monotonic()
        while not all(sent.done for sent in waiting):
            before = len(producer)
            if producer.flush(LOOK) < before:
                self._ears.clear()  # it was heard
            if not self._ears.down:
                there = time.monotonic()
            if self._ears.refused is not None or given_up() or time.monotonic() - there > AWAY:
                raise self._ears.unavailable()
        failed = {at: sent.error for at, sent in zip(part, waiting, strict=True) if sent.error is not None}
        for at in failed:
            del self._sent[id(batch[at][0])]
        if any(error.fatal() for error in failed.values()):
            self.close(given_up)  # it sends nothing any more
        return failed

    def _ready(self, given_up: Callable[[], bool]) -> Producer:
        if self._producer is None:
            if not self._checked:
                self.check(given_up)
            self._producer = make_producer(self._address, self._ears)
        self._ears.clear()
        return self._producer

    def _produce(
        self, producer: Producer, item: StoredItem, message: dict[str, Any], given_up: Callable[[], bool]
    ) -> _Sent:
        from confluent_kafka import KafkaException

        sent = _Sent(item)
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


def _too_large(item: StoredItem) -> str:
    return (
        f"its {item.size} bytes are too large for a message: raise max.message.bytes of the topic and"
        f" message.max.bytes in {OPTIONS}"
    )
