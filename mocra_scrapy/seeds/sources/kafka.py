"""Seeds from a topic of Kafka. Its offsets are positions, kept with the crawl: no group is joined."""

from __future__ import annotations

import asyncio
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.client import need_client
from mocra_scrapy.backends.kafka.seed_topic import KafkaSeedTopic
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.seeds.source import Found

if TYPE_CHECKING:
    from mocra_scrapy.settings.seeds import SeedOptions, Source

logger = logging.getLogger(__name__)


class KafkaSource:
    """All partitions of a topic, read by one worker; in the order of each.

    Raises:
        ConfigurationError: the client is missing, or the address is wrong.
    """

    is_over, is_endless = False, True

    def __init__(self, source: Source, options: SeedOptions) -> None:
        self.name = source.name
        need_client("MOCRA_SEEDS", f"{source.name!r}")
        url = source.options.get("url") or options.kafka
        if url is None:
            raise ConfigurationError(
                "MOCRA_SEEDS_KAFKA", f"{source.name!r} is a topic, and no broker is named", "Set kafka://host:9092"
            )
        address = read_address("MOCRA_SEEDS_KAFKA", str(url), options.kafka_options)
        self._topic = KafkaSeedTopic(address, source.address, "MOCRA_SEEDS")
        self._offsets: dict[int, int] = {}
        self._thread: ThreadPoolExecutor | None = None

    @property
    def position(self) -> bytes:
        return json.dumps(self._offsets).encode()

    async def begin(self, position: bytes | None, run: int) -> None:
        """Read on, in whatever run."""
        await self.close()
        try:
            self._offsets = {int(partition): int(at) for partition, at in json.loads(position or b"{}").items()}
        except (ValueError, TypeError, AttributeError):
            logger.warning("The position of %s can't be read: it is read anew", self.name)
            self._offsets = {}

    async def read(self, want: int) -> list[Found]:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "mocra-kafka-seeds")
        loop, offsets = asyncio.get_running_loop(), dict(self._offsets)
        messages = await loop.run_in_executor(self._thread, self._topic.read, offsets, want)
        for message in messages:
            self._offsets[message.partition] = message.offset + 1
        return [Found(message.value, f"{message.partition}:{message.offset}") for message in messages if message.value]

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._topic.close)
            thread.shutdown(wait=False)
