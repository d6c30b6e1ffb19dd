"""What a Redis refuses in the middle of a crawl, on real servers: rights that are missing, keys of
somebody else, a slot of a cluster that is being moved, a master that has become a replica.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendCorrupted, BackendUnavailable, ConfigurationError, MocraError
from mocra_scrapy.interfaces import IBackend
from mocra_scrapy.models import Entry, QueueOptions
from tests.services.faultproxy import FaultProxy
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

pytestmark = pytest.mark.redis


async def joined(on: IBackend, worker: str = "w", **options: Any) -> QueueSession:
    session = QueueSession(on.request_queue("crawl", QueueOptions(**options)), worker)
    await session.queue.join(worker)
    return session


def pages(*numbers: int) -> list[Entry]:
    return [Entry(b"%d" % n, "s", fingerprint=b"page %d" % n) for n in numbers]


@pytest.fixture
def second_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "second")
    server.start()
    yield server
    server.kill()


async def test_a_user_without_channels_is_told_at_the_join(own_redis: RedisServer) -> None:
    with closing(own_redis.client()) as admin:
        admin.execute_command("ACL SETUSER crawler on >pw ~* resetchannels +@all")
        opened = open_backend(f"redis://crawler:pw@127.0.0.1:{own_redis.port}/0", prefix="mocra")
        try:
            await opened.open(10)
            with pytest.raises(ConfigurationError, match=r"&mocra:\*"):
                await joined(opened)
            assert not admin.keys("*"), "a worker that is refused leaves nothing"
            # A right that is taken away later costs wake-ups, not calls.
            admin.execute_command("ACL SETUSER crawler &mocra:*")
            one, other = await joined(opened), await joined(opened, "other")
            await other.lease(1)
            admin.execute_command("ACL SETUSER crawler resetchannels")
            assert list(await one.push(pages(1, 2))) == [True, True]
            leases = await other.lease(2)
            assert list(await other.ack(leases)) == [True, True]
            assert not (await one.queue.size()).unfinished
            await one.queue.close()
            await other.queue.close()
        finally:
            await opened.close()


async def test_a_key_of_somebody_else_refuses_the_whole_call(own_redis: RedisServer) -> None:
    opened = open_backend(own_redis.url, prefix="mocra")
    try:
        await opened.open(10)
        session = await joined(opened)
        await session.push(pages(1))
        (lease,) = await session.lease(1)
        with closing(own_redis.client()) as admin:
            admin.set("mocra:{crawl:0}:q:1:s", "foreign")
            with pytest.raises(BackendCorrupted, match="WRONGTYPE"):
                await session.exchange(push=pages(2, 3), ack=[lease])
            size = await session.queue.size()
            assert (size.pending, size.leased, size.seen) == (0, 1, 1)
            admin.delete("mocra:{crawl:0}:q:1:s")
        answer = await session.exchange(push=pages(2, 3), ack=[lease], repeat=True)
        assert (list(answer.stored), list(answer.acked)) == ([True, True], [True])
        assert (answer.size.pending, answer.size.leased) == (2, 0)
        await session.queue.close()
    finally:
        await opened.close()


async def test_a_slot_that_is_being_moved_refuses_before_anything_is_written(redis_cluster: str) -> None:
    opened = open_backend(redis_cluster, prefix="moving")
    try:
        await opened.open(10)
        session = await joined(opened, shards=1)
        await session.push(pages(1))
        (lease,) = await session.lease(1)
        host, _, port = redis_cluster.removeprefix("redis+cluster://").partition(",")[0].partition(":")
        with closing(redis.RedisCluster(host=host, port=int(port))) as cluster:
            slot = cluster.keyslot("moving:{crawl:0}:meta")
            source = cluster.nodes_manager.get_node_from_slot(slot)
            target = next(node for node in cluster.get_primaries() if node.name != source.name)
            names = {
                node.name: cluster.execute_command("CLUSTER MYID", target_nodes=node).decode()
                for node in (source, target)
            }
            tell = cluster.execute_command
            tell("CLUSTER SETSLOT", slot, "IMPORTING", names[source.name], target_nodes=target)
            tell("CLUSTER SETSLOT", slot, "MIGRATING", names[target.name], target_nodes=source)
            try:
                # The keys on the source, then the first of them on the target.
                for moved in ([], ["moving:{crawl:0}:meta"]):
                    for key in moved:
                        tell("MIGRATE", target.host, target.port, key, 0, 5000, target_nodes=source)
                    with pytest.raises(BackendUnavailable):
                        await session.exchange(push=pages(2, 3), ack=[lease], repeat=bool(moved))
            finally:
                keys = source.redis_connection.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
                for key in keys:
                    tell("MIGRATE", target.host, target.port, key, 0, 5000, target_nodes=source)
                for node in (target, source):
                    tell("CLUSTER SETSLOT", slot, "NODE", names[target.name], target_nodes=node)
        deadline = time.monotonic() + 10
        while True:
            try:
                answer = await session.exchange(push=pages(2, 3), ack=[lease], repeat=True)
                break
            except BackendUnavailable:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
        assert (list(answer.stored), list(answer.acked)) == ([True, True], [True])
        assert (answer.size.pending, answer.size.leased, answer.size.seen) == (2, 0, 3)
        await session.queue.clear()
        await session.queue.close()
    finally:
        await opened.close()


async def test_a_fail_over_behind_one_address_is_followed(own_redis: RedisServer, second_redis: RedisServer) -> None:
    old, new = own_redis, second_redis
    with FaultProxy(old.port) as proxy, closing(old.client()) as a, closing(new.client()) as b:
        opened = open_backend(f"redis://127.0.0.1:{proxy.port}/0", prefix="mocra")
        try:
            await opened.open(10)
            session = await joined(opened)
            await session.push(pages(1))
            b.replicaof("127.0.0.1", str(old.port))
            eventually(lambda: b.info("replication")["master_link_status"] == "up", what="the replica's link")
            b.replicaof("NO", "ONE")
            proxy.target = new.port  # for connections to come, as behind a name or a virtual address
            a.replicaof("127.0.0.1", str(new.port))
            with pytest.raises(BackendUnavailable, match="replica"):
                await session.exchange(push=pages(2))
            for _ in range(3):
                try:
                    answer = await session.exchange(push=pages(2), repeat=True)
                    break
                except MocraError:
                    await asyncio.sleep(0.05)
            assert list(answer.stored) == [True]
            assert b.llen("mocra:{crawl:0}:q:1:s") == 2
            await session.queue.close()
        finally:
            await opened.close()
            a.replicaof("NO", "ONE")
