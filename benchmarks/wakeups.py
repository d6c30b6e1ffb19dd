"""How soon an idle worker hears of another one's push: ``python -m benchmarks wakeups``."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from benchmarks.servers import redis_server
from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Entry, QueueOptions


async def measure(quick: bool) -> dict[str, Any]:
    """Milliseconds from a push to the lease by a worker that slept, over two connections."""
    took = []
    with redis_server() as port:
        idle_backend, busy_backend = (open_backend(f"redis://127.0.0.1:{port}/0") for _ in range(2))
        sessions = []
        for name, backend in (("idle", idle_backend), ("busy", busy_backend)):
            await backend.open()
            queue = backend.request_queue("wake", QueueOptions())
            await queue.join(name)
            sessions.append(QueueSession(queue, name))
        idle, busy = sessions
        await idle.queue.wait("idle", 0.2)
        for _ in range(100 if quick else 1000):
            assert not await idle.lease(1)
            waiting = asyncio.ensure_future(idle.queue.wait("idle", 5))
            await asyncio.sleep(0.002)
            began = time.perf_counter()
            await busy.push([Entry(b"x", "s")])
            assert await waiting
            leases = await idle.lease(1)
            took.append(1000 * (time.perf_counter() - began))
            await idle.ack(leases)
        for session, backend in zip(sessions, (idle_backend, busy_backend), strict=True):
            await session.queue.close()
            await backend.close()
    took.sort()
    return {
        "wake_ups": len(took),
        "median_ms": round(statistics.median(took), 2),
        "p99_ms": round(took[int(0.99 * len(took))], 2),
    }


def main(quick: bool) -> dict[str, Any]:
    return asyncio.run(measure(quick))
