"""A log with three copies: the broker that has its group and leads its partition dies. With
``KAFKA_BROKERS=3`` (``make soak``) it comes back, and who leads then dies as well.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator

import pytest

from mocra_scrapy.backends.kafka.log_names import LogPartition, partition_of
from mocra_scrapy.backends.kafka.log_values import Commit, Outgoing, Start
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Entry
from tests.integration.kafka.stage import LIMIT, Member, count_of, log_on, reading, writing
from tests.services import kafka_broker, policy
from tests.services.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.other_server]
BROKERS = 3
FULL = os.environ.get("KAFKA_BROKERS") == "3"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    policy.need("kafka", kafka_broker.installed(), kafka_broker.HOW)
    cluster = KafkaCluster(tmp_path_factory.mktemp("kafka-cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


async def insist(member: Member, commits: dict[LogPartition, Commit]) -> None:
    """Until the group has them."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            if not await member.reader.commit(commits):
                return
        except BackendUnavailable:
            pass
        assert time.monotonic() < deadline
        await member.look()
        await asyncio.sleep(0.1)


@pytest.mark.timeout(300)
async def test_brokers_die_and_nothing_acknowledged_is_lost_or_doubled(cluster: KafkaCluster) -> None:
    log = log_on(cluster.bootstrap, partitions=BROKERS, replication=3, min_insync=2, protocol="consumer")
    topic, written = log.names.topic("normal"), 0
    async with writing(log) as writer, reading(log) as member:
        await member.until_it_owns(count_of(log))
        coordinator = await asyncio.to_thread(cluster.coordinator, log.names.group)
        leaders = await asyncio.to_thread(cluster.leaders, topic)
        assert sorted(leaders) == sorted(cluster.nodes), "each leads one"
        place = LogPartition("normal", leaders.index(coordinator))
        slot = next(slot for slot in "abcdefghij" if partition_of(slot, BROKERS) == place.number)

        async def write(count: int) -> None:
            nonlocal written
            some = [Outgoing(n, Entry(b"%d" % n, slot)) for n in range(written, written + count)]
            deadline = time.monotonic() + LIMIT
            while True:
                try:
                    await writer.write(some)
                    break
                except BackendUnavailable:
                    assert time.monotonic() < deadline
            written += count

        await write(100)
        await member.until_it_has(100)
        await insist(member, {place: Commit(50)})
        for _ in range(2 if FULL else 1):
            victim = (await asyncio.to_thread(cluster.leaders, topic))[place.number]
            # It dies while messages are on their way to it.
            writes = asyncio.ensure_future(write(300))
            await asyncio.sleep(0)
            await asyncio.to_thread(cluster.kill, victim)
            await writes
            # Who looks finds the new leader in one question, as who writes has.
            assert (await member.reader.lookup.ends())[place] == written
            await member.until_it_has(written)
            await insist(member, {place: Commit(written - 10)})
            if FULL:
                await asyncio.to_thread(cluster.start_again, victim)
                deadline = time.monotonic() + LIMIT
                while not await asyncio.to_thread(cluster.in_sync, topic):
                    assert time.monotonic() < deadline
        assert member.numbers == list(range(written))
        await member.until_it_owns(count_of(log))
        mark = (await member.reader.lookup.marks([place]))[place]
        assert (mark.end, mark.committed) == (written, written - 10), "each was stored once"
        member.positions[place] = 0
        assert await member.reader.begin({place: Start(0)}) == {}
        await member.until(lambda: member.positions[place] == written)
