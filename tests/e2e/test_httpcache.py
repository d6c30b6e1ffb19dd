"""The HTTP cache over real workers: one page is asked for once, a hit takes no turn of its slot, and a run
without a network.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.cache.httpcache.pages import page_name
from mocra_scrapy.models import CacheBounds
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

CACHED = {
    "HTTPCACHE_ENABLED": 1,
    "HTTPCACHE_POLICY": "mocra_scrapy.downloadermiddlewares.httpcache.RFC9111Policy",
    "HTTPCACHE_STORAGE": "mocra_scrapy.downloadermiddlewares.httpcache.BackendCacheStorage",
    "MOCRA_HTTPCACHE_SCOPE": "all",
}


def who_asks(backend: str, url: str) -> int:
    """The process that asks the site for *url*; 0: nobody does."""

    async def look() -> int:
        opened = open_backend(backend)
        try:
            await opened.open()
            claims = opened.cache("http-claims:all", CacheBounds(1_000_000, 268_435_456, 4096))
            found = await claims.get(page_name(url))
            return 0 if found is None else int(found.value.decode().rsplit("-", 2)[1])
        finally:
            await opened.close()

    return asyncio.run(look())


@pytest.mark.timeout(600)
def test_a_slow_page_is_asked_for_once_also_when_who_asks_is_killed(site: MockSite, workers: Workers) -> None:
    """Four workers ask a hundred times for a page that takes a second; then forty times for one that takes longer,
    and the one that asks is killed. What was stored then answers a crawl that may ask for one page a minute,
    and one without a network.
    """
    first, second = "cached/600/1/a", "cached/600/5/b"
    busy = {
        **CACHED,
        "CONCURRENT_REQUESTS": 32,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 100,
        "MOCRA_LEASE": 20,
        "MOCRA_HTTPCACHE_WAIT": 300,
    }
    workers.together(4, site, "list", paths=",".join([first] * 100 + [second] * 40), **busy)
    eventually(lambda: site.count(f"/{second}"), 180, "the second page is asked for")
    asks = who_asks(workers.backend, f"{site.url}/{second}")
    assert asks in {worker.pid for worker in workers.all}
    os.kill(asks, signal.SIGKILL)
    codes = workers.wait(170)
    assert sorted(codes)[1:] == [0, 0, 0]
    assert site.count(f"/{first}") == 1
    assert site.count(f"/{second}") <= 2
    assert len(workers.events("item")) >= 140
    stats = workers.stats()
    assert stats["mocra/httpcache/waited"] > 0
    assert stats["mocra/httpcache/saved_seconds"] > 0

    slow = {**CACHED, "MOCRA_CRAWL": "slow", "MOCRA_THROTTLE": json.dumps({"127.0.0.1": "1/m"})}
    worker = len(workers.all)
    workers.start("list", site=site.url, paths=",".join([first, second] * 10), **slow)
    workers.wait(300)
    assert workers.all[worker].returncode == 0
    assert "'httpcache/hit': 20" in workers.log(worker), "and not one a minute"

    away = {**CACHED, "MOCRA_CRAWL": "away", "HTTPCACHE_IGNORE_MISSING": 1, "ROBOTSTXT_OBEY": 1}
    workers.start("list", site=site.url, paths=f"{first},{second},ok/never", **away)
    workers.wait(300)
    log = workers.log(worker + 1)
    assert "'httpcache/hit': 2" in log
    assert "'item_scraped_count': 2" in log
    assert "'finish_reason': 'finished'" in log
    assert site.count("/ok/never") == 0
    assert site.count("/robots.txt") == 0
    assert site.count(f"/{first}") == 1
