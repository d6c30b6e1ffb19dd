"""The harness of Kafka's queue: a real broker, over the state of the memory backend or of Redis."""

from __future__ import annotations

import time
from typing import Any

from mocra_scrapy.backends.composite import KafkaBackend
from mocra_scrapy.interfaces import IBackend
from mocra_scrapy.models.log import LogOptions
from tests.services.kafka_broker import KafkaBroker

from .memory_harness import MemoryHarness


class OnKafka:
    """What both have in common. Brokers go by real time: what waits in a topic is moved by moving the
    reader's clock.
    """

    broker: KafkaBroker
    passed, is_late = 0.0, True

    def over(self, state: IBackend) -> IBackend:
        log = LogOptions(partitions=2, replication=1, min_insync=1, create=True, session_timeout=6.0)
        prefix = f"t{self.name}"
        return KafkaBackend(
            f"kafka://{self.broker.bootstrap}", state, prefix=prefix, log=log, clock=lambda: time.time() + self.passed
        )

    @property
    def name(self) -> str:
        raise NotImplementedError

    async def delete_topics(self) -> None:
        admin = self.broker.admin()
        mine = [topic for topic in admin.list_topics(timeout=30).topics if topic.startswith(f"t{self.name}.")]
        for future in admin.delete_topics(mine).values() if mine else ():
            future.result(30)


class KafkaOverMemory(OnKafka, MemoryHarness):
    def __init__(self, broker: KafkaBroker) -> None:
        super().__init__()
        self.broker = broker

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def make_backend(self) -> IBackend:
        return self.over(super().make_backend())

    second_backend = make_backend

    @property
    def store(self) -> Any:
        return self.backends[0].state._store  # type: ignore[attr-defined]

    async def advance(self, seconds: float) -> None:
        self.passed += seconds
        await super().advance(seconds)

    async def stop(self) -> None:
        await super().stop()
        await self.delete_topics()
