"""A running crawl is fed from outside by several sources at once, while a worker is killed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import QueueOptions
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

CRAWL = "crawling:fed"


def looked(url: str) -> tuple[Any, Any]:
    """How much of the crawl there is, and its dead letters."""

    async def look() -> tuple[Any, Any]:
        backend = open_backend(url)
        await backend.open()
        queue = backend.request_queue(CRAWL, QueueOptions())
        try:
            return await queue.size(), await queue.dead()
        finally:
            await queue.close()
            await backend.close()

    return asyncio.run(look())


def test_what_is_pushed_while_a_worker_dies_is_stored_once(
    site: MockSite, workers: Workers, redis_single: RedisServer, tmp_path: Path
) -> None:
    """Nothing is answered meanwhile, so what is stored can be counted: each seed of a source with
    positions exactly once, although none of them is filtered.
    """
    file = tmp_path / "seeds.jsonl"
    file.touch()
    pushed = 0

    def push(count: int) -> None:
        nonlocal pushed
        with redis_single.client() as client, file.open("a") as lines:
            for i in range(pushed, pushed + count):
                client.rpush("fed:list", f"{site.url}/ok/list{i}")
                client.xadd("fed:stream", {"url": f"{site.url}/ok/same", "dont_filter": "true"})
                lines.write(json.dumps({"url": f"{site.url}/ok/same", "dont_filter": True}) + "\n")
        pushed += count

    sources = ["redis:%(name)s:list", "stream:%(name)s:stream", f"file:{file}"]
    options = {"MOCRA_SEEDS": json.dumps(sources), "MOCRA_CLOSE": "never", "MOCRA_LEASE": 2, "MOCRA_SEEDS_POLL": 0.05}
    with site.stopped():
        first = workers.start("fed", site=site.url, **options)
        eventually(lambda: "This worker seeds" in workers.log(0), 200, "the first one seeds")
        workers.start("fed", site=site.url, **options)
        push(150)
        eventually(lambda: looked(workers.backend)[0].unfinished >= 200, 200, "some are stored")
        first.kill()
        push(150)
        eventually(lambda: "This worker seeds" in workers.log(1), 200, "the second one goes on")
        bad = [
            b'{"url": "http://a.test", "colour": 1}',
            b'{"url": "http://a.test", "callback": "unknown"}',
            b"x" * 5_000_000,
        ]
        with redis_single.client() as client:
            client.rpush("fed:list", *bad)
        whole = 3 * 300 + 1  # and start()'s own, once
        eventually(lambda: looked(workers.backend)[0].unfinished >= whole, 200, "all are stored")
        eventually(lambda: len(looked(workers.backend)[1]) == len(bad), 200, "the others are dead letters")
        size, letters = looked(workers.backend)
        assert size.unfinished == whole
    assert {letter.reason for letter in letters} == {"seed"}
    said = "\n".join(letter.detail for letter in letters)
    assert "unknown field `colour`" in said
    assert "has no method 'unknown'" in said
    assert "5000000 bytes, more than MOCRA_ENTRY_MAX_BYTES" in said
    with redis_single.client() as client:
        eventually(lambda: not client.exists("fed:list"), 100, "the list is empty")
        held = "{fed:list}:mocra:taken:*"
        eventually(lambda: not list(client.scan_iter(held)), 100, "nothing of it is held any more")
