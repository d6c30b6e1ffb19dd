"""Each test of the suite runs once for each sink."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import need_redis
from tests.integration.sinks.harness import (
    PASSWORD,
    CompressedJsonLines,
    JsonLines,
    RedisHash,
    RedisList,
    RedisStream,
    SinkHarness,
)
from tests.integration.sinks.servers import Kafka, Parquet, PostgresCopies, PostgresUpserts
from tests.services.redis_server import RedisServer

#: Name -> what makes it, with a folder of its own; and what marks its tests.
SINKS: dict[str, tuple[Callable[[Path, pytest.FixtureRequest], SinkHarness], tuple[pytest.MarkDecorator, ...]]] = {
    "jsonlines": (JsonLines, ()),
    "jsonlines-zstd": (CompressedJsonLines, ()),
    "redis-stream": (RedisStream, (pytest.mark.redis,)),
    "redis-list": (RedisList, (pytest.mark.redis,)),
    "redis-hash": (RedisHash, (pytest.mark.redis,)),
    "postgres-copies": (PostgresCopies, (pytest.mark.postgres, pytest.mark.other_server)),
    "postgres-upserts": (PostgresUpserts, (pytest.mark.postgres, pytest.mark.other_server)),
    "kafka": (Kafka, (pytest.mark.kafka, pytest.mark.other_server)),
    "parquet": (Parquet, ()),
}


@pytest.fixture(scope="session")
def redis_that_stops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"), appendfsync="always", password=PASSWORD)
    yield server
    server.kill()


@pytest.fixture(params=[pytest.param(name, marks=marks) for name, (_, marks) in SINKS.items()])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SinkHarness]:
    made = SINKS[request.param][0](tmp_path, request)
    yield made
    made.end()
