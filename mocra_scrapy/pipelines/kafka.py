"""``KafkaPipeline``: messages of a topic, each stored by all in-sync replicas before its page is done.

The producer is idempotent: what it repeats by itself is stored once. A topic has an item twice where
its page was fetched twice, and where a batch was given up and written again; messages carry the
item's origin as headers, so that readers can tell. The client blocks, so it has a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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

logger = logging.getLogger(__name__)

TOPIC = "MOCRA_KAFKA_ITEMS_TOPIC"
#: What headers of an item's origin begin with.
PREFIX = "mocra-"


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
    return value.encode() if isinstance(value, str) else _json(value)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


_Sent = tuple[StoredItem, dict[str, Any]]


class _Sender:
    """The producer. Blocks; one thread calls it."""

    def __init__(self, address: KafkaAddress, topic: str) -> None:
        self._address, self._topic = address, topic
        self._ears = Ears(address)
        self._checked = False
        self._producer: Producer | None = None
        #: Of a batch of which others failed: what is written again is not sent again.
        self._stored: dict[int, StoredItem] = {}

    def check(self, given_up: Callable[[], bool]) -> None:
        check_topic(self._address, self._ears, self._topic, TOPIC, given_up)
        self._checked = True

    def close(self, _given_up: Callable[[], bool]) -> None:
        """Drop the producer: what it still has is somebody else's by now."""
        producer, self._producer, self._checked = self._producer, None, False
        if producer is not None:
            producer.purge()
            producer.poll(0)

    def send(self, batch: Sequence[_Sent], given_up: Callable[[], bool]) -> dict[int, str]:
        """Returns when each message of *batch* is stored or refused; the refused ones, with the
        reason.

        Raises:
            BackendUnavailable, ConfigurationError: not now, for some of them at least.
        """
        if not any(id(item) in self._stored for item, _ in batch):
            self._stored.clear()
        left = {at: sent for at, sent in enumerate(batch) if id(sent[0]) not in self._stored}
        refused: dict[int, str] = {}
        try:
            self._deliver(left, refused, given_up)
        except BaseException:
            self.close(given_up)  # it would go on with them
            raise
        if not refused:
            for item, _ in batch:
                self._stored.pop(id(item), None)
        return refused

    def _deliver(self, messages: dict[int, _Sent], refused: dict[int, str], given_up: Callable[[], bool]) -> None:
        """Those that are too large together are sent in halves: a broker refuses what a producer has
        put together as a whole.
        """
        parts = [messages] if messages else []
        while parts:
            part = parts.pop()
            reports = self._round(part, given_up)
            large = []
            for at, error in reports.failed.items():
                if _is_too_large(error):
                    large.append(at)
                elif _is_of_message(error):
                    refused[at] = shortened(error.str())
                else:
                    raise meaning(error, self._topic, TOPIC, self._ears)
            if large and len(part) == 1:
                refused[large[0]] = _too_large(part[large[0]][0])
            elif large:
                middle = (len(large) + 1) // 2
                parts += [{at: part[at] for at in some} for some in (large[middle:], large[:middle]) if some]

    def _round(self, part: dict[int, _Sent], given_up: Callable[[], bool]) -> _Reports:
        """Send *part*, and wait for the reports of all.

        Raises:
            BackendUnavailable, ConfigurationError: nobody waits any longer, or will get them.
        """
        producer, reports = self._ready(given_up), _Reports()
        try:
            for at, (_, message) in part.items():
                self._produce(producer, at, message, reports, given_up)
            told = False
            while reports.seen < len(part):
                producer.flush(LOOK)
                if self._ears.refused is not None or given_up():
                    raise self._ears.unavailable()
                if self._ears.down and not told:
                    told = True
                    logger.warning("%s. The client goes on trying", self._ears.unavailable())
        finally:
            self._stored.update((id(part[at][0]), part[at][0]) for at in reports.stored)
        return reports

    def _ready(self, given_up: Callable[[], bool]) -> Producer:
        if self._producer is None:
            if not self._checked:
                self.check(given_up)  # it says what is wrong, as a producer does not
            self._producer = make_producer(self._address, self._ears)
        self._ears.clear()
        return self._producer

    def _produce(
        self, producer: Producer, at: int, message: dict[str, Any], reports: _Reports, given_up: Callable[[], bool]
    ) -> None:
        from confluent_kafka import KafkaException

        while True:
            try:
                producer.produce(self._topic, **message, on_delivery=partial(reports.add, at))
            except BufferError as error:  # it empties as brokers answer
                producer.poll(LOOK)
                if given_up():
                    raise self._ears.unavailable() from error
            except KafkaException as error:
                reports.add(at, error.args[0], None)
                return
            else:
                producer.poll(0)
                return


class _Reports:
    """What brokers said to each message of a round."""

    def __init__(self) -> None:
        self.seen = 0
        self.stored: list[int] = []
        self.failed: dict[int, KafkaError] = {}

    def add(self, at: int, error: KafkaError | None, _message: Message | None) -> None:
        self.seen += 1
        if error is None:
            self.stored.append(at)
        else:
            self.failed[at] = error


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
