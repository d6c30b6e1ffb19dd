"""Every test that takes ``harness`` runs on every backend."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from .harness import Harness
from .memory_harness import MemoryHarness
from .redis_harness import ClusterHarness, RedisHarness

SERVERS = ["redis", "cluster"]
OTHERS = ["redis-6.2", "valkey"]
#: On another server the same scripts run: of what a test does at each of many steps, each so-manieth is enough there.
#: `make soak` does all.
STRIDE = int(os.environ.get("STRIDE", "7"))
KINDS = [
    "memory",
    *(pytest.param(kind, marks=pytest.mark.redis) for kind in SERVERS),
    *(pytest.param(kind, marks=[pytest.mark.redis, pytest.mark.other_server]) for kind in OTHERS),
]


def make_harness(kind: str, request: pytest.FixtureRequest) -> Harness:
    """The harness *kind*; its server is started when a test first asks for it."""
    if kind == "memory":
        return MemoryHarness()
    if kind == "cluster":
        return ClusterHarness(request.getfixturevalue("redis_cluster"))
    if kind == "redis":
        return RedisHarness(request.getfixturevalue("redis_url"))
    other = RedisHarness(request.getfixturevalue("other_server")(kind).url)
    other.stride = STRIDE
    return other


@pytest.fixture(params=KINDS)
def bare_harness(request: pytest.FixtureRequest) -> Harness:
    """Not started: for tests that run an event loop of their own."""
    return make_harness(request.param, request)


@pytest.fixture
async def harness(bare_harness: Harness) -> AsyncIterator[Harness]:
    await bare_harness.start()
    yield bare_harness
    await bare_harness.stop()
