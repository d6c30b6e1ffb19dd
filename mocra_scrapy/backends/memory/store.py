"""What a server is to the other backends."""

from __future__ import annotations

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.backends.embedded.proxies import StoredProxies
from mocra_scrapy.backends.memory.cache import Watched
from mocra_scrapy.backends.memory.election import StoredRole
from mocra_scrapy.backends.memory.events import StoredStream
from mocra_scrapy.backends.memory.locks import Lock
from mocra_scrapy.backends.memory.shared import Namespace
from mocra_scrapy.backends.memory.wakeups import EventWakeups
from mocra_scrapy.backends.memory.workers import Heartbeat


class MemoryCrawl(StoredCrawl):
    """One crawl, whose workers sleep in this process."""

    wakeups: EventWakeups

    def __init__(self, name: str = "") -> None:
        super().__init__(EventWakeups(), name)


class Store(dict[str, MemoryCrawl]):
    """Crawls by name, and what coordination stores. Lives as long as a backend or tool holds it."""

    __slots__ = ("__weakref__", "caches", "locks", "namespaces", "proxies", "roles", "streams", "workers")

    def __init__(self) -> None:
        super().__init__()
        self.roles: dict[str, StoredRole] = {}
        self.locks: dict[str, Lock] = {}
        self.namespaces: dict[str, Namespace] = {}
        self.caches: dict[str, Watched] = {}
        self.proxies: dict[str, StoredProxies] = {}
        self.streams: dict[str, StoredStream] = {}
        self.workers: dict[str, Heartbeat] = {}

    def crawl(self, name: str) -> MemoryCrawl:
        return self.setdefault(name, MemoryCrawl(name))
