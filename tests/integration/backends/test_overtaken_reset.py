"""A process that deletes a crawl, is stopped, and goes on when somebody else has done it meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Entry, QueueOptions

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
