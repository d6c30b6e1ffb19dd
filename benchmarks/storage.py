"""What the store holds and what a request costs it: ``python -m benchmarks storage``."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator
from typing import Any

import redis as sync_redis
from scrapy import Request, Spider
from scrapy.utils.request import fingerprint

from benchmarks.servers import redis_server
from mocra_scrapy.backends import open_backend
from mocra_scrapy.codec.requests import load_codec
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Entry, QueueOptions


class PydocSpider(Spider):
    name = "pydoc"


def requests(count: int, spider: Spider) -> Iterator[Request]:
    """Requests as a link extractor makes them, with URLs of a documentation site."""
    for n in range(count):
        module = hashlib.md5(str(n).encode()).hexdigest()[:10]
        url = f"http://127.0.0.1:7464/package{n % 97}.{module}.html"
        yield Request(url, callback=spider.parse, meta={"depth": n % 7, "link_text": f"module {n}"})


def memory(server: sync_redis.Redis) -> int:
    return int(server.info("memory")["used_memory"])


async def measure(quick: bool = True) -> dict[str, Any]:
    """Bytes per queued request and per seen URL; full cycles per second of the server's time."""
    count = 50_000 if quick else 500_000
    spider = PydocSpider()
    codec = load_codec("msgpack", spider, 1 << 20)
    with redis_server() as port, sync_redis.Redis(port=port) as server:
        backend = open_backend(f"redis://127.0.0.1:{port}/0")
        await backend.open()
        queue = backend.request_queue("bench", QueueOptions())
        await queue.join("w")
        session = QueueSession(queue, "w")
        empty = memory(server)
        batch: list[Entry] = []
        body_bytes = 0
        for request in requests(count, spider):
            body = codec.encode(request)
            body_bytes += len(body)
            batch.append(Entry(body, "127.0.0.1", 0, None))
            if len(batch) == 200:
                await session.push(batch)
                batch.clear()
        queued = memory(server) - empty
        await queue.clear()
        await queue.join("w")
        empty = memory(server)
        fingerprints = [fingerprint(request) for request in requests(count, spider)]
        for at in range(0, count, 200):
            await session.push([Entry(b"", "s", 0, fp) for fp in fingerprints[at : at + 200]])
        server.delete("mocra:{bench:0}:q:1:s")
        seen = memory(server) - empty
        await queue.clear()
        cycles = await full_cycles(session, server, count)
        await queue.close()
        await backend.close()
    return {
        "requests": count,
        "bytes_per_queued_request": round(queued / count, 1),
        "of_which_body": round(body_bytes / count, 1),
        "bytes_per_seen_url": round(seen / count, 2),
        **cycles,
    }


async def full_cycles(session: QueueSession, server: sync_redis.Redis, count: int) -> dict[str, Any]:
    """Push with filter, lease, ack, in batches of 64."""
    await session.queue.join(session.worker)
    server.config_resetstat()
    body, held, done, began = b"x" * 120, (), 0, time.perf_counter()
    for at in range(0, count, 64):
        entries = [Entry(body, f"h{at // 64 % 50}", 0, hashlib.sha1(b"%d" % n).digest()) for n in range(at, at + 64)]
        answer = await session.exchange(push=entries, ack=held, want=64)
        held = answer.leases
        done += len(held)
    seconds = time.perf_counter() - began
    used = server.info("commandstats")["cmdstat_evalsha"]["usec"]
    return {
        "cycles_per_s_of_server_time": round(done / used * 1e6),
        "cycles_per_s_wall_one_client": round(done / seconds),
    }


def main(quick: bool) -> dict[str, Any]:
    return asyncio.run(measure(quick))
