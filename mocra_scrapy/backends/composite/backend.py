"""``KafkaBackend``: what Kafka can do for crawls, over the backend that has their state."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zope.interface import implementer

from mocra_scrapy.backends.composite.queue import PATIENCE, KafkaRequestQueue
from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.client import need_client
from mocra_scrapy.backends.kafka.log_names import Log, LogNames
from mocra_scrapy.exceptions import NotSupported
from mocra_scrapy.interfaces import (
    IBackend,
    IBreaker,
    ICache,
    IElection,
    ILocks,
    ILoggedQueue,
    IRateLimiter,
    IRequestQueue,
    IShared,
    IStalls,
    IWorkers,
)
from mocra_scrapy.interfaces.backend import CACHE_BOUNDS
from mocra_scrapy.models import BreakerRules, CacheBounds, QueueOptions, ServerReport, StallRules
from mocra_scrapy.models.backends import Abilities
from mocra_scrapy.models.log import LogOptions

#: Rules that are kept in part only, and what is so. The suite leaves these out, and the guide shows them.
WITHOUT: dict[str, str] = {
    "a_lost_record_is_begun_anew": "who deleted it may have deleted more: what is not committed is read from the log once more",
}


@implementer(IBackend)
class KafkaBackend:
    """Requests are in Kafka; everything that is decided about them, and what coordinates workers, is on
    *state*, which this backend opens and closes.

    Args:
        url: ``kafka://host:9092,host:9092``, perhaps with ``/prefix``.
        state: see :class:`~mocra_scrapy.interfaces.ILoggedQueue`: its queue is the window.
        prefix: what topics and the group begin with.
        options: ``MOCRA_KAFKA_OPTIONS``.
        log: how topics are.
        setting: that gave the URL.
        clock: epoch seconds.

    Attributes:
        abilities: of Kafka, with what its queue has from *state*.

    Raises:
        ConfigurationError: the URL or an option is wrong, or the client library is missing.
    """

    abilities = Abilities(limits=False, coordination=False, events=True, shared=True, durable=True, without=WITHOUT)

    def __init__(
        self,
        url: str,
        state: IBackend,
        *,
        prefix: str = "mocra",
        options: Mapping[str, Any] | None = None,
        log: LogOptions | None = None,
        setting: str = "MOCRA_QUEUE_BACKEND",
        clock: Callable[[], float] = time.time,
    ) -> None:
        need_client(setting, "kafka://")
        self._address = read_address(setting, url, options or {}, takes_prefix=True)
        self.url = f"kafka://{self._address.bootstrap}"
        self.state, self.shared, self.durable = state, state.shared, True
        self._prefix = prefix if self._address.prefix is None else self._address.prefix
        self._setting, self._clock, self._patience = setting, clock, PATIENCE
        self._options = log or LogOptions()

    def __getattr__(self, name: str) -> Any:
        """What only some backends have, as keys of seeds and streams of events: the state's."""
        if name.startswith("_") or name == "state":
            raise AttributeError(name)
        return getattr(self.state, name)

    def log(self, crawl: str) -> Log:
        """The topics of *crawl*."""
        return Log(self._address, LogNames(self._prefix, crawl), self._options, self._setting)

    async def open(self, timeout: float = PATIENCE) -> ServerReport:
        self._patience = timeout
        report = await self.state.open(timeout)
        facts = {"requests": self.url, "state": self.state.url, **report.facts}
        return ServerReport(facts, [f"{self.state.url}: {warning}" for warning in report.warnings])

    def request_queue(self, crawl: str, options: QueueOptions) -> IRequestQueue:
        window = self.state.request_queue(crawl, options)
        if not ILoggedQueue.providedBy(window):
            raise NotSupported(
                "MOCRA_STATE_BACKEND",
                f"{self.state.url} has no queue that can be the window of Kafka's",
                "Set it to a Redis URL: redis://localhost:6379/0",
            )
        return KafkaRequestQueue(window, self.log(crawl), self._clock, lambda: self._patience)

    # ------------------------------------------------------------------ of the state

    def rate_limiter(self, crawl: str, options: QueueOptions) -> IRateLimiter:
        return self.state.rate_limiter(crawl, options)

    def breaker(self, crawl: str, rules: BreakerRules, options: QueueOptions) -> IBreaker:
        return self.state.breaker(crawl, rules, options)

    def stalls(self, crawl: str, rules: StallRules, options: QueueOptions) -> IStalls:
        return self.state.stalls(crawl, rules, options)

    def election(self, role: str) -> IElection:
        return self.state.election(role)

    def locks(self) -> ILocks:
        return self.state.locks()

    def shared_values(self, namespace: str) -> IShared:
        return self.state.shared_values(namespace)

    def cache(self, namespace: str, bounds: CacheBounds = CACHE_BOUNDS) -> ICache:
        return self.state.cache(namespace, bounds)

    def worker_registry(self) -> IWorkers:
        return self.state.worker_registry()

    async def crawls(self) -> Sequence[str]:
        return await self.state.crawls()

    async def close(self) -> None:
        await self.state.close()
