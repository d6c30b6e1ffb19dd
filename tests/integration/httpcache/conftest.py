"""Entries of the HTTP cache on a backend, as one worker sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.backends import open_backend
from mocra_scrapy.cache.httpcache.flights import Flights
from mocra_scrapy.cache.httpcache.machine import Machine
from mocra_scrapy.cache.httpcache.page_cache import PageCache, rules_of
from mocra_scrapy.cache.httpcache.pages import SharedPages
from mocra_scrapy.interfaces import IBackend
from mocra_scrapy.models import CacheBounds
from mocra_scrapy.settings.httpcache import HttpCacheOptions, read_httpcache
from tests.unit.cache.httpcache.exchanges import NOW


class Counted(Counter[str]):
    """Stats."""

    def inc_value(self, key: str, count: int = 1, start: int = 0) -> None:
        self[key] += count


class Worker:
    """What the middleware of one worker has, without Scrapy. Its clock is the test's."""

    def __init__(self, backend: IBackend, name: str, options: HttpCacheOptions) -> None:
        self.now, self.stats, self.backend = NOW, Counted(), backend
        self.cache = backend.cache("http:test", options.bounds)
        self.claims = backend.cache("http-claims:test", CacheBounds(1000, 1_048_576, 4096))
        self.pages = SharedPages(self.cache, options, self.stats, lambda: self.now)
        self.flights = Flights(self.claims, name, 600.0)
        self.web = PageCache(Machine(rules_of(options)), self.pages, self.flights, options.wait, lambda: self.now)

    async def close(self) -> None:
        await self.flights.close()
        await self.pages.dictionary.close()
        await self.cache.close()
        await self.claims.close()


MakeWorker = Callable[..., Awaitable[Worker]]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def backend_url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return f"memory://{request.node.name}"
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture
async def worker(backend_url: str) -> AsyncIterator[MakeWorker]:
    """Makes workers of one cache, each with connections of its own."""
    made: list[Worker] = []

    async def make(
        name: str = "w", url: str = backend_url, settings: dict[str, Any] | None = None, **more: Any
    ) -> Worker:
        backend = open_backend(url)
        await backend.open()
        options = replace(read_httpcache(Settings(settings or {})), **more)
        made.append(Worker(backend, name, options))
        return made[-1]

    yield make
    for one in made:
        await one.close()
        await one.backend.close()
