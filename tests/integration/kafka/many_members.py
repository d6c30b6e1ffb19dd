"""Readers that come and go while others are killed or stand still, and brokers are killed, the coordinator first of
all: whether the three that stay have all partitions soon after.

    python -m tests.integration.kafka.many_members --protocol consumer --rounds 40 --seed 1

A line of JSON for each round; exit code 1 if partitions were nobody's for longer than a session and some.
"""

from __future__ import annotations

import argparse
import asyncio
import concurrent.futures
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from mocra_scrapy.backends.kafka.log_names import Log
from mocra_scrapy.exceptions import MocraError
from tests.integration.kafka.stage import Member, count_of, log_on, opened, writing
from tests.services.kafka_cluster import KafkaCluster

PROTOCOLS = ("classic", "consumer")
SESSION = 3.0
#: Seconds of a round in which guests come, how many of them are there at most, and how long one stays.
ROUND, GUESTS, STAYS = 12.0, 6, (0.0, 0.2, 0.5, 1.0, 1.5)
#: Seconds until who stays must have all; a group that is stuck stays so for minutes, or until somebody comes.
SOON = 45.0
DEEDS = ("kill", "stop", "broker", "coordinator", "coordinator", "stop and coordinator")


def log_of(bootstrap: str, protocol: str) -> Log:
    return log_on(
        bootstrap,
        crawl="shop",
        protocol=protocol,
        partitions=6,
        replication=3,
        min_insync=2,
        session_timeout=SESSION,
        revoke_timeout=1,
    )


async def live(member: Member, until: Callable[[], object]) -> None:
    while not until():
        with suppress(MocraError):  # brokers are killed: it tries again
            await member.look()
        member.reader.ready.clear()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(member.reader.ready.wait(), 0.2)


def one_that_stays(bootstrap: str, protocol: str) -> None:
    async def stay() -> None:
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        member: Member = await opened(Member(log_of(bootstrap, protocol)))
        await live(member, told.is_set)
        await member.reader.close()

    asyncio.run(stay())


class Group:
    """Three that stay, in processes of their own; guests are in this one."""

    def __init__(self, cluster: KafkaCluster, protocol: str, seed: int) -> None:
        self.cluster, self.protocol, self.random = cluster, protocol, random.Random(seed)
        self.log = log_of(cluster.bootstrap, protocol)
        self.staying = [self._start() for _ in range(3)]
        self.guests: set[asyncio.Task[None]] = set()
        self.came = 0

    def _start(self) -> BaseProcess:
        process = multiprocessing.get_context("spawn").Process(
            target=one_that_stays, args=(self.cluster.bootstrap, self.protocol)
        )
        process.start()
        return process

    def end(self) -> None:
        for process in self.staying:
            process.terminate()
        for process in self.staying:
            process.join(60)
            process.kill()

    def shares(self) -> list[int]:
        """Partitions of each member, as the coordinator has it; none while it is being looked for."""
        from confluent_kafka import KafkaException

        admin = self.cluster.admin()
        asked = admin.describe_consumer_groups([self.log.names.group], request_timeout=5)[self.log.names.group]
        try:
            found = asked.result(10)
        except (KafkaException, concurrent.futures.TimeoutError):
            return []
        return sorted(len(member.assignment.topic_partitions) for member in found.members)

    async def guest(self) -> None:
        member = Member(self.log)
        try:
            with suppress(MocraError):
                await member.open()
                until = time.monotonic() + self.random.choice(STAYS)
                await live(member, lambda: time.monotonic() > until)
        finally:
            await member.reader.close()

    async def guests_come(self) -> None:
        until = time.monotonic() + ROUND
        while time.monotonic() < until:
            if len(self.guests) < GUESTS:
                self.came += 1
                task = asyncio.ensure_future(self.guest())
                self.guests.add(task)
                task.add_done_callback(self.guests.discard)
            await asyncio.sleep(self.random.uniform(0.1, 0.6))
        await asyncio.gather(*self.guests)

    async def do(self, deed: str) -> None:
        number = self.random.randrange(len(self.staying))
        victim = self.staying[number]
        assert victim.pid is not None
        if deed == "kill":
            victim.kill()
            victim.join()
            self.staying[number] = self._start()
        if "stop" in deed:
            os.kill(victim.pid, signal.SIGSTOP)
        if "coordinator" in deed or deed == "broker":
            node = self.random.choice(sorted(self.cluster.nodes))
            if "coordinator" in deed:
                node = await asyncio.to_thread(self.cluster.coordinator, self.log.names.group)
            self.cluster.kill(node)
            await asyncio.sleep(self.random.uniform(0, 2))
            await asyncio.to_thread(self.cluster.start_again, node)
        if "stop" in deed:
            await asyncio.sleep(2 * SESSION)
            os.kill(victim.pid, signal.SIGCONT)

    async def round(self) -> dict[str, Any]:
        before, coming = self.came, asyncio.ensure_future(self.guests_come())
        await asyncio.sleep(self.random.uniform(1, 3))
        deed = self.random.choice(DEEDS)
        await self.do(deed)
        await coming
        began, shares = time.monotonic(), list[int]()
        while time.monotonic() < began + SOON:
            shares = await asyncio.to_thread(self.shares)
            if len(shares) == len(self.staying) and sum(shares) == count_of(self.log):
                break
            await asyncio.sleep(0.2)
        settled = time.monotonic() - began
        return {"deed": deed, "guests": self.came - before, "settled": round(settled, 1), "stuck": settled > SOON}


async def rounds(cluster: KafkaCluster, protocol: str, seed: int, count: int) -> bool:
    """Whether no round ended with a group that was stuck."""
    async with writing(log_of(cluster.bootstrap, protocol)):
        pass  # the topics are there
    group, stuck = Group(cluster, protocol, seed), False
    try:
        for number in range(count):
            found = await group.round()
            print(json.dumps({"protocol": protocol, "seed": seed, "round": number, **found}), flush=True)
            stuck = stuck or found["stuck"]
    finally:
        group.end()
    return not stuck


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocol", choices=[*PROTOCOLS, "both"], default="both")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    good = True
    for protocol in PROTOCOLS if given.protocol == "both" else [given.protocol]:
        with tempfile.TemporaryDirectory() as folder:
            cluster = KafkaCluster(Path(folder), SESSION)
            try:
                cluster.start()
                good = asyncio.run(rounds(cluster, protocol, given.seed, given.rounds)) and good
            finally:
                cluster.stop()
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
