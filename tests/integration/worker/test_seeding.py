"""Seeding is done when every seed is stored, and not before: however the worker ends meanwhile, the
next one gives what is missing.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from scrapy import Request

from mocra_scrapy.exceptions import BackendUnavailable, LockLost
from mocra_scrapy.models import CrawlState, Seeding
from mocra_scrapy.scheduler import Scheduler
from tests.integration.worker.scheduling import URLS, drained, eventually, opened, unseeded

Start = Callable[[], AsyncIterator[Any]]


async def three() -> AsyncIterator[Any]:
    for url in URLS:
        yield Request(url)


async def with_local() -> AsyncIterator[Any]:
    yield Request(URLS[0])
    yield Request(URLS[1], callback=lambda response: None)


async def the_same_twice() -> AsyncIterator[Any]:
    for _ in range(2):
        yield Request(URLS[0], dont_filter=True)


async def driven(scheduler: Scheduler) -> None:
    """Unseeded, and seeds go to the scheduler without an engine."""
    await unseeded(scheduler)
    assert scheduler.worker is not None
    scheduler.worker.engine.crawl = scheduler.enqueue_request  # type: ignore[assignment, method-assign]
    assert await seeding_of(scheduler) is Seeding.OPEN


async def seed(scheduler: Scheduler, start: Start = three) -> None:
    async for _ in scheduler.worker.seeder.run(start()):
        raise AssertionError("requests are scheduled, not given to the engine")


async def state(scheduler: Scheduler) -> CrawlState:
    return await scheduler.mocra.queue.state()


async def seeding_of(scheduler: Scheduler) -> Seeding:
    return (await state(scheduler)).seeding


async def away(**arguments: Any) -> Any:
    raise BackendUnavailable("away")


def shared() -> dict[str, Any]:
    return {"MOCRA_BACKEND": f"memory://{secrets.token_hex(4)}", "MOCRA_CRAWL": "c", "MOCRA_STOP_TIMEOUT": 0}


async def test_it_is_done_when_all_is_stored() -> None:
    async with opened() as scheduler:
        await driven(scheduler)
        await seed(scheduler)
        assert await seeding_of(scheduler) is Seeding.DONE
        assert (await scheduler.mocra.queue.size()).unfinished == 3


@pytest.mark.parametrize("ending", ["closes", "drains"])
async def test_it_is_not_done_while_the_backend_answers_nothing(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``start()`` has ended, its seeds are in this process alone: also when the worker ends now."""
    async with opened(**shared()) as scheduler:
        await driven(scheduler)
        status, state = scheduler.worker.status, scheduler.mocra.worker_state
        monkeypatch.setattr(scheduler.mocra.queue_session, "exchange", away)
        seeding = asyncio.ensure_future(seed(scheduler))
        await eventually(lambda: len(scheduler.worker.outbox) == 3 and status.away_since)
        assert await seeding_of(scheduler) is not Seeding.DONE
        assert not seeding.done()
        if ending == "closes":
            scheduler.worker.on_closing()
        else:
            state.drain()
        await seeding
        assert await seeding_of(scheduler) is not Seeding.DONE, "nothing of it is stored"


async def test_what_is_left_of_it_is_given_by_the_next_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(**shared()) as scheduler:
        await driven(scheduler)
        queue, exchange = scheduler.mocra.queue, scheduler.mocra.queue_session.exchange
        monkeypatch.setattr(scheduler.mocra.queue_session, "exchange", away)
        seeding = asyncio.ensure_future(seed(scheduler))
        await eventually(lambda: len(scheduler.worker.outbox) == 3)
        scheduler.worker.on_closing()
        await seeding
        await queue.join("next")
        assert not await queue.claim_seeding("next"), "it is this worker's as long as it lives"
        await queue.close_worker(scheduler.mocra.worker)
        assert await queue.claim_seeding("next")
        monkeypatch.setattr(scheduler.mocra.queue_session, "exchange", exchange)


@pytest.mark.parametrize("finished", [True, False])
async def test_a_seed_that_stays_here_is_waited_for(finished: bool) -> None:
    """A worker that closes while it is out leaves seeding open: only ``start()`` makes it again."""
    async with opened(**shared()) as scheduler:
        await driven(scheduler)
        seeding = asyncio.ensure_future(seed(scheduler, with_local))
        out: list[Request] = []

        def take() -> bool:
            if (request := scheduler.next_request()) is not None:
                out.append(request)
            return len(out) == 2

        await eventually(take)
        deliveries = scheduler.worker.deliveries
        (local,) = (request for request in out if deliveries.by_id[id(request)].lease is None)
        (stored,) = (request for request in out if request is not local)
        deliveries.finished(stored)
        await eventually(lambda: not scheduler.worker.outbox)
        assert not seeding.done()
        assert await seeding_of(scheduler) is not Seeding.DONE
        if finished:
            deliveries.finished(local)
        else:
            scheduler.worker.on_closing()
        await seeding
        assert (await seeding_of(scheduler) is Seeding.DONE) == finished


