"""On ``memory://`` requests go out in the order of Scrapy's own scheduler: what is asked for is
chosen when it is asked for.
"""

from __future__ import annotations

import random
import secrets
from typing import Any

import pytest
from scrapy import Request
from scrapy.core.scheduler import Scheduler as Scrapys
from scrapy.utils.defer import maybe_deferred_to_future

from mocra_scrapy.engine.hooks import EngineHooks
from tests.integration.codec.test_dictionaries import requests, trained
from tests.integration.worker.scheduling import OneSpider, dequeue, eventually, opened

AT_ONCE = {"MOCRA_PREFETCH": None, "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.LifoMemoryQueue"}


def request(number: int, priority: int, start: bool) -> Request:
    meta: dict[str, Any] = {"download_slot": "foo.test"}
    if start:
        meta["is_start_request"] = True
    return Request(f"http://foo.test/{number}", priority=priority, meta=meta)


@pytest.mark.parametrize("seed", range(5))
async def test_the_order_is_scrapys(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pushed and asked for in any sequence; both schedulers answer the same, at once."""
    monkeypatch.setattr(EngineHooks, "concurrency_of", lambda self, slot: 0)
    draw = random.Random(seed)
    async with opened(**AT_ONCE, CONCURRENT_REQUESTS_PER_DOMAIN=1000) as ours:
        crawler = ours.crawler
        crawler.settings.frozen = False
        crawler.settings.set("SCHEDULER_PRIORITY_QUEUE", "scrapy.pqueues.ScrapyPriorityQueue", "cmdline")
        theirs = Scrapys.from_crawler(crawler)
        opening: Any = theirs.open(OneSpider())
        if opening is not None:
            await maybe_deferred_to_future(opening)
        for number in range(200):
            if draw.random() < 0.6:
                one = request(number, draw.randint(-1, 1), draw.random() < 0.3)
                assert ours.enqueue_request(one)
                assert theirs.enqueue_request(one.copy())
            else:
                mine, scrapys = ours.next_request(), theirs.next_request()
                assert (mine and mine.url) == (scrapys and scrapys.url)
                if mine is not None:
                    assert ours.worker is not None
                    ours.worker.deliveries.finished(mine)
        while (scrapys := theirs.next_request()) is not None:
            mine = ours.next_request()
            assert mine is not None
            assert mine.url == scrapys.url
            assert ours.worker is not None
            ours.worker.deliveries.finished(mine)
        assert ours.next_request() is None
        assert not ours.has_pending_requests()


async def test_what_needs_a_dictionary_is_asked_for_at_once_and_waited_for() -> None:
    """Another worker of this process compresses, this one doesn't."""
    url = f"memory://{secrets.token_hex(4)}"
    shared = {"MOCRA_BACKEND": url, "MOCRA_CLOSE": "never"}
    async with opened(**AT_ONCE, **shared, MOCRA_COMPRESSION="off") as reader:
        await eventually(lambda: not reader.worker.codec._doubt)  # it has looked: there was none
        async with opened(**shared, MOCRA_COMPRESSION="on", MOCRA_PREFETCH=0) as writer:
            await trained(writer)
            last = requests(10_000, 1)[0].replace(priority=9)
            writer.enqueue_request(last)
            await eventually(lambda: not writer.worker.outbox)
            assert (await dequeue(reader)).url == last.url
            assert reader.worker.codec._known
            assert reader.crawler.stats.get_value("mocra/scheduler/put_off") is None
