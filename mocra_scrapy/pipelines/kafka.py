"""``KafkaPipeline``: messages of a topic, each stored by all in-sync replicas before its page is done.

The producer is idempotent: what it repeats by itself is stored once. A topic has an item twice where
its page was fetched twice; messages carry the item's origin as headers, so that readers can tell.
The client blocks, so it has a thread of its own.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.client import need_client
from mocra_scrapy.backends.kafka.producer import Sender
from mocra_scrapy.exceptions import BackendUnavailable, ItemRefused, SinkUnavailable
from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.sink import StoredItem
from mocra_scrapy.settings.sinks import KafkaItemsOptions, read_kafka_items

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

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
        self._sender = Sender(address, options.topic, TOPIC)
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
