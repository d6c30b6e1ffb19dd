"""The harnesses of PostgreSQL, Kafka and Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.pipelines.kafka import PREFIX, KafkaPipeline
from mocra_scrapy.pipelines.parquet import ParquetPipeline
from mocra_scrapy.pipelines.postgres import PostgresPipeline
from tests.integration.sinks.harness import FIELD, SinkHarness
from tests.services.kafka_broker import KafkaBroker
from tests.services.postgres_server import PostgresServer

COLUMNS = {"url": "text", "title": "text", "n": "bigint", "more": "jsonb", FIELD: "jsonb"}


class PostgresCopies(SinkHarness):
    pipeline = PostgresPipeline
    restarts = True
    wrong_setting = "MOCRA_POSTGRES_TABLE"
    key: tuple[str, ...] = ()

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        """A schema of its own on the server that all processes share; alone with it from when it is stopped."""
        self.server: PostgresServer = request.getfixturevalue("_postgres")
        self._turn = self.server.turn()
        self.turn = self._turn.__enter__()
        self._schema = self.server.schema()
        self.url = self._schema.__enter__()

    def settings(self) -> dict[str, Any]:
        where = {"MOCRA_POSTGRES_URL": self.url, "MOCRA_POSTGRES_TABLE": "items"}
        return {**where, "MOCRA_POSTGRES_COLUMNS": COLUMNS, "MOCRA_POSTGRES_KEY": list(self.key)}

    def read(self) -> list[dict[str, Any]]:
        import psycopg

        with psycopg.connect(self.url) as client:
            found = [dict(zip(COLUMNS, row, strict=True)) for row in client.execute("SELECT * FROM items").fetchall()]
        # A column that an item does not have is NULL.
        return [{name: row[name] for name in row if row[name] is not None or name == "title"} for row in found]

    def wrong(self) -> dict[str, Any]:
        return {"MOCRA_POSTGRES_TABLE": "nowhere", "MOCRA_POSTGRES_COLUMNS": {}, "MOCRA_POSTGRES_KEY": []}

    def stop(self) -> None:
        self.turn.wait(alone=True)
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def end(self) -> None:
        self.server.start()
        self._schema.__exit__(None, None, None)
        self._turn.__exit__(None, None, None)


class PostgresUpserts(PostgresCopies):
    key = ("url",)
    idempotent = True


class Kafka(SinkHarness):
    """Its restarts take seconds: ``test_kafka.py`` has one for all."""

    pipeline = KafkaPipeline
    wrong_setting = "MOCRA_KAFKA_ITEMS_TOPIC"

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self.broker: KafkaBroker = request.getfixturevalue("kafka")
        self.topic = self.broker.topic()

    def settings(self) -> dict[str, Any]:
        url = f"kafka://{self.broker.bootstrap}"
        return {"MOCRA_KAFKA_ITEMS_URL": url, "MOCRA_KAFKA_ITEMS_TOPIC": self.topic}

    def read(self) -> list[dict[str, Any]]:
        found = []
        for message in self.broker.messages(self.topic):
            item = json.loads(message.value())
            origin = {name.removeprefix(PREFIX): value.decode() for name, value in message.headers() or ()}
            if origin:
                item[FIELD] = {name: value if name == "page" else int(value) for name, value in origin.items()}
            found.append(item)
        return found

    def wrong(self) -> dict[str, Any]:
        return {"MOCRA_KAFKA_ITEMS_TOPIC": "nowhere"}


class Parquet(SinkHarness):
    pipeline = ParquetPipeline
    wrong_setting = "MOCRA_PARQUET_DIR"

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self.folder = folder

    def settings(self) -> dict[str, Any]:
        return {"MOCRA_PARQUET_DIR": str(self.folder / "items")}

    def read(self) -> list[dict[str, Any]]:
        import pyarrow.parquet

        found = []
        for path in sorted((self.folder / "items").iterdir()):
            found += pyarrow.parquet.read_table(path).to_pylist()
        for item in found:
            if item.get("more") is not None:  # what is nested is JSON
                item["more"] = json.loads(item["more"])
        return [{name: item[name] for name in item if item[name] is not None or name == "title"} for item in found]

    def wrong(self) -> dict[str, Any]:
        (self.folder / "file").write_text("")
        return {"MOCRA_PARQUET_DIR": str(self.folder / "file" / "items")}
