"""Whole crawls on every kind of Redis, with a worker killed on the way; a fail-over in the middle
of one.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import PASSWORD, RedisServer, SentinelGroup, SocketRedis, TlsRedis

pytestmark = [pytest.mark.redis, pytest.mark.e2e]


def survives_a_kill(site: MockSite, workers: Workers, spider: str = "graph") -> None:
    """Two workers, one of them killed: everything is fetched, and the end comes once."""
    workers.together(2, site, spider, MOCRA_LEASE=1, CONCURRENT_REQUESTS=4, DOWNLOAD_DELAY=0.005)
    eventually(lambda: len(site.arrivals()) > 30)
    workers.all[0].kill()
    workers.wait()
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())
    assert [event["run"] for event in workers.events("finished")] == [1]
    assert "Traceback" not in workers.log(1)


def test_cluster_with_shards(site: MockSite, workers_on: Callable[[str], Workers], redis_cluster: str) -> None:
    """Many slots, so that parents and children live on different shards: each page is a slot of its
    own.
    """
    survives_a_kill(site, workers_on(f"{redis_cluster}?shards=3"), "hosts")


def test_one_slot_on_a_cluster(site: MockSite, workers_on: Callable[[str], Workers], redis_cluster: str) -> None:
    survives_a_kill(site, workers_on(redis_cluster))


def test_tls_with_a_user(site: MockSite, workers_on: Callable[[str], Workers], redis_tls: TlsRedis) -> None:
    workers = workers_on(
        f"rediss://app:{quote(PASSWORD, safe='')}@127.0.0.1:{redis_tls.port}/0?ssl_ca_certs={redis_tls.ca}"
    )
    survives_a_kill(site, workers)
    # Scrapy itself prints settings that differ from its defaults; none of our own lines shows the
    # password.
    ours = [line for line in workers.log(1).splitlines() if "mocra_scrapy" in line]
    assert ours
    assert not [line for line in ours if PASSWORD in line or quote(PASSWORD, safe="") in line]


def test_a_unix_socket(site: MockSite, workers_on: Callable[[str], Workers], redis_socket: SocketRedis) -> None:
    survives_a_kill(site, workers_on(redis_socket.url))


@pytest.mark.parametrize("product", ["redis-6.2", "valkey"])
def test_the_oldest_redis_and_valkey(
    product: str, site: MockSite, workers_on: Callable[[str], Workers], other_server: Callable[[str], RedisServer]
) -> None:
    survives_a_kill(site, workers_on(other_server(product).url))


def test_a_sentinel_failover_in_the_middle(
    site: MockSite, workers_on: Callable[[str], Workers], sentinels: SentinelGroup
) -> None:
    """The master dies; its replica is promoted; the crawl pauses and goes on."""
    workers = workers_on(sentinels.url)
    workers.together(2, site, "graph", MOCRA_LEASE=20, CONCURRENT_REQUESTS=4, DOWNLOAD_DELAY=0.02)
    eventually(lambda: len(site.arrivals()) > 30)
    sentinels.fail_over()
    workers.until("back", 2, 60)
    workers.wait()
    arrivals = site.arrivals()
    # Replication is asynchronous: what the replica had not yet heard of can be lost or repeated;
    # here that is next to nothing.
    missing = {f"/page/{n}" for n in range(site.pages)} - set(arrivals)
    assert len(missing) <= 3
    assert [event["reason"] for event in workers.events("closed")] == ["finished"] * 2
