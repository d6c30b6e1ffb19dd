"""Names of stored entries: what tells copies of a request apart, and stays when one is handed out again."""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request, signals

from mocra_scrapy.scheduler import Scheduler
from mocra_scrapy.worker.entry_names import META_ENTRY
from tests.integration.worker.failing import broken, letters, taken, tell
from tests.integration.worker.scheduling import URLS, eventually, opened, unseeded


def name_of(scheduler: Scheduler, request: Request) -> bytes:
    assert META_ENTRY not in request.meta, "nobody sees it"
    assert scheduler.worker is not None
    return scheduler.worker.deliveries.by_id[id(request)].entry


def stored_name(scheduler: Scheduler, body: bytes) -> Any:
    """What another worker would read."""
    assert scheduler.worker is not None
    return scheduler.worker.codec.decode(body).meta.get(META_ENTRY)


@pytest.mark.parametrize("one_object", [True, False])
async def test_copies_of_a_request_have_names_of_their_own(one_object: bool) -> None:
    async with opened() as scheduler:
        scheduler.mocra.worker_state.names_entries = True
        first = Request(URLS[0], dont_filter=True)
        second = first if one_object else first.copy()
        one = await taken(scheduler, first, second)
        other = await taken(scheduler)
        deliveries = scheduler.worker.deliveries
        names = [name_of(scheduler, request) for request in (one, other)]
        bodies = [deliveries.by_id[id(request)].lease.body for request in (one, other)]
        assert len(set(names)) == 2
        assert all(names)
        assert [stored_name(scheduler, body) for body in bodies] == names
        child = await taken(scheduler, Request(URLS[0], dont_filter=True, meta=one.meta))
        assert name_of(scheduler, child) not in names
        for request in (one, other, child):
            deliveries.finished(request)


async def test_without_anybody_who_asks_there_are_none() -> None:
    async with opened() as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        assert name_of(scheduler, request) == b""
        scheduler.worker.deliveries.finished(request)


async def test_what_a_replay_puts_back_has_its_name_still() -> None:
    async with opened() as scheduler:
        scheduler.mocra.worker_state.names_entries = True
        request = await taken(scheduler, Request(URLS[0], meta={"retry_times": 1}))
        name = name_of(scheduler, request)
        tell(scheduler, signals.item_error, item={}, failure=broken())
        scheduler.worker.deliveries.finished(request)
        (letter,) = await letters(scheduler)
        assert stored_name(scheduler, letter.body) == name


async def test_seeds_that_are_given_again_are_known_again() -> None:
    """Their names are the same then, too: the filter knows them by what they are without."""
    async with opened() as scheduler:
        scheduler.mocra.worker_state.names_entries = True
        await unseeded(scheduler)
        worker, names = scheduler.worker, set()
        assert worker is not None
        worker.engine.crawl = scheduler.enqueue_request  # type: ignore[assignment, method-assign]
        request = Request(URLS[0], dont_filter=True)
        for round_ in range(2):
            for place in (1, 2):
                worker.seeder._place = place
                worker.seeder._give(request if round_ == 0 else Request(URLS[0], dont_filter=True))
            await eventually(lambda: not worker.outbox)
            assert (await scheduler.mocra.queue.size()).unfinished == 2
        for _ in range(2):
            request = await taken(scheduler)
            names.add(name_of(scheduler, request))
            worker.deliveries.finished(request)
        assert len(names) == 2
        assert all(names)
