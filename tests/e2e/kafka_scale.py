"""How a queue on Kafka stands a long log: real workers of a log that was filled in bulk, for a bounded time.

    python -m tests.e2e.kafka_scale                              a million requests in each case
    python -m tests.e2e.kafka_scale --queued 100000 --seconds 20 --case one-slot

A line of JSON for each case. A worker here is a process with the queue of a crawl, which acknowledges what
it is given; its memory is compared with that of one whose log is short.

=============  =====================================================================================
``many``       requests of 1,000 slots
``one-slot``   all of one slot
``slow-slot``  of 10,000 slots; every fifth request of one partition is of a slot that takes one a second
=============  =====================================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mocra_scrapy.backends.by_role import open_by_role
from mocra_scrapy.backends.kafka.log_message import message_of, place_of
from mocra_scrapy.backends.kafka.log_names import LogNames, partition_of
from mocra_scrapy.backends.kafka.log_values import Outgoing
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Entry, QueueOptions, RuleSet, SlotLimit
from mocra_scrapy.models.backends import BackendChoice
from mocra_scrapy.models.log import LogOptions
from tests.services.kafka_broker import KafkaBroker
from tests.services.redis_server import RedisServer

CRAWL, SLOW = "scale", "slow"
PARTITIONS, WINDOW = 12, 10_000
BODY = b"x" * 200
#: Requests of a log that is short, and the MB that a worker may have beyond what it has there.
SHORT, MORE = 20_000, 64
#: Parts of a second that a worker waits where it is given nothing.
REST = 0.2


def choice(bootstrap: str, server: str, prefix: str) -> BackendChoice:
    log = LogOptions(partitions=PARTITIONS, replication=1, min_insync=1, create=True, window=WINDOW)
    return BackendChoice(
        queue=f"kafka://{bootstrap}", state=server, queue_setting="MOCRA_QUEUE_BACKEND", prefix=prefix, log=log
    )


def options() -> QueueOptions:
    return QueueOptions(lease=60.0, shards=1, rules=RuleSet(names={SLOW: SlotLimit(1.0)}))


# ------------------------------------------------------------------ a worker


def resident() -> float:
    """MB that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


async def work(job: dict[str, Any]) -> dict[str, Any]:
    """Lease and acknowledge for some seconds, or until nothing is left."""
    backend = open_by_role(choice(job["bootstrap"], job["server"], job["prefix"]))
    await backend.open()
    queue = backend.request_queue(CRAWL, options())
    session = QueueSession(queue, job["name"])
    await queue.join(session.worker)
    done: Counter[str] = Counter()
    peak, held = resident(), []
    until = time.monotonic() + job["seconds"]
    while time.monotonic() < until:
        answer = await session.exchange(ack=held, want=100)
        held = list(answer.leases)
        done.update(lease.slot for lease in held)
        peak = max(peak, resident())
        if not held:
            if not answer.size.unfinished:
                break
            await queue.wait(session.worker, REST)
    await session.ack(held)
    await queue.close_worker(session.worker)
    await queue.close()
    await backend.close()
    by_partition = Counter[int]()
    for slot, number in done.items():
        by_partition[partition_of(slot, PARTITIONS)] += number
    return {
        "done": sum(done.values()),
        "slots": len(done),
        "slow": done[SLOW],
        "mb": round(peak, 1),
        "partitions": {str(partition): number for partition, number in by_partition.items()},
    }


# ------------------------------------------------------------------ the log


def slots_of(case: str, queued: int) -> Iterator[str]:
    """Of each request, in order."""
    if case == "one-slot":
        yield from ("only" for _ in range(queued))
    elif case == "many":
        yield from (f"host{n % 1000}" for n in range(queued))
    else:
        beside = partition_of(SLOW, PARTITIONS)
        turn = 0
        for n in range(queued):
            slot = f"host{n % 10_000}"
            yield slot
            turn += partition_of(slot, PARTITIONS) == beside
            if turn == 4:
                turn = 0
                yield SLOW


