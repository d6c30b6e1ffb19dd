"""Every test that takes ``harness`` runs on every backend."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from mocra_scrapy.backends.composite import KafkaBackend
from tests.services import kafka_broker, policy
from tests.services.kafka_cluster import KafkaCluster

from .harness import Harness
from .kafka_harness import KafkaOverMemory, KafkaOverRedis
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

#: Kafka's queue on one broker over the memory backend's state, on one broker over Redis, on three brokers over Redis.
ON_KAFKA = ["kafka", "kafka-redis", "kafka-three"]
#: Those of them that run all rules, two seconds each: a part of `make soak`. Else one runs some of them.
SUITE = os.environ.get("TESTS_KAFKA_SUITE", "").split(",")
KINDS += [
    pytest.param(kind, marks=[pytest.mark.kafka, *([] if kind == "kafka" else [pytest.mark.redis])])
    for kind in ON_KAFKA
    if kind in (*SUITE, "kafka-redis")
]
#: Some of each kind: hand-out, deaths, repeats, transit, delays, letters, ends, resets, shards.
BRIEFLY = {
    "test_a_dead_workers_entries_return",
    "test_a_join_after_the_end_starts_afresh",
    "test_a_repeated_call_has_one_effect",
    "test_a_reset_that_was_left_is_finished_by_a_join",
    "test_children_are_stored_before_the_parent_goes",
    "test_new_entries_of_a_given_up_slot_become_letters",
    "test_no_entry_is_with_two_workers",
    "test_one_worker_wins_the_end",
    "test_replay_puts_back",
    "test_shards_must_agree",
    "test_what_waits_is_counted",
}
#: Of ILoggedQueue.
OF_WINDOWS = ("test_log_rules.py", "test_transit_rules.py", "test_twin_rules.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if is_left_out(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def is_left_out(item: pytest.Item) -> bool:
    """Whether it is only run by `make soak`."""
    callspec = getattr(item, "callspec", None)
    kind = None if callspec is None else callspec.params.get("bare_harness")
    return kind == "kafka-redis" and kind not in SUITE and item.originalname not in BRIEFLY


def make_harness(kind: str, request: pytest.FixtureRequest) -> Harness:
    """The harness *kind*; its server is started when a test first asks for it."""
    if kind == "memory":
        return MemoryHarness()
    if kind == "kafka":
        return KafkaOverMemory(request.getfixturevalue("kafka"))
    if kind == "kafka-redis":
        return KafkaOverRedis(request.getfixturevalue("kafka"), request.getfixturevalue("redis_url"))
    if kind == "kafka-three":
        brokers = request.getfixturevalue("three_brokers")
        return KafkaOverRedis(brokers, request.getfixturevalue("redis_url"), copies=3)
    if kind == "cluster":
        return ClusterHarness(request.getfixturevalue("redis_cluster"))
    if kind == "redis":
        return RedisHarness(request.getfixturevalue("redis_url"))
    other = RedisHarness(request.getfixturevalue("other_server")(kind).url)
    other.stride = STRIDE
    return other


def why_not(kind: str, request: pytest.FixtureRequest) -> str:
    """Why a test says nothing of backend *kind*, by what that declares; empty: it does."""
    if kind not in ON_KAFKA:
        return ""
    if not KafkaBackend.abilities.window and request.path.name in OF_WINDOWS:
        return "its queue is no window of a log"
    return KafkaBackend.abilities.without.get(request.node.originalname.removeprefix("test_"), "")


@pytest.fixture(scope="session")
def three_brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    policy.need("kafka", kafka_broker.installed(), kafka_broker.HOW)
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-three"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


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
