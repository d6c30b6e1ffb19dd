"""Servers for the whole session, started when the first test asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import hypothesis
import pytest
from twisted.internet import asyncioreactor

from tests.services import policy
from tests.services.redis_server import (
    RedisCluster,
    RedisServer,
    SentinelGroup,
    SocketRedis,
    TlsRedis,
    binary_of,
    installed,
)

pytest_plugins = ["pytester"]
pytest_terminal_summary = policy.pytest_terminal_summary

# Examples that are slow to make or to run say something about this machine, and nothing about the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

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
    with redis_single.client() as client:
        client.flushall()
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
        with running[product].client() as client:
            client.flushall()
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