async def test_the_same_dont_filter_request_twice_is_two() -> None:
    """And a worker that seeds again stores neither of them again."""
    async with opened() as scheduler:
        await driven(scheduler)
        await seed(scheduler, the_same_twice)
        assert (await scheduler.mocra.queue.size()).unfinished == 2
        again = scheduler.worker.seeder
        again._place = 0
        before = scheduler.crawler.stats.get_value("scheduler/enqueued")
        for n in range(2):
            again._place = n + 1
            again._give(Request(URLS[0], dont_filter=True))
        await eventually(lambda: not scheduler.worker.outbox)
        assert scheduler.crawler.stats.get_value("scheduler/enqueued") == before == 2
        assert (await scheduler.mocra.queue.size()).unfinished == 2


async def test_a_fingerprinter_that_raises_is_met_by_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Scrapy it is no error of ``start()``: the engine stops. What came before it is stored."""

    def refuse(request: Request) -> bytes:
        if request.url == URLS[2]:
            raise KeyError("id")
        return request.url.encode()

    async with opened() as scheduler:
        await driven(scheduler)
        monkeypatch.setattr(scheduler.worker.filter.recent, "fingerprint", refuse)
        given = scheduler.worker.seeder.run(three())
        request = await anext(given)
        assert request.url == URLS[2], "the one that can't be taken in, and no other"
        with pytest.raises(KeyError):
            scheduler.enqueue_request(request)
        await given.aclose()
        assert not scheduler.worker.status.start_failed
        await eventually(lambda: not scheduler.worker.outbox)
        assert (await scheduler.mocra.queue.size()).unfinished == 2
        assert await seeding_of(scheduler) is not Seeding.DONE


@pytest.mark.parametrize("dont_filter", [True, False])
async def test_a_fingerprinter_that_raises_for_a_link_makes_its_parent_a_letter(
    dont_filter: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(request: Request) -> bytes:
        raise KeyError("id")

    async with opened() as scheduler:
        scheduler.enqueue_request(Request(URLS[0]))
        parent = await eventually(scheduler.next_request)
        monkeypatch.setattr(scheduler.worker.filter.recent, "fingerprint", refuse)
        child = Request(URLS[1], dont_filter=dont_filter)
        # Asked about as the link leaves its callback, where nobody would be told: it isn't known.
        assert not scheduler.worker.intake.is_known(child)
        assert scheduler.enqueue_request(child) is dont_filter
        scheduler.worker.deliveries.finished(parent)
        await eventually(lambda: not scheduler.worker.outbox)
        if dont_filter:
            scheduler.worker.deliveries.finished(await eventually(scheduler.next_request))
        await drained(scheduler)
        letters = await scheduler.mocra.queue.dead()
        assert [letter.reason for letter in letters] == ([] if dont_filter else ["child_lost"])


async def test_a_start_that_lost_its_lock_hears_of_it_at_its_next_seed() -> None:
    """Then it has failed, and the crawl is not seeded."""
    now, given = [0.0], []
    async with opened(**shared()) as scheduler:
        await driven(scheduler)

        async def start() -> AsyncIterator[Any]:
            async with scheduler.mocra.lock("door", clock=lambda: now[0]):
                for url in URLS:
                    given.append(url)
                    now[0] += 20
                    yield Request(url)

        with pytest.raises(LockLost):
            await seed(scheduler, start)
        assert given == URLS[:2]
        assert await seeding_of(scheduler) is not Seeding.DONE


async def test_a_start_that_breaks_off_is_known_and_seeds_nothing_for_good() -> None:
    async def broken() -> AsyncIterator[Request]:
        yield Request(URLS[0])
        raise RuntimeError("no more")

    async with opened() as scheduler:
        await driven(scheduler)
        with pytest.raises(RuntimeError, match="no more"):
            await seed(scheduler, broken)
        assert scheduler.worker.status.start_failed
        await eventually(lambda: not scheduler.worker.outbox)
        assert await seeding_of(scheduler) is not Seeding.DONE


async def test_who_closes_tells_the_queue_at_once() -> None:
    async with opened() as scheduler:
        scheduler.worker.status.kicked.clear()
        scheduler.worker.on_closing()
        assert scheduler.worker.status.kicked.is_set()


async def test_without_a_prefetch_one_is_leased_when_the_engine_asks() -> None:
    async with opened() as scheduler:
        worker, options = scheduler.worker, replace(scheduler.mocra.options, prefetch=0)
        worker.status.hungry = True
        assert worker.loop._ahead.want(options) == 1
        worker.status.hungry = False
        assert worker.loop._ahead.want(options) == 0
