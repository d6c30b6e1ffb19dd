"""Many seeds through each kind of source while workers are killed: nothing is lost, and of sources with
positions nothing comes twice.

``python -m tests.e2e.feeding [--seeds 100000] [--kills 8] [--sources list,set,…,sitemap] [--most-memory MB]``
prints a line of JSON for each source; the exit code is 0 if all is well.

Nothing is fetched (the site accepts no connection), so what is stored can be counted, each page by its number.
Seeds of streams, topics, files and the standard input have ``dont_filter``: a second one of them would be
stored. The worker whose standard input it is is not killed: nobody could read that again.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import http.server
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import QueueOptions, QueueSize
from tests.e2e.workers import Workers
from tests.services import kafka_broker
from tests.services.kafka_broker import KafkaBroker
from tests.services.redis_server import RedisServer

CHUNK = 2000
#: Seconds for all of one source.
PATIENCE = 1800
SOURCES = {
    "list": "redis:fed:list",
    "set": "redis:fed:set",
    "zset": "redis:fed:zset",
    "stream": "stream:fed:stream",
    "kafka": "kafka:{topic}",
    "file": "file:{folder}/seeds.jsonl",
    "stdin": "stdin",
    "sitemap": "sitemap:{sitemaps}/index.xml",
}


class Producer:
    """Keeps pushing, a chunk at a time."""

    def __init__(
        self, kind: str, count: int, site: str, server: RedisServer, folder: Path, broker: KafkaBroker | None
    ) -> None:
        self.kind, self.count, self.pushed = kind, count, 0
        self._broker, self.topic = broker, broker.topic(4) if broker is not None and kind == "kafka" else ""
        self._site, self._server, self._path = site, server, folder / "seeds.jsonl"
        self.pipe = os.pipe() if kind == "stdin" else None

    def push(self) -> None:
        """The next chunk."""
        numbers = range(self.pushed, min(self.count, self.pushed + CHUNK))
        seeds = [json.dumps({"url": f"{self._site}/{i}", "dont_filter": True}) for i in numbers]
        urls = [f"{self._site}/{i}" for i in numbers]
        with self._server.client() as client, client.pipeline() as pipeline:
            if self.kind == "list":
                pipeline.rpush("fed:list", *urls)
            elif self.kind == "set":
                pipeline.sadd("fed:set", *urls)
            elif self.kind == "zset":
                pipeline.zadd("fed:zset", dict(zip(urls, numbers, strict=True)))
            elif self.kind == "stream":
                for seed in seeds:
                    pipeline.xadd("fed:stream", {"seed": seed})
            elif self.kind == "kafka":
                self._produce(seeds)
            elif self.kind == "file":
                with self._path.open("a") as file:
                    file.write("".join(f"{seed}\n" for seed in seeds))
            elif self.pipe is not None:
                with open(self.pipe[1], "w", closefd=False) as file:  # waits where the worker reads no further
                    file.write("".join(f"{seed}\n" for seed in seeds))
            pipeline.execute()
        self.pushed += len(urls)

    def _produce(self, seeds: list[str]) -> None:
        from confluent_kafka import Producer as KafkaProducer

        assert self._broker is not None
        producer = KafkaProducer({"bootstrap.servers": self._broker.bootstrap})
        for seed in seeds:
            producer.produce(self.topic, seed.encode())
        assert producer.flush(60) == 0


def sitemaps(count: int, site: str) -> type[http.server.BaseHTTPRequestHandler]:
    """Serves an index of 200 files that together name *count* pages."""
    files = min(200, count)
    each = count // files

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/index.xml":
                host = self.headers["Host"]
                entries = "".join(f"<sitemap><loc>http://{host}/{i}.xml.gz</loc></sitemap>" for i in range(files))
                body = f"<sitemapindex>{entries}</sitemapindex>".encode()
            else:
                first = each * int(self.path.strip("/").partition(".")[0])
                last = count if first // each == files - 1 else first + each
                pages = "".join(f"<url><loc>{site}/{i}</loc></url>" for i in range(first, last))
                body = gzip.compress(f"<urlset>{pages}</urlset>".encode())
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    return Handler


def size_of(url: str, crawl: str) -> QueueSize:
    async def look() -> QueueSize:
        backend = open_backend(url)
        await backend.open()
        queue = backend.request_queue(crawl, QueueOptions())
        try:
            return await queue.size()
        finally:
            await queue.close()
            await backend.close()

    return asyncio.run(look())


def stored_pages(server: RedisServer, crawl: str, site: str) -> Iterator[int]:
    """The numbers of all pages in the queue, whoever holds them, as they stand there."""
    page = re.compile(re.escape(site.encode()) + rb"/(\d+)")
    with server.client() as client:
        for key in client.scan_iter(f"mocra:{{{crawl}:*", count=1000):
            kind, found = client.type(key), []
            if kind == b"list":
                found = [client.lrange(key, at, at + 9999) for at in range(0, client.llen(key), 10_000)]
            elif kind == b"hash":
                found = [client.hvals(key)]
            elif kind == b"zset":
                found = [client.zrange(key, 0, -1)]
            for some in found:
                for item in some:
                    yield from map(int, page.findall(item))


def feed(kind: str, count: int, kills: int, server: RedisServer, broker: KafkaBroker | None) -> dict[str, Any]:
    """*count* seeds through one source; what came of it. *megabytes*: of the largest worker, at any time."""
    began, rng = time.monotonic(), random.Random(kind)
    crawl = f"fed-{kind}"
    with tempfile.TemporaryDirectory() as name, closing(socket.create_server(("127.0.0.2", 0))) as silent:
        folder, site = Path(name), f"http://127.0.0.2:{silent.getsockname()[1]}"
        (folder / "seeds.jsonl").touch()
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), sitemaps(count, site)) as files:
            threading.Thread(target=files.serve_forever, daemon=True).start()
            producer = Producer(kind, count, site, server, folder, broker)
            sitemap = f"http://127.0.0.1:{files.server_address[1]}"
            place = SOURCES[kind].format(folder=folder, sitemaps=sitemap, topic=producer.topic)
            workers = Workers(folder, server.url)
            more = {} if broker is None else {"MOCRA_SEEDS_KAFKA": f"kafka://{broker.bootstrap}"}

            def start(stdin: int = subprocess.DEVNULL) -> None:
                workers.start(
                    "fed",
                    stdin=stdin,
                    MOCRA_CRAWL=crawl,
                    MOCRA_SEEDS=place,
                    MOCRA_SEEDS_AHEAD=10 * count,
                    MOCRA_CLOSE="never",
                    MOCRA_LEASE=2,
                    MOCRA_MAX_DELIVERIES=2 * kills + 5,  # the same request may be out at each of them
                    MOCRA_SEEDS_POLL=0.05,
                    MOCRA_COMPRESSION="off",  # what is stored is read here
                    DOWNLOAD_TIMEOUT=100_000,
                    **more,
                )

            try:
                start(producer.pipe[0] if producer.pipe is not None else subprocess.DEVNULL)
                start()
                killed, megabytes = drive(
                    producer, workers, start, lambda: size_of(server.url, crawl).unfinished, kills, rng
                )
                dead = size_of(server.url, crawl).dead
            finally:
                workers.kill()
                files.shutdown()
        pages = Counter(stored_pages(server, crawl, site))
    return {
        "source": kind,
        "seeds": count,
        "killed": killed,
        "lost": count - len(pages),
        "twice": pages.total() - len(pages),
        "dead": dead,
        "megabytes": megabytes,
        "seconds": round(time.monotonic() - began, 1),
    }


def drive(
    producer: Producer,
    workers: Workers,
    start: Callable[[], None],
    stored: Callable[[], int],
    kills: int,
    rng: random.Random,
) -> tuple[int, int]:
    """Push, and kill whenever so many more are stored; until nothing more comes. How many were killed, and the
    most memory that a worker took.
    """
    count, killed, last, still, end, most = producer.count, 0, -1, 0, time.monotonic() + PATIENCE, 0
    while time.monotonic() < end:
        if producer.pushed < count:
            producer.push()
        there = stored()
        alive = [worker for worker in workers.all if worker.poll() is None]
        assert alive, workers.log()
        most = max([most, *(memory_of(worker.pid) for worker in alive)])
        if killed < kills and there >= (killed + 1) * count // (kills + 1):
            rng.choice([worker for worker in alive if producer.pipe is None or worker is not workers.all[0]]).kill()
            killed += 1
            start()
        # Looked at for some seconds more: one that came twice would come late.
        still = still + 1 if there >= count and there == last and producer.pushed >= count else 0
        if still >= 10:
            break
        last = there
        if producer.pushed >= count:
            time.sleep(0.3)
    return killed, most


def memory_of(pid: int) -> int:
    """Megabytes that a process had at most so far; 0 where nobody can tell."""
    try:
        told = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(told[1]) // 1024 if told else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--most-memory", type=int, default=400, help="MB that a worker may take")
    options = parser.parse_args()
    kinds, is_well = options.sources.split(","), True
    with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
        server, broker = RedisServer(Path(name) / "redis"), None
        server.start()
        opened.callback(server.stop)
        if "kafka" in kinds and not kafka_broker.installed():
            print(f"kafka is left out: {kafka_broker.HOW}", file=sys.stderr)
            kinds.remove("kafka")
        elif "kafka" in kinds:
            broker = KafkaBroker(Path(name) / "kafka")
            broker.join()
            opened.callback(broker.leave)
        for kind in kinds:
            result = feed(kind, options.seeds, options.kills, server, broker)
            is_well &= not (result["lost"] or result["twice"] or result["dead"])
            is_well &= result["killed"] == options.kills and result["megabytes"] <= options.most_memory
            print(json.dumps(result), flush=True)
    sys.exit(not is_well)


if __name__ == "__main__":
    main()