def fill(bootstrap: str, prefix: str, case: str, queued: int) -> int:
    """Write to the crawl's topics what a worker would have written; how much it was."""
    from confluent_kafka import Producer

    topics, written = LogNames(prefix, CRAWL).topics(), 0
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "queue.buffering.max.messages": 200_000})
    for slot in slots_of(case, queued):
        outgoing = Outgoing(written, Entry(BODY, slot))
        place = place_of(outgoing, PARTITIONS, 0.0)
        while True:
            try:
                producer.produce(topics[place.tier], partition=place.number, **message_of(outgoing, time.time()))
            except BufferError:
                producer.poll(0.1)
            else:
                break
        written += 1
        if written % 1000 == 0:
            producer.poll(0)
    assert producer.flush(120) == 0
    return written


async def prepare(bootstrap: str, server: str, prefix: str) -> None:
    """The crawl begins, with topics and without workers: what is written then is of its first run."""
    backend = open_by_role(choice(bootstrap, server, prefix))
    await backend.open()
    queue = backend.request_queue(CRAWL, options())
    await queue.join("first")
    await queue.close_worker("first")
    await queue.close()
    await backend.close()


def run_case(
    broker: KafkaBroker, server: RedisServer, case: str, *, queued: int, workers: int, seconds: float
) -> dict[str, Any]:
    prefix = f"{case}{queued}"
    with server.client() as client:
        client.flushall()
    asyncio.run(prepare(broker.bootstrap, server.url, prefix))
    written = fill(broker.bootstrap, prefix, case, queued)
    job = {"bootstrap": broker.bootstrap, "server": server.url, "prefix": prefix, "seconds": seconds}
    command = [sys.executable, "-m", "tests.e2e.kafka_scale", "--worker"]
    running = [
        subprocess.Popen([*command, json.dumps({**job, "name": f"w{n}"})], stdout=subprocess.PIPE, text=True)
        for n in range(workers)
    ]
    try:
        told = [json.loads(one.communicate(timeout=seconds + 300)[0].splitlines()[-1]) for one in running]
    finally:
        for one in running:
            one.kill()
            one.wait()
    with server.client() as client:
        redis_mb = client.info("memory")["used_memory_peak"] / 2**20
    parts = Counter[str]()
    for one in told:
        parts.update(one["partitions"])
    return {
        "case": case,
        "queued": written,
        "workers": workers,
        "seconds": seconds,
        "done": sum(one["done"] for one in told),
        "least": min(one["done"] for one in told),
        "slots": max(one["slots"] for one in told),
        "slow": sum(one["slow"] for one in told),
        "mb": max(one["mb"] for one in told),
        "redis_mb": round(redis_mb, 1),
        "partitions": [parts[str(n)] for n in range(PARTITIONS)],
    }


def judge(found: dict[str, Any], short: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    wrong = []
    if found["mb"] > short["mb"] + MORE:
        wrong.append(f"a worker had {found['mb']} MB, and {short['mb']} MB with a short log")
    if found["done"] < WINDOW:
        wrong.append(f"only {found['done']} requests were done: no more than the window has")
    if found["case"] == "slow-slot" and found["slow"] > 3 * found["seconds"]:
        wrong.append(f"{found['slow']} requests of the slow slot in {found['seconds']} s")
    if found["case"] != "one-slot" and not min(found["partitions"]):
        wrong.append("a partition starves")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kafka_scale")
    parser.add_argument("--queued", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--case", choices=("many", "one-slot", "slow-slot"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(asyncio.run(work(json.loads(given.worker)))), flush=True)
        return
    failed = False
    with tempfile.TemporaryDirectory(prefix="kafka-scale-") as folder:
        broker, server = KafkaBroker(Path(folder) / "kafka"), RedisServer(Path(folder), appendfsync="everysec")
        broker.join()
        server.start()
        try:
            short = run_case(broker, server, "many", queued=SHORT, workers=given.workers, seconds=15)
            print(json.dumps(short), flush=True)
            for case in [given.case] if given.case else ["many", "one-slot", "slow-slot"]:
                found = run_case(
                    broker, server, case, queued=given.queued, workers=given.workers, seconds=given.seconds
                )
                wrong = judge(found, short)
                print(json.dumps({**found, "wrong": wrong}), flush=True)
                failed = failed or bool(wrong)
        finally:
            server.kill()
            broker.leave()
    sys.exit(failed)


if __name__ == "__main__":
    main()
