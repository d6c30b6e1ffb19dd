"""What a request of a real site takes in Redis: ``python -m benchmarks realsites [--quick]``.

Two sites that nobody here wrote: Python's documentation browser (``tools/pydoc_site.py``) and the
folders of the installed Python as a file server lists them. They are crawled by Scrapy; each
request is taken as it reaches the scheduler, with the Referer and depth that Scrapy's spider
middlewares gave it, and stored as a worker stores it: the first 300 as they are, then with the
dictionary made of them.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgpack
import redis as sync_redis

from benchmarks.servers import ROOT, end, free_port, redis_server
from mocra_scrapy.backends import open_backend
from mocra_scrapy.codec.compression import Dictionary, train
from mocra_scrapy.codec.dictionaries import FIRST
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Entry, QueueOptions

MOST = 1 << 20


@contextmanager
def process(*command: str, folder: Path = ROOT) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder
    )
    try:
        yield running
    finally:
        end(running)
        if running.stdout:
            running.stdout.close()


@contextmanager
def pydoc_site() -> Iterator[str]:
    with process("tools/pydoc_site.py", "--pages", "2000") as site:
        assert site.stdout is not None
        yield site.stdout.readline().strip()


@contextmanager
def file_site() -> Iterator[str]:
    port = free_port()
    folder = Path(sysconfig.get_path("stdlib"))
    with process("-m", "http.server", str(port), "--bind", "127.0.0.1", folder=folder) as site:
        deadline = time.monotonic() + 10
        while site.poll() is None and time.monotonic() < deadline:
            try:
                import socket

                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"


def requests_of(address: str, pages: int) -> list[bytes]:
    """Encoded requests, in the order in which they reach the scheduler, of a crawl of so many
    pages.
    """
    with tempfile.TemporaryDirectory(prefix="bench-real-") as folder:
        out = Path(folder) / "payloads"
        job = json.dumps({"address": address, "pages": pages, "out": str(out)})
        subprocess.run(
            [sys.executable, "-m", "benchmarks.collect", job],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        payloads: list[bytes] = msgpack.unpackb(out.read_bytes())
        return payloads


def packed(payloads: list[bytes]) -> tuple[list[bytes], Dictionary]:
    """As one worker stores them."""
    dictionary = train(payloads[:FIRST], None)
    assert dictionary is not None
    return payloads[:FIRST] + [dictionary.compress(p) for p in payloads[FIRST:]], dictionary


def microseconds(work: Any, count: int) -> float:
    """The best of five runs, a call."""
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return round(1e6 * best / count, 2)


async def stored(bodies: list[bytes], server: sync_redis.Redis, port: int) -> float:
    """Bytes of Redis for each of *bodies*, all in one slot."""
    backend = open_backend(f"redis://127.0.0.1:{port}/0")
    await backend.open()
    queue = backend.request_queue("real", QueueOptions())
    await queue.join("w")
    session = QueueSession(queue, "w")
    for at in range(0, len(bodies), 200):
        await session.push([Entry(body, "127.0.0.1") for body in bodies[at : at + 200]])
    used = float(server.memory_usage("mocra:{real:0}:q:1:127.0.0.1", samples=0) or 0)
    await queue.clear()
    await queue.close()
    await backend.close()
    return used / len(bodies)


def measure(quick: bool) -> list[dict[str, Any]]:
    rows = []
    with redis_server() as port, sync_redis.Redis(port=port) as server:
        for name, site, pages in (
            ("pydoc", pydoc_site, 20 if quick else 150),
            ("files", file_site, 100 if quick else 1500),
        ):
            with site() as address:
                payloads = requests_of(address, pages)
            bodies, dictionary = packed(payloads)
            later, plain = bodies[FIRST:], payloads[FIRST:]
            frames = [body for body in later if body[0] == 2]

            def compress(d: Dictionary = dictionary, p: list[bytes] = plain) -> None:
                for payload in p:
                    d.compress(payload)

            def decompress(d: Dictionary = dictionary, f: list[bytes] = frames) -> None:
                for frame in f:
                    d.decompress(frame, MOST)

            rows.append(
                {
                    "site": name,
                    "requests": len(payloads),
                    "payload_bytes": round(sum(map(len, payloads)) / len(payloads), 1),
                    "redis_bytes_plain": round(asyncio.run(stored(payloads, server, port)), 1),
                    "redis_bytes_all": round(asyncio.run(stored(bodies, server, port)), 1),
                    "redis_bytes_with_dictionary": round(asyncio.run(stored(later, server, port)), 1),
                    "compress_us": microseconds(compress, len(plain)),
                    "decompress_us": microseconds(decompress, len(frames)),
                }
            )
    return rows
