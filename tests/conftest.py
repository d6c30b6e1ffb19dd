"""Servers for the whole session, started when the first test asks for one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest
import scrapy.core.downloader.contextfactory  # noqa: F401 - first: what it deprecates looks through all that is loaded
from twisted.internet import asyncioreactor

from tests.services import kafka_broker, order, policy, postgres_server
from tests.services.kafka_broker import KafkaBroker
from tests.services.postgres_server import PostgresServer
from tests.services.redis_server import (
    RedisCluster,
    RedisServer,
    SentinelGroup,
    SocketRedis,
    TlsRedis,
    binary_of,
    client_of,
    installed,
)
from tests.services.shared import SharedServer

pytest_plugins = ["pytester"]
pytest_terminal_summary = policy.pytest_terminal_summary

# Examples that are slow to make or to run say something about this machine, and nothing about the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only where several processes share them."""
    count = getattr(config, "workerinput", {}).get("workercount", 1)
    if count > 1:
        here = Path(__file__).parent
        items[:] = order.in_parts(
            items,
            count,
            waits=lambda item: item.path.is_relative_to(here) and item.path.relative_to(here).parts[0] in order.WAITING,
            file=lambda item: item.path,
        )


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay until the end: the garbage collector need not look at them again and
    again, and children that are forked (``ProcessPoolExecutor``) need not copy them.
    """
    gc.freeze()


#: A server that all processes of a session share.
AnyShared = TypeVar("AnyShared", bound=SharedServer)

HOW = "apt-get install redis-server redis-sentinel redis-tools openssl"


@pytest.fixture(scope="session", autouse=True)
def _asyncio_reactor() -> Iterator[None]:
    """Scrapy's helpers ask which reactor it is, and the oldest supported one wants one installed;
    nothing here runs it.
    """
    loop = asyncio.new_event_loop()
    asyncioreactor.install(loop)
    yield
    from twisted.internet import reactor

    reactor.disconnectAll()  # type: ignore[attr-defined]
    loop.close()


def need_redis() -> None:
    policy.need("redis-server", installed(), HOW)


@pytest.fixture(scope="session")
def redis_single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for all tests that don't harm it."""
    need_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"), appendfsync="everysec")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_single: RedisServer) -> str:
    """URL of the session's server, emptied."""
    client_of(redis_single.url).flushall()
    return redis_single.url


@pytest.fixture(scope="session")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RedisServer]]:
    """The oldest Redis that is supported (``redis-6.2``), ``valkey``: started when first asked for,
    emptied each time.
    """
    running: dict[str, RedisServer] = {}

    def get(product: str) -> RedisServer:
        binary = binary_of(product)
        policy.need(product, binary is not None, "tools/setup.sh test")
        if product not in running:
            assert binary is not None
            running[product] = RedisServer(tmp_path_factory.mktemp(product), appendfsync="everysec", binary=binary)
            running[product].start()
        client_of(running[product].url).flushall()
        return running[product]

    yield get
    for server in running.values():
        server.kill()


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    need_redis()
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def redis_cluster(_cluster: RedisCluster) -> str:
    """URL of the session's cluster, emptied."""
    _cluster.flush()
    return _cluster.url


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server of the test's own, to stop and kill; it keeps what it was told across restarts."""
    need_redis()
    server = RedisServer(tmp_path_factory.mktemp("own-redis"), appendfsync="always")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    need_redis()
    group = SentinelGroup(tmp_path_factory.mktemp("sentinels"))
    try:
        group.start()
        yield group
    finally:
        group.stop()


@pytest.fixture(scope="session")
def redis_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    need_redis()
    server = TlsRedis(tmp_path_factory.mktemp("tls"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def redis_socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketRedis]:
    need_redis()
    server = SocketRedis(tmp_path_factory.mktemp("s"))
    server.start()
    yield server
    server.kill()


@contextlib.contextmanager
def _joined(server: AnyShared) -> Iterator[AnyShared]:
    server.join()
    try:
        yield server
    finally:
        server.leave()


def _for_all_processes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder that is the same in all processes of this session."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base


@pytest.fixture(scope="session")
def _postgres(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    policy.need("postgresql", postgres_server.installed(), postgres_server.HOW)
    with _joined(PostgresServer(_for_all_processes(tmp_path_factory, request) / "postgres")) as server:
        yield server


@pytest.fixture
def postgres(_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The session's server, which others use as well."""
    with _postgres.turn():
        yield _postgres


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """URL of a schema of the test's own, on the session's server."""
    with postgres.schema() as url:
        yield url


@pytest.fixture
def postgres_alone(_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The session's server, to stop and kill: no other test uses it meanwhile."""
    with _postgres.turn(alone=True):
        yield _postgres


@pytest.fixture(scope="session")
def _kafka(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[KafkaBroker]:
    policy.need("kafka", kafka_broker.installed(), kafka_broker.HOW)
    with _joined(KafkaBroker(_for_all_processes(tmp_path_factory, request) / "kafka")) as broker:
        yield broker


@pytest.fixture
def kafka(_kafka: KafkaBroker) -> Iterator[KafkaBroker]:
    """The session's broker, which others use as well: a topic for each test."""
    with _kafka.turn():
        yield _kafka


@pytest.fixture
def kafka_alone(_kafka: KafkaBroker) -> Iterator[KafkaBroker]:
    """The session's broker, to stop and kill: no other test uses it meanwhile."""
    with _kafka.turn(alone=True):
        yield _kafka
