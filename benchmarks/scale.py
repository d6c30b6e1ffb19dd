"""How the cost of a hand-out grows with what is stored: ``python -m benchmarks scale [--quick]``."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import redis as sync_redis

from benchmarks.servers import redis_server
from benchmarks.storage import memory
from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.interfaces import IRequestQueue
from mocra_scrapy.models import Bounds, Entry, QueueOptions

BODY = b"x" * 60  # what an encoded request takes
WORKERS = 50


def server_time(server: sync_redis.Redis) -> float:
    """Microseconds that scripts have taken."""
    return float(server.info("commandstats").get("cmdstat_evalsha", {}).get("usec", 0))


async def fill(sessions: list[QueueSession], start: int, stop: int, slots: int) -> None:
    """Queue entries *start* to *stop*, spread over *slots*, four pushes under way at a time."""

    async def part(session: QueueSession, offset: int) -> None:
        for at in range(start + offset * 250, stop, 4 * 250):
            await session.push([Entry(BODY, f"host{n % slots}", 0) for n in range(at, min(at + 250, stop))])

    await asyncio.gather(*(part(session, i) for i, session in enumerate(sessions[:4])))


async def hand_out(sessions: list[QueueSession], server: sync_redis.Redis, total: int) -> float:
    """Microseconds of the server's time for lease and ack of one entry, by all workers in turn;
    what was taken is pushed again.
    """
    spent, done = 0.0, 0
    held: dict[str, Any] = {s.worker: () for s in sessions}
    while done < total:
        for session in sessions:
            before = server_time(server)
            answer = await session.exchange(ack=held[session.worker], want=32, bounds=Bounds(per_slot=8))
            spent += server_time(server) - before
            held[session.worker] = answer.leases
            done += len(answer.leases)
            await session.push([Entry(lease.body, lease.slot, 0) for lease in answer.leases])
    for session in sessions:
        await session.ack(held[session.worker])
    return spent / done


async def queued(queue: IRequestQueue, server: sync_redis.Redis, sizes: list[int], slots: int) -> list[dict[str, Any]]:
    sessions = []
    for i in range(WORKERS):
        await queue.join(f"w{i}")
        sessions.append(QueueSession(queue, f"w{i}"))
    rows, have, empty = [], 0, memory(server)
    for size in sizes:
        await fill(sessions, have, size, slots)
        have = size
        used = memory(server) - empty
        cost = await hand_out(sessions, server, 10_000)
        rows.append(
            {
                "slots": slots,
                "queued": size,
                "us_per_hand_out": round(cost, 1),
                "bytes_per_request": round(used / size, 1),
                "workers": WORKERS,
            }
        )
    await queue.clear()
    return rows


async def seen(queue: IRequestQueue, server: sync_redis.Redis, sizes: list[int]) -> list[dict[str, Any]]:
    """Bytes and server time for each URL of the filter."""
    await queue.join("w")
    session = QueueSession(queue, "w")
    rows, have, empty, rng = [], 0, memory(server), random.Random(1)
    for size in sizes:
        server.config_resetstat()
        for _ in range(have, size, 1000):
            await session.push([Entry(b"", "s", 0, rng.randbytes(8)) for _ in range(1000)])
            server.ltrim("mocra:{scale:0}:q:1:s", 1, 0)
        spent = server_time(server) / (size - have)
        have = size
        rows.append(
            {
                "seen": size,
                "bytes_per_url": round((memory(server) - empty) / size, 2),
                "us_per_push": round(spent, 1),
            }
        )
    await queue.clear()
    return rows


async def measure(quick: bool) -> dict[str, Any]:
    queue_sizes = [10_000, 100_000] if quick else [10_000, 100_000, 1_000_000, 10_000_000]
    slot_counts = [1, 1000, 100_000]
    seen_sizes = [100_000, 500_000] if quick else [1_000_000, 10_000_000, 50_000_000]
    with redis_server() as port, sync_redis.Redis(port=port) as server:
        backend = open_backend(f"redis://127.0.0.1:{port}/0")
        await backend.open()
        queue = backend.request_queue("scale", QueueOptions(lease=3600))
        rows: list[dict[str, Any]] = []
        for slots in slot_counts:
            # The largest size once, on many slots: it takes minutes.
            sizes = [s for s in queue_sizes if s >= slots and (s < 10_000_000 or slots == slot_counts[-1])]
            rows += await queued(queue, server, sizes, slots)
        filters = await seen(queue, server, seen_sizes)
        await queue.close()
        await backend.close()
    return {"queued": rows, "seen": filters}


def main(quick: bool) -> dict[str, Any]:
    return asyncio.run(measure(quick))
