"""What the suite wants to know of a sink. To add one: a subclass here or in a file of its own, and a
line in ``conftest.py``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from scrapy.settings import Settings

from mocra_scrapy.pipelines.batch import BatchPipeline, Place
from mocra_scrapy.pipelines.jsonlines import JsonLinesPipeline
from mocra_scrapy.pipelines.redis import RedisPipeline
from mocra_scrapy.pipelines.sink import Sink
from tests.services.redis_server import RedisServer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

FIELD = "_mocra"
PASSWORD = "geheim"


class SinkHarness:
    """A sink's place of its own, empty.

    Attributes:
        idempotent: whether an item of the same ``url`` is there once, however often it is written.
        keeps_origin: whether :meth:`read` gives what says of which page an item is.
        restarts: whether there is a server that can be stopped.
    """

    pipeline: ClassVar[type[BatchPipeline]]
    idempotent: ClassVar[bool] = False
    keeps_origin: ClassVar[bool] = True
    restarts: ClassVar[bool] = False

    def settings(self) -> dict[str, Any]:
        raise NotImplementedError

    def sink(self, worker: str = "w1", **more: Any) -> Sink:
        """One that is not open."""
        place = Place("books", "shop:books", worker, FIELD)
        return self.pipeline.make_sink(Settings({**self.settings(), **more}), place)

    def read(self) -> list[dict[str, Any]]:
        """All items that are stored, in their order if the sink has one. Called when the sink is closed."""
        raise NotImplementedError

    def wrong(self) -> dict[str, Any]:
        """Settings with which it can't be opened, ever; :attr:`wrong_setting` is to be named."""
        raise NotImplementedError

    wrong_setting: ClassVar[str]

    def stop(self) -> None:
        """The server goes away."""

    def start(self) -> None:
        """It comes back, with all that it had confirmed."""

    def end(self) -> None:
        """The test is over."""


class JsonLines(SinkHarness):
    pipeline = JsonLinesPipeline
    wrong_setting = "MOCRA_JSONLINES_DIR"
    compression = "none"

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        self.folder = folder

    def settings(self) -> dict[str, Any]:
        return {"MOCRA_JSONLINES_DIR": str(self.folder / "items"), "MOCRA_JSONLINES_COMPRESSION": self.compression}

    def read(self) -> list[dict[str, Any]]:
        lines = []
        for path in sorted((self.folder / "items").iterdir()):
            data = path.read_bytes()
            lines += (zstd.decompress(data) if self.compression == "zstd" else data).splitlines()
        return [json.loads(line) for line in lines]

    def wrong(self) -> dict[str, Any]:
        (self.folder / "file").write_text("")
        return {"MOCRA_JSONLINES_DIR": str(self.folder / "file" / "items")}


class CompressedJsonLines(JsonLines):
    compression = "zstd"


class RedisStream(SinkHarness):
    pipeline = RedisPipeline
    restarts = True
    wrong_setting = "MOCRA_REDIS_ITEMS_KEY"
    kind = "stream"

    def __init__(self, folder: Path, request: pytest.FixtureRequest) -> None:
        """A server for each process of the test run, of these tests alone: they stop it."""
        self.server: RedisServer = request.getfixturevalue("redis_that_stops")
        self.start()
        with self.server.client() as client:
            client.flushall()

    def settings(self) -> dict[str, Any]:
        more = {"MOCRA_REDIS_ITEMS_ID": ["url"]} if self.kind == "hash" else {}
        url = self.server.url.replace("//", f"//:{PASSWORD}@")
        return {"MOCRA_REDIS_ITEMS_URL": url, "MOCRA_REDIS_ITEMS_KIND": self.kind, **more}

    def read(self) -> list[dict[str, Any]]:
        with self.server.client() as client:
            return [json.loads(entry[b"item"]) for _, entry in client.xrange("shop:books:items")]

    def wrong(self) -> dict[str, Any]:
        with self.server.client() as client:
            client.set("taken", "by somebody else")
        return {"MOCRA_REDIS_ITEMS_KEY": "taken"}

    def stop(self) -> None:
        self.server.kill()

    def start(self) -> None:
        if self.server.process is None:
            self.server.start()

    def end(self) -> None:
        self.start()


class RedisList(RedisStream):
    kind = "list"

    def read(self) -> list[dict[str, Any]]:
        with self.server.client() as client:
            return [json.loads(text) for text in client.lrange("shop:books:items", 0, -1)]


class RedisHash(RedisStream):
    kind = "hash"
    idempotent = True

    def read(self) -> list[dict[str, Any]]:
        with self.server.client() as client:
            return [json.loads(text) for text in client.hgetall("shop:books:items").values()]
