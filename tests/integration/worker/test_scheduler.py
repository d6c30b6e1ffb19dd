"""What ours does beyond Scrapy's: requests that can't be stored, dead letters, the end, seeding,
closing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import DontCloseSpider
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.test import get_crawler

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import QueueOptions, Seeding
from mocra_scrapy.scheduler import Scheduler
from tests.integration.worker.scheduling import URLS, OneSpider, dequeue, drained, eventually, opened, unseeded


async def test_what_cannot_be_stored_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as scheduler:
        for n in range(3):
            assert scheduler.enqueue_request(Request(URLS[n], callback=lambda response: None))
        assert not scheduler.enqueue_request(Request(URLS[0])), "its fingerprint is known here"
        assert caplog.text.count("Unable to serialize request") == 1
        assert "is not a method of spider 'one'" in caplog.text
        assert [(await dequeue(scheduler)).url for _ in range(3)] == URLS
        assert scheduler.crawler.stats.get_value("mocra/scheduler/unserializable") == 3
        assert scheduler.crawler.stats.get_value("scheduler/dequeued/memory") == 3
        await drained(scheduler)


async def test_a_request_that_cannot_be_kept_makes_its_parent_a_dead_letter() -> None:
    async with opened(MOCRA_REQUIRE_SERIALIZABLE=True) as scheduler:
        scheduler.enqueue_request(Request(URLS[0]))
        parent = await eventually(scheduler.next_request)
        assert scheduler.enqueue_request(Request(URLS[1], callback=lambda response: None)) is False
        scheduler.worker.deliveries.finished(parent)
        await drained(scheduler)
        (letter,) = await scheduler.mocra.queue.dead()
        assert letter.reason == "child_lost"
        assert URLS[1] in letter.detail
        assert scheduler.crawler.stats.get_value("mocra/scheduler/enqueue_failed") == 1


@pytest.mark.parametrize("local", [False, True])
async def test_the_same_object_may_be_yielded_again_while_it_is_out(local: bool) -> None:
    """``yield response.request`` from its own callback: both deliveries are settled, each for
    itself.
    """
    async with opened() as scheduler:
        callback = (lambda response: None) if local else None
        scheduler.enqueue_request(Request(URLS[0], callback, dont_filter=True))
        first = await eventually(scheduler.next_request)
        scheduler.enqueue_request(first)
        second = await eventually(scheduler.next_request)
        assert second is not first
        assert second.url == first.url
        scheduler.worker.deliveries.finished(first)
        scheduler.worker.deliveries.finished(second)
        await drained(scheduler)
        assert len(scheduler.worker.deliveries) == 0
        assert scheduler.crawler.stats.get_value("mocra/queue/acked", 0) == (0 if local else 2)


async def test_unreadable_entries_become_dead_letters() -> None:
    from mocra_scrapy.models import Entry

    async with opened() as scheduler:
        await scheduler.mocra.queue.join("other")
        await QueueSession(scheduler.mocra.queue, "other").push([Entry(b"foreign", "foo.test")])
        scheduler.enqueue_request(Request(URLS[0]))
        assert (await dequeue(scheduler)).url == URLS[0]
        assert scheduler.worker.status is not None
        await eventually(lambda: scheduler.worker.status.size.dead == 1 or scheduler.next_request())  # type: ignore[union-attr]
        (letter,) = await scheduler.mocra.queue.dead()
        assert letter.reason == "unreadable"


async def test_an_idle_worker_stays_while_there_is_work() -> None:
    async with opened() as scheduler:
        with pytest.raises(DontCloseSpider):
            scheduler.worker.handler.on_idle(False)
        scheduler.enqueue_request(Request(URLS[0]))
        await dequeue(scheduler)
        await drained(scheduler)
        with pytest.raises(DontCloseSpider):
            scheduler.worker.handler.on_idle(False)  # asks the cluster…
        await eventually(lambda: scheduler.worker.status.finished)
        scheduler.worker.handler.on_idle(False)  # …which says: it is over
        assert scheduler.crawler.stats.get_value("mocra/crawl/finished_here") is True


@pytest.mark.parametrize(("mode", "leaves"), [("idle", True), ("never", False)])
async def test_close_modes(mode: str, leaves: bool) -> None:
    async with opened(MOCRA_CLOSE=mode) as scheduler:
        scheduler.enqueue_request(Request(URLS[0]))
        await dequeue(scheduler)
        await drained(scheduler)
        scheduler.next_request()
        turns = scheduler.worker.status
        assert turns is not None
        await eventually(lambda: turns.dry)
        if leaves:
            scheduler.worker.handler.on_idle(False)
        else:
            with pytest.raises(DontCloseSpider):
                scheduler.worker.handler.on_idle(False)


async def test_closing_twice_and_half_open() -> None:
    crawler = get_crawler(OneSpider, {}, prevent_warnings=False)
    scheduler = Scheduler.from_crawler(crawler)
    await maybe_deferred_to_future(scheduler.close("shutdown"))  # type: ignore[arg-type]
    await maybe_deferred_to_future(scheduler.close("shutdown"))  # type: ignore[arg-type]


async def test_closing_hands_back() -> None:
    backend = open_backend("memory://test-handback")
    async with opened(MOCRA_BACKEND="memory://test-handback", MOCRA_CRAWL="c") as scheduler:
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        await eventually(lambda: len(scheduler.worker.inbox) == 3)
    size = await backend.request_queue("c", QueueOptions()).size()
    assert (size.pending, size.leased) == (3, 0)


async def test_an_error_in_the_suite_closes_this_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What can't be repeated must not hang: the spider closes with a reason of its own, and the log
    says why.
    """
    async with opened(MOCRA_STOP_TIMEOUT=0) as scheduler:
        closed: list[str] = []
        monkeypatch.setattr(scheduler.worker.engine, "close_spider", closed.append)

        async def broken(*args: Any, **kwargs: Any) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(scheduler.mocra.queue_session, "exchange", broken)
        scheduler.enqueue_request(Request(URLS[0]))
        await eventually(lambda: closed == ["mocra_error"])
        assert "this worker stops" in caplog.text
        assert scheduler.crawler.stats.get_value("mocra/worker/broken") == 1
        scheduler.worker.handler.on_idle(False)  # nothing keeps it open


