"""Which requests look for a departure where they leave."""

from __future__ import annotations

from scrapy import Request

from tests.integration.worker.failing import taken
from tests.integration.worker.scheduling import URLS, opened


async def test_what_was_leased_leaves_and_what_nobody_booked_looks_for_a_departure() -> None:
    async with opened() as scheduler:
        leased = await taken(scheduler, Request(URLS[0]))
        worker = scheduler.worker
        assert worker is not None
        delivery = worker.deliveries.by_id[id(leased)]
        worker.deliveries.taken(leased)  # the engine begins with it
        assert worker.wire.leaves(leased) is None
        assert delivery.sent
        worker.deliveries.taken(leased)  # once more, inline in its own callback
        for nobodys in (leased, Request(URLS[1])):
            looks = worker.wire.leaves(nobodys)
            assert looks is not None
            looks.close()
        worker.deliveries.finished(leased)
        assert worker.wire.leaves(leased) is None
        worker.deliveries.finished(leased)
