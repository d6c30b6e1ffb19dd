"""The harnesses of Kafka's queue: real brokers, over the state of the memory backend or of a real Redis."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from mocra_scrapy.backends.composite import KafkaBackend
from mocra_scrapy.backends.kafka.log_names import LogNames
from mocra_scrapy.interfaces import IBackend, IRequestQueue
from mocra_scrapy.models.log import LogOptions

from .harness import Harness
from .memory_harness import MemoryHarness
from .redis_harness import RedisHarness

#: More than any test stores, so that all of it may be leased at once, as the rules say of a whole queue.
WINDOW = 50_000


class Brokers(Protocol):
    """One broker or several."""

    @property
    def bootstrap(self) -> str: ...

    def admin(self) -> Any: ...


class OnKafka:
    """What both have in common. Brokers go by real time: what waits in a topic is moved by moving the
    reader's clock.

    Attributes:
        copies: of each partition.
    """

    broker: Brokers
    copies = 1
    passed, is_late = 0.0, True

    def over(self, state: IBackend) -> IBackend:
        log = LogOptions(
            partitions=2,
            replication=self.copies,
            min_insync=min(2, self.copies),
            create=True,
            session_timeout=6.0,
            window=WINDOW,
        )
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
    def __init__(self, broker: Brokers, copies: int = 1) -> None:
        super().__init__()
        self.broker, self.copies = broker, copies

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    def make_backend(self) -> IBackend:
        return self.over(super().make_backend())

    second_backend = make_backend

    @property
    def store(self) -> Any:
        return self.backends[0].state._store  # type: ignore[attr-defined]

    def another(self) -> Harness:
        return type(self)(self.broker, self.copies)

    async def advance(self, seconds: float) -> None:
        self.passed += seconds
        await super().advance(seconds)

    async def stop(self) -> None:
        await super().stop()
        await self.delete_topics()


class KafkaOverRedis(OnKafka, RedisHarness):
    #: Each step begins with two workers that join the group.
    stride = 50
    in_background = frozenset({"feed", "log_look", "log_begin"})

    def __init__(self, broker: Brokers, url: str, copies: int = 1) -> None:
        super().__init__(url)
        self.broker, self.copies = broker, copies

    @property
    def name(self) -> str:
        return self.prefix.removeprefix("t")

    def make_backend(self) -> IBackend:
        return self.over(super().make_backend())

    second_backend = make_backend

    answers_lost = Harness.whole_answers_lost

    def another(self) -> Harness:
        return type(self)(self.broker, self.url, self.copies)

    def clients(self) -> list[Any]:
        return [backend.state._client for backend in self.backends]  # type: ignore[attr-defined]

    def on_server(self, queue: IRequestQueue) -> Any:
        return queue.window  # type: ignore[attr-defined]

    async def turn_clock(self, seconds: float) -> None:
        self.passed += seconds
        await super().turn_clock(seconds)

    async def residue(self, *, keep_seen: bool = False) -> set[str]:
        """How far the log was read is known as long as the crawl's record is."""
        left = await super().residue(keep_seen=keep_seen)
        return {name for name in left if name != "log" and not name.startswith("done:")}

    def keep(self, crawl: str) -> Callable[[], None]:
        """A log can't be brought back: what was written since is passed over."""
        bring_back = super().keep(crawl)

        def bring_all_back() -> None:
            bring_back()
            log, names = self.key(0, "log", crawl), LogNames(f"t{self.name}", crawl)
            for field, end in self._ends(names).items():
                self.client.hset(log, f"at:{field}", end)
            for queue in self.queues:
                queue._calls.clear()  # type: ignore[attr-defined]

        return bring_all_back

    def _ends(self, names: LogNames) -> dict[str, int]:
        """Behind the newest message of each partition of a crawl's log."""
        from confluent_kafka import TopicPartition
        from confluent_kafka.admin import OffsetSpec  # type: ignore[attr-defined]

        places = {
            f"{tier}:{number}": TopicPartition(topic, number)
            for tier, topic in names.topics().items()
            for number in range(2)
        }
        latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        admin = self.broker.admin()
        answers = admin.list_offsets(dict.fromkeys(places.values(), latest))
        return {field: answers[place].result(30).offset for field, place in places.items()}

    async def stop(self) -> None:
        await super().stop()
        await self.delete_topics()
