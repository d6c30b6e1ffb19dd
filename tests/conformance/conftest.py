"""Every test that takes ``harness`` runs on every backend."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from mocra_scrapy.backends.composite import KafkaBackend

from .harness import Harness
from .kafka_harness import KafkaOverMemory
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

#: Of ILoggedQueue.
OF_WINDOWS = ("test_log_rules.py", "test_transit_rules.py")
if os.environ.get("TESTS_KAFKA_SUITE"):  # a second for each test: part of `make soak`
    KINDS += [pytest.param("kafka", marks=pytest.mark.kafka)]


def make_harness(kind: str, request: pytest.FixtureRequest) -> Harness:
    """The harness *kind*; its server is started when a test first asks for it."""
    if kind == "memory":
        return MemoryHarness()
    if kind == "kafka":
        return KafkaOverMemory(request.getfixturevalue("kafka"))
    if kind == "cluster":
        return ClusterHarness(request.getfixturevalue("redis_cluster"))
    if kind == "redis":
        return RedisHarness(request.getfixturevalue("redis_url"))
    other = RedisHarness(request.getfixturevalue("other_server")(kind).url)
    other.stride = STRIDE
    return other


def why_not(kind: str, request: pytest.FixtureRequest) -> str:
    """Why a test says nothing of backend *kind*, by what that declares; empty: it does."""
    if kind != "kafka":
        return ""
    if not KafkaBackend.abilities.window and request.path.name in OF_WINDOWS:
        return "its queue is no window of a log"
    return KafkaBackend.abilities.without.get(request.node.originalname.removeprefix("test_"), "")


@pytest.fixture(params=KINDS)
def bare_harness(request: pytest.FixtureRequest) -> Harness:
    """Not started: for tests that run an event loop of their own."""
    if why := why_not(request.param, request):
        pytest.skip(why)
    return make_harness(request.param, request)


@pytest.fixture
async def harness(bare_harness: Harness) -> AsyncIterator[Harness]:
    await bare_harness.start()
    yield bare_harness
    await bare_harness.stop()
