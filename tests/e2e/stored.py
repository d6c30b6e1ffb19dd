"""Items on their way into a sink while workers die: one between a write and its acknowledgement, one
at any instant.

    python -m tests.e2e.stored                            100,000 items from three workers, into each sink
    python -m tests.e2e.stored --items 2000 --sink redis  less; a line of JSON for each sink
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scrapy.settings import Settings

from mocra_scrapy.pipelines.parquet_files import finish_left_spools
from mocra_scrapy.settings.sinks import read_parquet
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.kafka_broker import KafkaBroker
from tests.services.postgres_server import PostgresServer
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

LEASE = 2.0  # s
WORKERS = 3


@dataclass
class Place:
    """Where items go: the pipeline, its settings, and all that it has; what ends its server."""

    pipeline: str
    settings: dict[str, Any]
    read: Callable[[], list[dict[str, Any]]]
    end: Callable[[], None] = lambda: None


def json_lines(folder: Path, server: RedisServer) -> Place:
    def read() -> list[dict[str, Any]]:
        # Of a killed worker a file may end in the middle of a line.
        lines = [line for path in folder.iterdir() for line in path.read_bytes().splitlines(keepends=True)]
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    return Place("crawling.dying.DyingJsonLines", {"MOCRA_JSONLINES_DIR": folder}, read)


def redis(folder: Path, server: RedisServer, kind: str) -> Place:
    def read() -> list[dict[str, Any]]:
        with server.client() as client:
            if kind == "stream":
                return [json.loads(entry[b"item"]) for _, entry in client.xrange("items")]
            return [
                json.loads(text)
                for text in (client.lrange("items", 0, -1) if kind == "list" else client.hvals("items"))
            ]

    settings = {"MOCRA_REDIS_ITEMS_KEY": "items", "MOCRA_REDIS_ITEMS_KIND": kind}
    return Place(
        "crawling.dying.DyingRedis", {**settings, **({"MOCRA_REDIS_ITEMS_ID": "id"} if kind == "hash" else {})}, read
    )


def postgres(folder: Path, server: RedisServer, key: str) -> Place:
    """Upserts by *key*; without one, ``COPY``."""
    there = PostgresServer(folder / "postgres")
    there.join()

    def read() -> list[dict[str, Any]]:
        with there.client() as client:
            return [{"id": id_, "_mocra": origin} for id_, origin in client.execute("SELECT id, _mocra FROM items")]

    columns = {"id": "text", "rest": "jsonb", "_mocra": "jsonb"}
    settings = {
        "MOCRA_POSTGRES_URL": there.url(),
        "MOCRA_POSTGRES_TABLE": "items",
        "MOCRA_POSTGRES_KEY": key,
        "MOCRA_POSTGRES_REST": "rest",
        "MOCRA_POSTGRES_COLUMNS": json.dumps(columns),
    }
    return Place("crawling.dying.DyingPostgres", settings, read, there.leave)


def kafka(folder: Path, server: RedisServer) -> Place:
    broker = KafkaBroker(folder / "kafka")
    broker.join()
    topic = broker.topic(3)

    def read() -> list[dict[str, Any]]:
        found = []
        for message in broker.messages(topic):
            origin = {name.removeprefix("mocra-"): value.decode() for name, value in message.headers()}
            found.append({**json.loads(message.value()), "_mocra": origin})
        return found

    settings = {"MOCRA_KAFKA_ITEMS_URL": f"kafka://{broker.bootstrap}", "MOCRA_KAFKA_ITEMS_TOPIC": topic}
    return Place("crawling.dying.DyingKafka", settings, read, broker.leave)


def parquet(folder: Path, server: RedisServer) -> Place:
    def read() -> list[dict[str, Any]]:
        import pyarrow.parquet

        finish_left_spools(read_parquet(Settings({"MOCRA_PARQUET_DIR": str(folder)})))
        return [row for path in folder.glob("*.parquet") for row in pyarrow.parquet.read_table(path).to_pylist()]

    return Place("crawling.dying.DyingParquet", {"MOCRA_PARQUET_DIR": folder}, read)


SINKS: dict[str, Callable[[Path, RedisServer], Place]] = {
    "jsonlines": json_lines,
    "redis": partial(redis, kind="stream"),
    "redis-list": partial(redis, kind="list"),
    "redis-hash": partial(redis, kind="hash"),
    "postgres": partial(postgres, key="id"),
    "postgres-copy": partial(postgres, key=""),
    "kafka": kafka,
    "parquet": parquet,
}


@dataclass
class Report:
    """What came of it. *repeats*: items that are there more than once; *strange*: those of them that
    a reader could not tell by their origin.
    """

    sink: str
    items: int
    workers: int
    kills: int = 0
    stored: int = 0
    lost: int = 0
    repeats: int = 0
    strange: int = 0
    seconds: float = 0.0


def crawl(sink: str, folder: Path, pages: int, items: int, crowd: int = WORKERS) -> tuple[Report, Workers]:
    """*pages* pages with *items* items each, by *crowd* workers of which two are killed."""
    server = RedisServer(folder / "redis", appendfsync="everysec")
    server.start()
    for name in ("workers", "items"):
        (folder / name).mkdir()
    place, report = SINKS[sink](folder / "items", server), Report(sink, pages * items, crowd)
    workers, began = Workers(folder / "workers", server.url), time.monotonic()
    settings = {
        "ITEM_PIPELINES": json.dumps({place.pipeline: 300}),
        "MOCRA_LEASE": LEASE,
        "MOCRA_KEEP_SEEN": True,  # who comes too late begins the next run, and has nothing to do
        "MOCRA_BATCH_ITEMS": 100,
        "CONCURRENT_REQUESTS": 8,
        "MOCRA_SPILL_DIR": folder / "spill",
        **place.settings,
    }
    with MockSite(pages=pages) as site:
        try:

            def start() -> None:
                dies = {"DIES": str(folder / "died")}
                workers.start("shelf", dies, site=site.url, items=items, **settings)

            def fetched(share: float) -> None:
                eventually(lambda: len(site.arrivals()) >= share * pages, 300, f"{share:.0%} of the pages")

            with site.stopped():  # until all are there
                for n in range(crowd):
                    start()
                    workers.until_open(n)
            eventually(lambda: any(worker.poll() is not None for worker in workers.all), 300, "a worker's death")
            start()
            fetched(0.5)
            victim = next((worker for worker in workers.all if worker.poll() is None), None)
            if victim is not None:
                victim.kill()
            start()
            codes = workers.wait()
        finally:
            workers.kill()
    report.kills = codes.count(-signal.SIGKILL)
    found = place.read()
    place.end()
    server.kill()
    counts = Counter(item["id"] for item in found)
    report.stored, report.lost = len(found), pages * items - len(counts)
    report.repeats = sum(counts.values()) - len(counts)
    origins = {(item["_mocra"]["page"], item["_mocra"]["item"], item["id"]) for item in found}
    report.strange = len(origins) - len(counts)
    report.seconds = round(time.monotonic() - began, 1)
    return report, workers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sink", choices=sorted(SINKS), action="append")
    parser.add_argument("--items", type=int, default=100_000)
    options = parser.parse_args()
    good = True
    for sink in options.sink or sorted(SINKS):
        with tempfile.TemporaryDirectory() as folder:
            report, _ = crawl(sink, Path(folder), max(100, options.items // 50), min(50, options.items // 100))
        print(json.dumps(asdict(report)), flush=True)
        good = good and not report.lost and not report.strange and report.kills == 2
    sys.exit(not good)


if __name__ == "__main__":
    main()
