"""What is deleted in many steps: a crawl whose deleter was stopped meanwhile, a large filter."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import redis

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Entry, Finish, QueueOptions, WorkerReport

pytestmark = pytest.mark.redis


async def test_one_that_was_overtaken_deletes_no_more(redis_url: str) -> None:
    backend = open_backend(redis_url, prefix="p")
    try:
        queue, other = (backend.request_queue("shop", QueueOptions()) for _ in range(2))
        session = QueueSession(queue, "a")
        await session.join()
        await session.push([Entry(b"old", "s")])
        await queue.close_worker("a")
        shards = queue._shards  # type: ignore[attr-defined]
        delete_some, late = shards.delete_some, QueueSession(other, "b")

        async def stopped() -> AsyncIterator[int]:
            async for number in delete_some():
                await other.reset("second", force=True)
                await late.join()
                await late.push([Entry(b"new", "s")])
                yield number

        shards.delete_some = stopped
        with pytest.raises(BackendUnavailable, match="Somebody else deletes crawl 'shop'"):
            await queue.reset("first")
        record, state = await other.record(), await other.state()
        assert (state.run, record.reset_by) == (1, ""), "the next run is left alone"
        assert [lease.body for lease in await late.lease(9)] == [b"new"]
    finally:
        await backend.close()


async def test_a_large_filter_goes_with_its_run(redis_url: str) -> None:
    """In more than one step, of which the last one lets the counts go."""
    backend = open_backend(redis_url, prefix="p")
    try:
        session = QueueSession(backend.request_queue("shop", QueueOptions()), "a")
        await session.join()
        await session.push([Entry(b"page", "s", fingerprint=b"%020d" % 1)])
        with redis.Redis.from_url(redis_url) as client:  # as if it had grown: 512 buckets, twice what one step deletes
            meta, head = "p:{shop:0}:meta", client.keys("p:{shop:0}:f:*")[0].decode().rpartition(":")[0]
            client.hset(meta, mapping={"filter_level": 9, "filter_count": 100_000})
            for number in range(512):
                client.sadd(f"{head}:{number}", 2**62 + number)
            await session.ack(await session.lease(1))
            assert await session.queue.claim_seeding("a")
            assert await session.queue.complete_seeding("a")
            assert await session.queue.finish("a") is Finish.WON
            assert client.keys("p:{shop:0}:f:*") == []
            assert not client.exists(meta)
    finally:
        await backend.close()


async def test_of_the_last_announced_worker_nothing_stays(redis_url: str) -> None:
    """Nobody comes to clean up behind it: the keys have an end of their own."""
    backend = open_backend(redis_url, prefix="p")
    try:
        await backend.worker_registry().announce(WorkerReport("a", "crawl"), 30)
        with redis.Redis.from_url(redis_url) as client:
            left = {key: client.ttl(key) for key in client.keys("*")}
        assert len(left) == 2
        assert all(0 < seconds <= 30 for seconds in left.values())
    finally:
        await backend.close()
