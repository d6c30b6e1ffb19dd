"""A Redis that is away, or full: a miss, and one line in the log."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from mocra_scrapy.cache.httpcache import pages
from tests.integration.httpcache.conftest import MakeWorker
from tests.services.faultproxy import FaultProxy
from tests.services.redis_server import RedisServer
from tests.unit.cache.httpcache.exchanges import URL, answer, ask, stored

pytestmark = pytest.mark.redis


@pytest.fixture
def backend_url(redis_url: str) -> str:
    return redis_url


async def test_a_server_that_is_away_is_a_miss_and_one_line(
    redis_single: RedisServer,
    redis_url: str,
    worker: MakeWorker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "PAUSE", 0.0)
    monkeypatch.setattr(pages, "QUIET", 0.0)
    with FaultProxy(redis_single.port) as proxy:
        one = await worker(url=f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=1&socket_connect_timeout=1")
        name = one.pages.name(URL)
        assert await one.pages.write(name, [stored(cache_control="max-age=60")])
        proxy.refuse = True
        proxy.reset()
        with caplog.at_level(logging.WARNING, logger="mocra_scrapy.cache.httpcache"):
            passage = await one.web.begin(ask())
            outcome, done = await one.web.answered(passage, answer(cache_control="max-age=60"))
            await one.pages.remove([name])
        assert (outcome.answer, done) == (None, False), "the page is fetched, and not stored"
        lines = [record for record in caplog.records if record.name.startswith("mocra_scrapy.cache.httpcache")]
        assert len(lines) == 1
        assert "as if it were empty" in lines[0].getMessage()
        assert one.stats["mocra/httpcache/unavailable"] >= 3
        proxy.heal()
        while not await one.pages.read(name):
            pass
        assert not one.pages._told, "the next time it is told again"


async def test_after_trouble_nothing_is_asked_for_a_while(
    worker: MakeWorker, redis_single: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAUSE", 300.0)
    with FaultProxy(redis_single.port) as proxy:
        one = await worker(url=f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=1&socket_connect_timeout=1")
        proxy.refuse = True
        proxy.reset()
        assert await one.pages.read("page:a") == []
        seen = one.stats["mocra/httpcache/unavailable"]
        before = proxy.connections
        for _ in range(100):
            assert await one.pages.read("page:a") == []
        assert proxy.connections == before
        assert one.stats["mocra/httpcache/unavailable"] == seen


async def test_a_full_server_is_a_miss_and_one_line(
    tmp_path: Path, worker: MakeWorker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAUSE", 300.0)
    server = RedisServer(tmp_path, appendfsync="no")
    server.start()
    try:
        one = await worker(url=server.url)
        name, noise = one.pages.name(URL), random.Random(1).randbytes(200_000)
        assert await one.pages.write(name, [stored(cache_control="max-age=60")])
        with server.client() as client:
            client.config_set("maxmemory", client.info("memory")["used_memory"])
            with caplog.at_level(logging.WARNING, logger="mocra_scrapy.cache.httpcache"):
                for n in range(5):
                    one.pages._no_writes = 0.0  # so much time went by
                    assert not await one.pages.write(f"page:a:{n}", [stored(body=noise, cache_control="max-age=60")])
                    assert await one.pages.read(name), "what is there can be read, at once"
                    await one.pages.remove(["page:a:none"])
            assert len(caplog.records) == 1
            assert "can't store" in caplog.text
            client.config_set("maxmemory", 0)
        one.pages._no_writes = 0.0
        assert await one.pages.write("page:a:9", [stored(body=noise, cache_control="max-age=60")])
    finally:
        await one.close()
        await one.backend.close()
        server.kill()
