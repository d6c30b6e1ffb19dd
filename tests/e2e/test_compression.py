"""Real workers on a real server share the dictionary that one of them made, and read each other's
requests.
"""

from __future__ import annotations

import pytest
import redis

from mocra_scrapy.backends.redis.exchange_wire import open_item
from mocra_scrapy.codec.compression import wanted
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.redis]


def test_workers_share_a_dictionary(workers: Workers, redis_url: str) -> None:
    settings = {"MOCRA_KEY_PREFIX": "packed", "MOCRA_CLOSE": "finished", "CONCURRENT_REQUESTS": 8}
    with MockSite(pages=1400) as site, redis.Redis.from_url(redis_url) as server:
        for _ in range(2):
            workers.start("graph", site=site.url, **settings)
        eventually(lambda: len(site.arrivals()) > 800, what="800 pages")
        items = [item for key in server.scan_iter("packed:*:q:*") for item in server.lrange(key, 0, 20)]
        assert workers.wait() == [0, 0]
        assert workers.log(0).count("Traceback") == workers.log(1).count("Traceback") == 0
        stats = workers.stats()
        made = {key.decode() for key in server.scan_iter("packed:*:dictionaries")}
        assert len(made) == 1
        (key,) = made
        assert key.endswith(":0}:dictionaries"), "it stays, with the crawl's record"
        stored = {int(name, 16) for name in server.hkeys(key) if name != b"current"}
        assert any(wanted(open_item(item)[2]) in stored for item in items)
        assert site.arrivals().keys() >= {f"/page/{n}" for n in range(1400)}
        server.delete(*server.scan_iter("packed:*"))
    assert stats["mocra/codec/dictionaries"] == len(stored) >= 1
    assert stats["mocra/codec/stored_bytes"] < 0.8 * stats["mocra/codec/payload_bytes"]
    assert stats.get("mocra/scheduler/unreadable") is None
