"""``audit`` on a server on which others have keys, too."""

from __future__ import annotations

import pytest
import redis

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import Entry, QueueOptions

pytestmark = pytest.mark.redis

FOREIGN = 8000  # keys of somebody else
SHARDS = 3


def scans(client: redis.Redis) -> int:
    return int(client.info("commandstats").get("cmdstat_scan", {"calls": 0})["calls"])  # type: ignore[union-attr]


async def test_the_names_of_a_server_are_passed_over_once(redis_url: str) -> None:
    """500 a step, once for all shards; and those of a crawl with a longer name are not its own."""
    backend = open_backend(redis_url, prefix="p")
    with redis.Redis.from_url(redis_url) as client:
        client.mset({f"foreign:{n}": "" for n in range(FOREIGN)})
        try:
            for crawl in ("shop", "shop:books"):
                session = QueueSession(backend.request_queue(crawl, QueueOptions(shards=SHARDS)), "a")
                await session.queue.join("a")
                await session.push([Entry(b"%d" % n, f"slot {n}") for n in range(20)])
            session = QueueSession(backend.request_queue("shop", QueueOptions(shards=SHARDS)), "b")
            before = scans(client)
            audit = await session.queue.audit()
            once = 2 * (2 * FOREIGN) // 500  # a table has up to twice as many places as keys
            assert 0 < scans(client) - before <= once < SHARDS * 2 * FOREIGN // 500
            assert (audit.settled, audit.differs, audit.pending, audit.found_pending) == (True, False, 20, 20)
        finally:
            await backend.close()
