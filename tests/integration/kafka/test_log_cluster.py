"""A log with three copies: the broker that has its group dies. With ``KAFKA_BROKERS=3`` (``make soak``) the
leader of its partition as well, and each of them comes back.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator

import pytest

from mocra_scrapy.backends.kafka.log_names import LogPartition
from mocra_scrapy.backends.kafka.log_values import Commit, Outgoing, Start
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Entry
from tests.integration.kafka.stage import LIMIT, Member, count_of, log_on, reading, writing
from tests.services import kafka_broker, policy
from tests.services.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.other_server]
PLACE = LogPartition("normal", 0)
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
    log = log_on(cluster.bootstrap, partitions=1, replication=3, min_insync=2, protocol="consumer")
    topic, written = log.names.topic("normal"), 0
    async with writing(log) as writer, reading(log) as member:

        async def write(count: int) -> None:
            nonlocal written
            some = [Outgoing(n, Entry(b"%d" % n, "s")) for n in range(written, written + count)]
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
        await insist(member, {PLACE: Commit(50)})
        find_leader = [lambda: cluster.leader(topic)] if FULL else []
        for find in (*find_leader, lambda: cluster.coordinator(log.names.group)):
            victim = await asyncio.to_thread(find)
            # It dies while messages are on their way to it.
            writes = asyncio.ensure_future(write(300))
            await asyncio.sleep(0)
            await asyncio.to_thread(cluster.kill, victim)
            await writes
            await member.until_it_has(written)
            await insist(member, {PLACE: Commit(written - 10)})
            if FULL:
                await asyncio.to_thread(cluster.start_again, victim)
                deadline = time.monotonic() + LIMIT
                while not await asyncio.to_thread(cluster.in_sync, topic):
                    assert time.monotonic() < deadline
        assert member.numbers == list(range(written))
        await member.until_it_owns(count_of(log))
        mark = (await member.reader.lookup.marks([PLACE]))[PLACE]
        assert (mark.end, mark.committed) == (written, written - 10), "each was stored once"
        member.positions[PLACE] = 0
        assert await member.reader.begin({PLACE: Start(0)}) == {}
        await member.until(lambda: member.positions[PLACE] == written)