class Seeding2000:
    """Drives the seeder of *scheduler* through ``start()`` of 2,000 requests, as the engine does;
    the last has a host of its own.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.crawled = 0
        scheduler.worker.engine.crawl = self._crawl  # type: ignore[method-assign]

    def _crawl(self, request: Request) -> None:
        self.crawled += 1
        self.scheduler.enqueue_request(request)

    async def _start(self) -> AsyncIterator[Request]:
        for n in range(1999):
            yield Request(f"http://foo.test/{n}")
        yield Request("http://idle.test/")

    async def __call__(self) -> None:
        await unseeded(self.scheduler)
        assert self.scheduler.worker is not None
        async for _ in self.scheduler.worker.seeder.run(self._start()):
            raise AssertionError("requests are scheduled, not given to the engine")


@pytest.mark.parametrize("turns_of_the_loop", [0, 30])
async def test_seeds_wait_while_there_is_enough(turns_of_the_loop: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """``start()`` is driven at its own pace, but not without bound, however long an exchange takes."""
    settings = {"MOCRA_SEEDS_AHEAD": 100, "MOCRA_PREFETCH": 10, "CONCURRENT_REQUESTS": 10}
    # The slot is never full: else nothing of what is pending could be fetched, and there is no
    # bound then.
    async with opened(**settings, CONCURRENT_REQUESTS_PER_DOMAIN=4000) as scheduler:
        exchange = scheduler.mocra.queue_session.exchange

        async def slow(**arguments: Any) -> Any:
            for _ in range(turns_of_the_loop):
                await asyncio.sleep(0)
            return await exchange(**arguments)

        monkeypatch.setattr(scheduler.mocra.queue_session, "exchange", slow)
        seeding = Seeding2000(scheduler)
        task = asyncio.ensure_future(seeding())
        await eventually(lambda: seeding.crawled >= 100)
        taken = 0
        while taken < 2000:
            assert seeding.crawled - taken <= 100 + 200 + 50 + 20, "what is pending, a batch, a breath, what is leased"
            request = scheduler.next_request()
            if request is None:
                await asyncio.sleep(0.001)
            else:
                scheduler.worker.deliveries.finished(request)  # as the engine does: its place in the slot is free
                taken += 1
        await task
        assert (await scheduler.mocra.queue.state()).seeding is Seeding.DONE


async def test_seeds_do_not_wait_while_nothing_that_is_pending_can_be_fetched() -> None:
    """The seed of an idle host comes through behind many of a host whose permits are all taken."""
    settings = {"MOCRA_SEEDS_AHEAD": 100, "MOCRA_PREFETCH": 10, "CONCURRENT_REQUESTS": 10}
    async with opened(**settings, CONCURRENT_REQUESTS_PER_DOMAIN=2) as scheduler:
        seeding = Seeding2000(scheduler)
        task = asyncio.ensure_future(seeding())
        urls = [(await eventually(scheduler.next_request)).url for _ in range(3)]
        assert [url.startswith("http://foo.test/") for url in urls] == [True, True, False]
        assert urls[2] == "http://idle.test/"
        await task


async def test_a_callback_waits_while_too_much_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while the worker closes it must not wait for a backend that is away."""
    async with opened(MOCRA_OUTBOX_MAX=10) as scheduler:
        exchange, session = scheduler.mocra.queue_session.exchange, scheduler.mocra.queue_session

        async def away(**arguments: Any) -> Any:
            raise BackendUnavailable("away")

        monkeypatch.setattr(session, "exchange", away)
        for n in range(10):
            scheduler.enqueue_request(Request(f"http://foo.test/{n}"))
        await asyncio.wait_for(scheduler.worker.intake.room(), 60)
        scheduler.enqueue_request(Request("http://foo.test/10"))
        waiting = asyncio.ensure_future(scheduler.worker.intake.room())
        await eventually(lambda: scheduler.worker.status and scheduler.worker.status.away_since)
        assert not waiting.done()
        monkeypatch.setattr(session, "exchange", exchange)
        await asyncio.wait_for(waiting, 60)
        assert len(scheduler.worker.outbox) <= 10
        monkeypatch.setattr(session, "exchange", away)
        for n in range(20, 40):
            scheduler.enqueue_request(Request(f"http://foo.test/{n}"))
        waiting = asyncio.ensure_future(scheduler.worker.intake.room())
        await asyncio.sleep(0)
        scheduler.worker.on_closing()
        await asyncio.wait_for(waiting, 60)
        monkeypatch.setattr(session, "exchange", exchange)


