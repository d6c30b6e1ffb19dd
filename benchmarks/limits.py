"""What limits of slots cost the server: ``python -m benchmarks limits [--quick]``.

One worker with 32 requests under way hands out, with 8 permits a slot, what one host and what many
hosts have; each turn finishes what is out. µs are the server's own CPU time for a request's whole
way: lease, acknowledgement, and giving its place back. The last row is the worker's: what it costs
to look once more at a punctual request where it leaves.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any
from unittest.mock import MagicMock

import redis as sync_redis
from scrapy import Request

from benchmarks.realsites import microseconds
from benchmarks.servers import redis_server
from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Bounds, Departure, Entry, Lease, QueueOptions, Quota, Reservation, RuleSet, SlotLimit
from mocra_scrapy.worker.deliveries import Delivery
from mocra_scrapy.worker.permits import SlotPermits
from mocra_scrapy.worker.slot_policy import Instant
from mocra_scrapy.worker.wire import Wire

BODY = b"x" * 60
OUT, PLACES = 32, 8
CHECKS = 10_000
LIMITS = {
    "none": None,
    "8 permits": SlotLimit(concurrency=PLACES),
    "8 permits and a rate": SlotLimit(interval=1e-6, burst=1000, concurrency=PLACES, jitter=0.5),
    "8 permits and a quota": SlotLimit(concurrency=PLACES, quotas=(Quota(1_000_000, 86_400.0),)),
}


def cpu(server: sync_redis.Redis) -> float:
    """Microseconds of the server's main thread."""
    info = server.info("cpu")
    return 1e6 * (info["used_cpu_user_main_thread"] + info["used_cpu_sys_main_thread"])


class Worker:
    """Takes what it may have out of each slot, and finishes that in the next turn."""

    def __init__(self, session: QueueSession, throttled: bool) -> None:
        self.session = session
        self.throttled = throttled
        self.waiting: list[Lease] = []

    async def turn(self) -> int:
        """One exchange; how many requests it finished."""
        out: Counter[str] = Counter()
        done = []
        for lease in self.waiting:
            if out[lease.slot] < PLACES and len(done) < OUT:
                out[lease.slot] += 1
                done.append(lease)
        tokens = {lease.token for lease in done}
        rest = [lease for lease in self.waiting if lease.token not in tokens]
        loads = Counter(lease.slot for lease in rest)
        if self.throttled:
            bounds = Bounds(loads=loads, keep_permits={slot: 0 for slot in out if slot not in loads})
        else:
            bounds = Bounds(full=[slot for slot, n in loads.items() if n >= 2 * PLACES], per_slot=PLACES)
        answer = await self.session.exchange(ack=done, want=2 * OUT - len(rest), bounds=bounds)
        self.waiting = [*rest, *answer.leases]
        return len(done)


async def hand_outs(url: str, server: sync_redis.Redis, hosts: int, limit: SlotLimit | None, total: int) -> float:
    """µs of the server for each of *total* requests, one or more of each of *hosts*."""
    backend = open_backend(url)
    await backend.open()
    queue = backend.request_queue("limits", QueueOptions(rules=None if limit is None else RuleSet(limit), lease=3600))
    await queue.join("w")
    session = QueueSession(queue, "w")
    for at in range(0, total, 200):
        await session.push([Entry(BODY, f"host{n % hosts}") for n in range(at, at + 200)])
    worker, done, before = Worker(session, limit is not None), 0, cpu(server)
    while done < total:
        done += await worker.turn()
    spent = cpu(server) - before
    await queue.clear()
    await queue.close()
    await backend.close()
    return spent / total


async def reservations(url: str, server: sync_redis.Redis, total: int) -> float:
    """µs of the server for a booking, 16 at a time, each of another host."""
    backend = open_backend(url)
    await backend.open()
    options = QueueOptions(rules=RuleSet(SlotLimit(interval=0.01, burst=10)))
    limiter = backend.rate_limiter("limits", options)
    await backend.request_queue("limits", options).join("w")
    before = cpu(server)
    for at in range(0, total, 16):
        await limiter.reserve([Reservation((f"host{n}",)) for n in range(at, at + 16)])
    spent = cpu(server) - before
    await backend.close()
    return spent / total


def wire_check() -> float:
    """µs of the worker for each request that leaves on time."""
    request, lease = Request("http://host1/"), Lease("1", "host1", 0, BODY, 1)
    delivery, parts, nothing = Delivery(request, lease, None), MagicMock(), MagicMock()
    delivery.names = ("host1",)
    deliveries = MagicMock(by_id={id(request): delivery})
    wire = Wire(parts, nothing, nothing, deliveries, policy=MagicMock(permits=SlotPermits()), stats=nothing)
    departure = Departure(("host1",), 1.0, ((0.0, 1.0),))

    def leave() -> None:
        for _ in range(CHECKS):
            delivery.departs = Instant(time.monotonic(), departure)
            if wire.leaves(request) is not None:
                raise RuntimeError("it should have left")

    return microseconds(leave, CHECKS)


async def measure(quick: bool) -> list[dict[str, Any]]:
    total, repeats = (10_000, 1) if quick else (50_000, 5)
    rows: list[dict[str, Any]] = []
    with redis_server() as port, sync_redis.Redis(port=port) as server:
        url = f"redis://127.0.0.1:{port}/0"
        for name, limit in LIMITS.items():
            one = 0.0
            for hosts in (1, 100, total):
                costs = sorted([await hand_outs(url, server, hosts, limit, total) for _ in range(repeats)])
                cost = costs[len(costs) // 2]
                one = one or cost
                rows.append(
                    {
                        "limit": name,
                        "hosts": hosts,
                        "us_per_request": round(cost, 1),
                        "beside_one_host": round(cost / one, 2),
                    }
                )
        booking = round(await reservations(url, server, total), 1)
        rows.append({"limit": "a booking", "hosts": total, "us_per_request": booking, "beside_one_host": None})
    check = round(wire_check(), 2)
    rows.append({"limit": "the look at the wire", "hosts": 1, "us_per_request": check, "beside_one_host": None})
    return rows


def main(quick: bool) -> list[dict[str, Any]]:
    return asyncio.run(measure(quick))
