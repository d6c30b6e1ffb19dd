"""What a backend's methods are called with is what their contract says, down to the defaults."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from zope.interface import implementedBy
from zope.interface.interface import Method

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.backends.memory.breaker import MemoryBreaker
from mocra_scrapy.backends.memory.cache import MemoryCache
from mocra_scrapy.backends.memory.election import MemoryElection
from mocra_scrapy.backends.memory.limiter import MemoryRateLimiter
from mocra_scrapy.backends.memory.locks import MemoryLocks
from mocra_scrapy.backends.memory.queue import MemoryRequestQueue
from mocra_scrapy.backends.memory.shared import MemoryShared
from mocra_scrapy.backends.memory.stalls import MemoryStalls
from mocra_scrapy.backends.memory.workers import MemoryWorkers
from mocra_scrapy.backends.redis.backend import RedisBackend
from mocra_scrapy.backends.redis.breaker import RedisBreaker
from mocra_scrapy.backends.redis.cache import RedisCache
from mocra_scrapy.backends.redis.election import RedisElection
from mocra_scrapy.backends.redis.limiter import RedisRateLimiter
from mocra_scrapy.backends.redis.locks import RedisLocks
from mocra_scrapy.backends.redis.queue import RedisRequestQueue
from mocra_scrapy.backends.redis.shared import RedisShared
from mocra_scrapy.backends.redis.stalls import RedisStalls
from mocra_scrapy.backends.redis.workers import RedisWorkers

MEMORY: list[type] = [
    MemoryBackend,
    MemoryBreaker,
    MemoryCache,
    MemoryElection,
    MemoryLocks,
    MemoryRateLimiter,
    MemoryRequestQueue,
    MemoryShared,
    MemoryStalls,
    MemoryWorkers,
]
REDIS: list[type] = [
    RedisBackend,
    RedisBreaker,
    RedisCache,
    RedisElection,
    RedisLocks,
    RedisRateLimiter,
    RedisRequestQueue,
    RedisShared,
    RedisStalls,
    RedisWorkers,
]


def parameters(function: Any) -> dict[str, tuple[Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return {p.name: (p.kind, p.default) for p in found if p.name != "self"}


@pytest.mark.parametrize("kind", [*MEMORY, *REDIS], ids=lambda kind: kind.__name__)
def test_methods_are_called_as_the_contract_says(kind: type) -> None:
    compared = 0
    for interface in implementedBy(kind):
        for name, said in interface.namesAndDescriptions(all=True):
            if not isinstance(said, Method):
                continue
            info, made = said.getSignatureInfo(), parameters(getattr(kind, name))
            assert {name: default for name, (_, default) in made.items() if name in info["optional"]} == info[
                "optional"
            ]
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize(("one", "other"), [*zip(MEMORY, REDIS, strict=True)], ids=lambda kind: kind.__name__)
def test_both_backends_are_called_in_the_same_way(one: type, other: type) -> None:
    """By position or by name."""
    compared = 0
    for interface in implementedBy(one).flattened():
        for name, said in interface.namesAndDescriptions():
            if isinstance(said, Method) and interface.implementedBy(other):
                assert parameters(getattr(one, name)) == parameters(getattr(other, name)), name
                compared += 1
    assert compared >= 2
