"""Of the items with one key one page's go on, over all workers; and none is lost with a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import DropItem
from scrapy.utils.test import get_crawler

from mocra_scrapy import Mocra
from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import Lease, QueueOptions
from mocra_scrapy.pipelines.deduplicate import DeduplicatePipeline, KeysInRedis
from mocra_scrapy.worker.deliveries import CURRENT, Delivery
from tests.services.redis_server import RedisServer

Make = Callable[..., Coroutine[Any, Any, DeduplicatePipeline]]


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def url(request: pytest.FixtureRequest) -> str:
    return "memory://" if request.param == "memory" else str(request.getfixturevalue("redis_url"))


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[DeduplicatePipeline] = []

    async def one(url: str, crawl: str = "shop:books", run: int = 1, **settings: Any) -> DeduplicatePipeline:
        given = {"MOCRA_BACKEND": url, "MOCRA_CRAWL": crawl, "MOCRA_UNIQUE_ITEMS": ["isbn"], **settings}
        crawler = get_crawler(Spider, given)
        crawler._apply_settings()
        Mocra.from_crawler(crawler)
        pipeline = DeduplicatePipeline.from_crawler(crawler)
        if isinstance(pipeline.sink, KeysInRedis):
            pipeline.sink._run = lambda: run
        pipeline._state = SimpleNamespace(run=run)  # type: ignore[assignment]
        await pipeline.open_spider()
        made.append(pipeline)
        return pipeline

    yield one
    for pipeline in made:
        await pipeline.close_spider()
        await Mocra.from_crawler(pipeline.crawler).close()


async def scrape(pipeline: DeduplicatePipeline, page: str, *keys: Any, entry: bytes = b"") -> list[Any]:
    """The items of one page: those that went on."""
    delivery = Delivery(Request(f"http://a.test/{page}"), Lease("t", b""), None)
    delivery.entry = entry
    token = CURRENT.set(delivery)
    try:
        items = [{"isbn": key, "page": page} for key in keys]
        outcomes = await asyncio.gather(*map(pipeline.process_item, items), return_exceptions=True)
    finally:
        CURRENT.reset(token)
    assert all(isinstance(outcome, (dict, DropItem)) for outcome in outcomes), outcomes
    return [outcome["isbn"] for outcome in outcomes if isinstance(outcome, dict)]


async def test_an_item_goes_on_once(url: str, make: Make) -> None:
    pipeline = await make(url)
    assert await scrape(pipeline, "a", 1, 2, 2, 3) == [1, 2, 3]
    assert await scrape(pipeline, "b", 2, 4) == [4]
    assert pipeline.crawler.stats.get_value("mocra/unique/dropped") == 2  # type: ignore[union-attr]


async def test_a_page_that_is_fetched_again_keeps_its_keys(url: str, make: Make) -> None:
    """What its first worker had not stored when it was killed goes on; what others have stays theirs."""
    pipeline = await make(url)
    assert await scrape(pipeline, "a", 1, 2) == [1, 2]
    assert await scrape(pipeline, "b", 3) == [3]
    assert await scrape(pipeline, "a", 1, 2, 3) == [1, 2]


async def test_an_item_without_its_key_goes_on(url: str, make: Make) -> None:
    pipeline = await make(url)
    assert await scrape(pipeline, "a", None, None) == [None, None]
    assert pipeline.crawler.stats.get_value("mocra/unique/without_key") == 2  # type: ignore[union-attr]


@pytest.mark.parametrize("count", [3, 150])
async def test_when_no_item_has_its_key_the_log_says_so_once(
    make: Make, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    pipeline = await make("memory://", MOCRA_UNIQUE_ITEMS='["isnb"]')
    await scrape(pipeline, "a", *range(count))
    await pipeline.close_spider()
    said = f"each of {min(count, 100)} items lacks a field of MOCRA_UNIQUE_ITEMS = ['isnb'], and goes on"
    assert caplog.text.count(said) == caplog.text.count("No item is told apart") == 1


async def test_one_item_with_its_key_is_enough(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = await make("memory://", MOCRA_UNIQUE_ITEMS='["isbn"]')
    await scrape(pipeline, "a", 1, *[None] * 150)
    await pipeline.close_spider()
    assert "No item is told apart" not in caplog.text


async def test_items_of_no_page_are_not_dropped_beside_one_another(url: str, make: Make) -> None:
    """Whoever seeds may be killed, and another one seeds again."""
    pipeline = await make(url)
    for _ in range(2):
        assert await pipeline.process_item({"isbn": 1}) == {"isbn": 1}
    assert await scrape(pipeline, "a", 1) == []


@pytest.mark.redis
async def test_workers_share_keys_and_crawls_do_not(redis_url: str, make: Make) -> None:
    one, other, stranger = await make(redis_url), await make(redis_url), await make(redis_url, crawl="shop:music")
    assert await scrape(one, "a", 1, 2) == [1, 2]
    assert await scrape(other, "b", 2, 3) == [3]
    assert await scrape(other, "a", 1, 2) == [1, 2], "it took over the page"
    assert await scrape(stranger, "c", 1, 2) == [1, 2]
    found = await asyncio.gather(*(scrape(one if n % 2 else other, f"p{n}", *range(100, 400)) for n in range(8)))
    assert sorted(key for keys in found for key in keys) == list(range(100, 400))


@pytest.mark.redis
@pytest.mark.parametrize(("over", "left"), [("run", [1, 2]), ("crawl", [2])])
async def test_the_next_run_knows_them_if_it_is_to(redis_url: str, make: Make, over: str, left: list[int]) -> None:
    assert await scrape(await make(redis_url, run=1, MOCRA_UNIQUE_OVER=over), "a", 1) == [1]
    assert await scrape(await make(redis_url, run=2, MOCRA_UNIQUE_OVER=over), "b", 1, 2) == left


@pytest.mark.redis
@pytest.mark.parametrize("entries", [(b"", b""), (b"one", b"other")])
async def test_the_same_page_of_the_next_run_is_another_one(
    redis_url: str, make: Make, entries: tuple[bytes, bytes]
) -> None:
    first, second = [await make(redis_url, run=run, MOCRA_UNIQUE_OVER="crawl") for run in (1, 2)]
    assert await scrape(first, "a", 1, 2, entry=entries[0]) == [1, 2]
    assert await scrape(second, "a", 1, 2, 3, entry=entries[1]) == [3]


@pytest.mark.redis
async def test_an_entry_that_is_replayed_by_the_next_run_has_its_keys_still(redis_url: str, make: Make) -> None:
    """Its item may never have been stored."""
    first, second = [await make(redis_url, run=run, MOCRA_UNIQUE_OVER="crawl") for run in (1, 2)]
    assert await scrape(first, "a", 1, entry=b"one") == [1]
    assert await scrape(second, "a", 1, entry=b"one") == [1]


async def test_another_entry_of_the_same_request_is_another_page(url: str, make: Make) -> None:
    """It was yielded again, with dont_filter."""
    pipeline = await make(url)
    assert await scrape(pipeline, "a", 1, 2, entry=b"one") == [1, 2]
    assert await scrape(pipeline, "a", 1, 2, 3, entry=b"other") == [3]
    assert await scrape(pipeline, "a", 1, 2, 3, entry=b"one") == [1, 2], "its worker was killed"


async def test_what_only_its_worker_knows_is_of_the_entry_that_made_it(url: str, make: Make) -> None:
    pipeline = await make(url)
    for entry, left in ((b"one", [1]), (b"other", []), (b"one", [1])):
        parent = Delivery(Request("http://a.test/list"), Lease("t", b""), None)
        parent.entry = entry
        token = CURRENT.set(Delivery(Request("http://a.test/a"), None, parent))
        try:
            found = await asyncio.gather(pipeline.process_item({"isbn": 1}), return_exceptions=True)
        finally:
            CURRENT.reset(token)
        assert [item["isbn"] for item in found if isinstance(item, dict)] == left


@pytest.mark.redis
async def test_keys_go_by_themselves_and_with_the_crawl(redis_url: str, redis_single: RedisServer, make: Make) -> None:
    await scrape(await make(redis_url, MOCRA_UNIQUE_TTL=1000), "a", *range(50))
    with redis_single.client() as client:
        keys = list(client.scan_iter(match="mocra:{shop:books:0}:unique:*"))
        assert len(keys) == 50
        assert all(900 < client.ttl(key) <= 1000 for key in keys)
        backend = open_backend(redis_url)
        await backend.open()
        queue = backend.request_queue("shop:books", QueueOptions())
        await queue.join("w")
        await queue.clear()
        await backend.close()
        assert list(client.scan_iter(match="*unique*")) == []


@pytest.mark.redis
async def test_where_nobody_can_tell_while_the_worker_closes_the_item_goes_on(
    own_redis: RedisServer, make: Make
) -> None:
    pipeline = await make(own_redis.url, MOCRA_BATCH_CLOSE=0.1)
    own_redis.kill()
    task = asyncio.ensure_future(scrape(pipeline, "a", 1))
    await asyncio.sleep(0)
    await pipeline.close_spider()
    assert await task == [1]
    assert pipeline.crawler.stats.get_value("mocra/unique/unasked") == 1  # type: ignore[union-attr]
    own_redis.start()
