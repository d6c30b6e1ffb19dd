"""Items per second into each sink: ``python -m benchmarks sinks``.

Sixteen pages at a time, each with a hundred items in the pipeline, as Scrapy's own settings allow
(``CONCURRENT_REQUESTS``, ``CONCURRENT_ITEMS``). Beside it the same pipeline with batches of one item,
and Scrapy's JSON Lines feed, which syncs nothing to the disk. All of it in one process: fields to
JSON, batches, the write, the answer.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from scrapy import Spider
from scrapy.exporters import JsonLinesItemExporter
from scrapy.utils.misc import load_object
from scrapy.utils.test import get_crawler

from benchmarks.servers import redis_server
from tests.services.kafka_broker import KafkaBroker
from tests.services.postgres_server import PostgresServer

PAGES, ITEMS_OF_A_PAGE = 16, 100
JSONLINES, REDIS = "mocra_scrapy.pipelines.jsonlines.JsonLinesPipeline", "mocra_scrapy.pipelines.redis.RedisPipeline"
POSTGRES, KAFKA = "mocra_scrapy.pipelines.postgres.PostgresPipeline", "mocra_scrapy.pipelines.kafka.KafkaPipeline"
PARQUET = "mocra_scrapy.pipelines.parquet.ParquetPipeline"
COLUMNS = {"url": "text", "title": "text", "price": "float8", "stock": "int", "tags": "text[]", "description": "text"}


class Servers:
    """Those that sinks need, each started when first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._redis = ""
        self._postgres: PostgresServer | None = None
        self._kafka: KafkaBroker | None = None

    def postgres(self, table: str) -> dict[str, Any]:
        """Settings for a table; what is committed is synced to the disk."""
        if self._postgres is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-postgres-")))
            self._postgres = PostgresServer(folder, "-c", "fsync=on")
            self._postgres.join()
            self._stack.callback(self._postgres.leave)
        where = {"MOCRA_POSTGRES_URL": self._postgres.url(), "MOCRA_POSTGRES_TABLE": table}
        return {**where, "MOCRA_POSTGRES_COLUMNS": COLUMNS}

    def kafka(self) -> dict[str, Any]:
        if self._kafka is None:
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-kafka-")))
            self._kafka = KafkaBroker(folder)
            self._kafka.join()
            self._stack.callback(self._kafka.leave)
        topic = self._kafka.topic(4)
        return {"MOCRA_KAFKA_ITEMS_URL": f"kafka://{self._kafka.bootstrap}", "MOCRA_KAFKA_ITEMS_TOPIC": topic}

    @property
    def redis(self) -> str:
        self._redis = self._redis or f"redis://127.0.0.1:{self._stack.enter_context(redis_server())}/0"
        return self._redis


#: Name -> path of the pipeline, and its settings.
SINKS: dict[str, tuple[str, Callable[[Path, Servers], dict[str, Any]]]] = {
    "JSON Lines": (JSONLINES, lambda folder, _: {"MOCRA_JSONLINES_DIR": str(folder)}),
    "JSON Lines, zstd": (
        JSONLINES,
        lambda folder, _: {"MOCRA_JSONLINES_DIR": str(folder), "MOCRA_JSONLINES_COMPRESSION": "zstd"},
    ),
    "Redis stream": (
        REDIS,
        lambda _, servers: {"MOCRA_REDIS_ITEMS_URL": servers.redis, "MOCRA_REDIS_ITEMS_KEY": "stream"},
    ),
    "Redis list": (
        REDIS,
        lambda _, servers: {
            "MOCRA_REDIS_ITEMS_URL": servers.redis,
            "MOCRA_REDIS_ITEMS_KIND": "list",
            "MOCRA_REDIS_ITEMS_KEY": "list",
        },
    ),
    "Redis hash": (
        REDIS,
        lambda _, servers: {
            "MOCRA_REDIS_ITEMS_URL": servers.redis,
            "MOCRA_REDIS_ITEMS_KIND": "hash",
            "MOCRA_REDIS_ITEMS_KEY": "hash",
            "MOCRA_REDIS_ITEMS_ID": ["url"],
        },
    ),
    "PostgreSQL, COPY": (POSTGRES, lambda _, servers: servers.postgres("copied")),
    "PostgreSQL, upserts": (
        POSTGRES,
        lambda _, servers: {**servers.postgres("upserted"), "MOCRA_POSTGRES_KEY": ["url"], "MOCRA_ITEM_FIELD": ""},
    ),
    "Kafka": (KAFKA, lambda _, servers: servers.kafka()),
    "Parquet": (PARQUET, lambda folder, _: {"MOCRA_PARQUET_DIR": str(folder)}),
}


def item(n: int) -> dict[str, Any]:
    """About 300 bytes of JSON."""
    return {
        "url": f"https://shop.example/category-{n % 100}/product-{n}.html",
        "title": f"A product with a name of usual length, number {n}",
        "price": n % 1000 / 10,
        "stock": n % 7,
        "tags": ["one", "two", f"tag-{n % 50}"],
        "description": "Words that say what it is, as shops have them. " * 2,
    }


async def into(pipeline: Any, count: int) -> float:
    """Items per second, until the last one is stored."""
    await pipeline.open_spider()
    numbers = iter(range(count))

    async def page() -> None:
        while some := [item(n) for n, _ in zip(numbers, range(ITEMS_OF_A_PAGE), strict=False)]:
            await asyncio.gather(*map(pipeline.process_item, some))

    began = time.perf_counter()
    await asyncio.gather(*(page() for _ in range(PAGES)))
    took = time.perf_counter() - began
    await pipeline.close_spider()
    return count / took


def rate(path: str, settings: dict[str, Any], count: int, repeats: int) -> float:
    crawler = get_crawler(Spider, settings)
    crawler._apply_settings()
    return statistics.median(asyncio.run(into(load_object(path).from_crawler(crawler), count)) for _ in range(repeats))


def feed(count: int, repeats: int) -> float:
    """Items per second into Scrapy's own exporter, without the signals that lead to it."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryFile() as file:
            exporter = JsonLinesItemExporter(file)
            exporter.start_exporting()
            began = time.perf_counter()
            for n in range(count):
                exporter.export_item(item(n))
            exporter.finish_exporting()
            file.flush()
            found.append(count / (time.perf_counter() - began))
    return statistics.median(found)


def measure(quick: bool) -> list[dict[str, Any]]:
    logging.disable(logging.WARNING)
    count, few, repeats = (20_000, 1000, 1) if quick else (100_000, 10_000, 3)
    scrapys = feed(count, repeats)
    rows = []
    with ExitStack() as stack:
        servers = Servers(stack)
        for name, (path, settings) in SINKS.items():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            given = {"MOCRA_SPILL_DIR": "", **settings(folder, servers)}
            batches = rate(path, given, count, repeats)
            single = rate(path, {**given, "MOCRA_BATCH_ITEMS": 1, "MOCRA_BATCH_WAIT": 0}, few, repeats)
            rows.append(
                {
                    "sink": name,
                    "items_per_s": round(batches),
                    "one_by_one": round(single),
                    "times": round(batches / single, 1),
                    "of_scrapys_feed": round(batches / scrapys, 2),
                }
            )
    rows.append(
        {
            "sink": "Scrapy's JSON Lines feed",
            "items_per_s": round(scrapys),
            "one_by_one": None,
            "times": None,
            "of_scrapys_feed": 1.0,
        }
    )
    return rows
