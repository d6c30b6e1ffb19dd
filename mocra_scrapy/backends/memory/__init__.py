"""``MemoryBackend``: all rules of :mod:`mocra_scrapy.interfaces` in one process, for development,
tests and single crawls.

The rules of the queue, of limits and of the breaker are in ``backends/embedded``; here are the verbs
over them.

===================  =============================================================================
``store.py``         what is stored, by crawl
``wakeups.py``       workers that sleep
``queue.py``         :class:`MemoryRequestQueue`; its parts ``dead_letters.py``, ``dictionaries.py``,
                     ``logged.py``
``limiter.py``       :class:`MemoryRateLimiter`
``breaker.py``       :class:`MemoryBreaker`
``stalls.py``        :class:`MemoryStalls`, slots that fail
``election.py``      :class:`MemoryElection`, roles
``locks.py``         :class:`MemoryLocks`
``shared.py``        :class:`MemoryShared`, named values
``cache.py``         :class:`MemoryCache`, entries that end
``workers.py``       :class:`MemoryWorkers`, who is there
``events.py``        :class:`MemoryEventStream`, the newest events
``proxies.py``       :class:`MemoryProxies`, what is known of proxies
===================  =============================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from zope.interface import implementer

from mocra_scrapy.backends.memory.breaker import MemoryBreaker
from mocra_scrapy.backends.memory.cache import MemoryCache
from mocra_scrapy.backends.memory.election import MemoryElection
from mocra_scrapy.backends.memory.events import MemoryEventStream
from mocra_scrapy.backends.memory.limiter import MemoryRateLimiter
from mocra_scrapy.backends.memory.locks import MemoryLocks
from mocra_scrapy.backends.memory.proxies import MemoryProxies
from mocra_scrapy.backends.memory.queue import MemoryRequestQueue
from mocra_scrapy.backends.memory.shared import MemoryShared
from mocra_scrapy.backends.memory.stalls import MemoryStalls
from mocra_scrapy.backends.memory.store import Store
from mocra_scrapy.backends.memory.workers import MemoryWorkers
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.interfaces import (
    IBackend,
    IBreaker,
    ICache,
    IElection,
    IEventStream,
    IEventStreams,
    ILocks,
    IProxies,
    IProxyPools,
    IRateLimiter,
    IRequestQueue,
    IShared,
    IStalls,
    IWorkers,
)
from mocra_scrapy.interfaces.backend import CACHE_BOUNDS
from mocra_scrapy.models import BreakerRules, CacheBounds, ProxyRules, QueueOptions, ServerReport, StallRules
from mocra_scrapy.models.backends import Abilities

_named: WeakValueDictionary[tuple[str, str], Store] = WeakValueDictionary()


@implementer(IBackend, IEventStreams, IProxyPools)
class MemoryBackend:
    """Everything in this process; gone with it.

    Args:
        url: ``memory://``, private to this object, or ``memory://NAME``, shared with all in this
            process that say the same name and prefix, and gone when the last of them is.
        prefix: sets apart stores of one name.
        clock: seconds, never going back; decides when leases and delays end.
        wall: seconds since the epoch, for what people read.

    Not for several threads: whoever shares a name shares an event loop's thread.
    """

    abilities = Abilities(events=True, window=True)
    shared, durable = abilities.shared, abilities.durable

    def __init__(
        self,
        url: str = "memory://",
        *,
        prefix: str = "mocra",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        name = url.partition("://")[2].rstrip("/")
        if any(c in name for c in "/?#@"):
            raise ConfigurationError("MOCRA_BACKEND", "memory:// takes a name and nothing else", "Write memory://NAME")
        self.url = f"memory://{name}"
        self._clock, self._wall = clock, wall
        self._store = _named.setdefault((name, prefix), Store()) if name else Store()

    async def open(self, timeout: float = 15.0) -> ServerReport:
        return ServerReport({"server": "in-process (not durable)"})

    def request_queue(self, crawl: str, options: QueueOptions) -> IRequestQueue:
        stored = self._store.crawl(crawl)
        # The queue holds the store: it must not split from what others find under this name once
        # this backend is gone.
        return MemoryRequestQueue(stored, options, clock=self._clock, wall=self._wall, owner=self._store)

    def rate_limiter(self, crawl: str, options: QueueOptions) -> IRateLimiter:
        stored = self._store.crawl(crawl)
        return MemoryRateLimiter(stored, options, clock=self._clock, owner=self._store)

    def breaker(self, crawl: str, rules: BreakerRules, options: QueueOptions) -> IBreaker:
        stored = self._store.crawl(crawl)
        return MemoryBreaker(stored, rules, options, clock=self._clock, wall=self._wall, owner=self._store)

    def stalls(self, crawl: str, rules: StallRules, options: QueueOptions) -> IStalls:
        stored = self._store.crawl(crawl)
        return MemoryStalls(stored, rules, options, clock=self._clock, owner=self._store)

    # What these hold of the store is the store's own: they split from it no more than a queue does.

    def election(self, role: str) -> IElection:
        return MemoryElection(self._store, role, self._clock, self._wall)

    def locks(self) -> ILocks:
        return MemoryLocks(self._store, self._clock, self._wall)

    def shared_values(self, namespace: str) -> IShared:
        return MemoryShared(self._store, namespace, self._clock, self._wall)

    def cache(self, namespace: str, bounds: CacheBounds = CACHE_BOUNDS) -> ICache:
        return MemoryCache(self._store, namespace, bounds, self._clock)

    def worker_registry(self) -> IWorkers:
        return MemoryWorkers(self._store, self._clock)

    def event_stream(self, name: str, keep: int) -> IEventStream:
        return MemoryEventStream(self._store, name, keep)

    def proxies(self, pool: str, rules: ProxyRules) -> IProxies:
        return MemoryProxies(self._store, pool, rules, self._clock)

    async def crawls(self) -> Sequence[str]:
        return sorted(name for name, crawl in self._store.items() if crawl.run)

    async def close(self) -> None:
        """Nothing is connected."""