async def test_one_request_of_a_slot_goes_before_robots_txt_is_there() -> None:
    async with opened(CONCURRENT_REQUESTS_PER_DOMAIN=4) as scheduler:
        gate = scheduler.mocra.worker_state.gate
        gate.watched = True
        for host in ("foo", "bar"):
            for n in range(3):
                assert scheduler.enqueue_request(Request(f"http://{host}.test/{n}"))
        first = [await eventually(scheduler.next_request) for _ in range(2)]
        assert {request.url[7:10] for request in first} == {"foo", "bar"}, "nobody waits for another host"
        worker = scheduler.worker
        assert worker is not None
        await eventually(lambda: worker.inbox.leased == 4)
        assert scheduler.next_request() is None
        gate.close("foo.test")
        assert worker.policy.fetchable(worker.inbox) == 2, "what waits behind it is no stock"
        gate.open("foo.test")
        assert [(await eventually(scheduler.next_request)).url for _ in range(2)] == [
            "http://foo.test/1",
            "http://foo.test/2",
        ]
        assert scheduler.next_request() is None
        bar = next(request for request in first if "bar" in request.url)
        worker.deliveries.finished(bar)  # nobody asked for anything: an answer of another middleware
        rest = [await eventually(scheduler.next_request) for _ in range(2)]
        assert [request.url for request in rest] == ["http://bar.test/1", "http://bar.test/2"]
        for request in [*list(worker.deliveries.by_id.values())]:
            worker.deliveries.finished(request.request)
