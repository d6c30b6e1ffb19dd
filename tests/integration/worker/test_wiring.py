"""A scheduler of ours hooked into an engine of Scrapy's that runs nothing: what each hook is for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from scrapy import Request, signals
from scrapy.core.engine import ExecutionEngine, _Slot
from scrapy.core.scraper import Scraper
from scrapy.exceptions import CloseSpider, DontCloseSpider
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.reactor import CallLaterOnce
from scrapy.utils.test import get_crawler
from twisted.python.failure import Failure

from mocra_scrapy.models import Seeding
from mocra_scrapy.scheduler import Scheduler
from tests.integration.worker.scheduling import URLS, OneSpider, drained, eventually, holds_what_it_counts

MINDS = (DontCloseSpider, CloseSpider)


@asynccontextmanager
async def hooked(start: Any = None, **settings: Any) -> AsyncIterator[tuple[Scheduler, Any]]:
    """The scheduler and the engine; *start* stands for what ``start()`` gives."""
    crawler = get_crawler(
        OneSpider, {"MOCRA_EXCHANGE_INTERVAL": 0, "MOCRA_PREFETCH": 16, **settings}, prevent_warnings=False
    )
    crawler.spider = crawler._create_spider()
    engine: Any = ExecutionEngine(crawler, lambda _: None)
    crawler.engine, engine.spider, engine._start = engine, crawler.spider, start
    scheduler = Scheduler.from_crawler(crawler)
    engine._slot = _Slot(False, CallLaterOnce(lambda: None), scheduler)
    engine.scraper.slot = type("Nothing", (), {"is_idle": lambda self: True})()
    await maybe_deferred_to_future(scheduler.open(crawler.spider))  # type: ignore[arg-type]
    try:
        yield scheduler, engine
        holds_what_it_counts(scheduler)
    finally:
        await maybe_deferred_to_future(scheduler.close("finished"))  # type: ignore[arg-type]
        engine.downloader.close()


async def fetched(scheduler: Scheduler, engine: Any, request: Request) -> Request:
    """Taken in and handed out; the engine has it."""
    engine.crawl(request)
    found: Request = await eventually(scheduler.next_request)
    engine._slot.add_request(found)
    return found


def opinions(engine: Any) -> list[type]:
    """What the handlers of ``spider_idle`` say."""
    results = engine.signals.send_catch_log(signals.spider_idle, spider=engine.spider, dont_log=MINDS)
    return [type(result.value) for _, result in results if isinstance(result, Failure)]


async def test_an_inline_fetch_of_itself_settles_nothing() -> None:
    async with hooked() as (scheduler, engine):
        request = await fetched(scheduler, engine, Request(URLS[0]))
        engine._slot.add_request(request)  # engine.download_async(response.request)
        engine._slot.remove_request(request)
        assert scheduler.worker.deliveries.by_id[id(request)].lease is not None
        assert not scheduler.worker.outbox
        with pytest.raises(KeyError):
            engine._slot.remove_request(request)  # Scrapy logs it; it lets go of it all the same
        await drained(scheduler)
        assert scheduler.crawler.stats.get_value("mocra/queue/acked") == 1


async def test_whoever_minds_is_heard_wherever_he_stands() -> None:
    """The end is a question to the whole cluster, and is asked when nobody has an opinion."""
    async with hooked() as (scheduler, engine):

        def minds() -> None:
            raise DontCloseSpider

        def would_close() -> None:
            raise CloseSpider("enough")

        status = scheduler.worker.status
        for handler in (minds, would_close):
            engine.signals.connect(handler, signals.spider_idle)
            assert len(opinions(engine)) == 1
            assert not status.wants_end
            engine.signals.disconnect(handler, signals.spider_idle)
        assert opinions(engine) == [DontCloseSpider]
        assert status.wants_end


async def test_closing_gives_back_at_once() -> None:
    async with hooked() as (scheduler, engine):
        for url in URLS:
            engine.crawl(Request(url))
        await eventually(lambda: scheduler.worker.inbox.leased == 3)
        closing = engine._slot.close()  # before it waits for what is in flight
        assert scheduler.worker.status.closing
        assert scheduler.worker.inbox.leased == 0
        assert scheduler.next_request() is None
        if asyncio.iscoroutine(closing):
            closing.close()


@pytest.mark.parametrize(
    ("signal", "arguments", "reason"),
    [
        (signals.spider_error, {"response": None}, "callback"),
        (signals.item_error, {"item": {}, "response": None}, "item"),
    ],
)
async def test_errors_are_heard(signal: object, arguments: dict[str, Any], reason: str) -> None:
    async with hooked() as (scheduler, engine):
        request = await fetched(scheduler, engine, Request(URLS[0]))
        failure = Failure(ValueError("broken"))
        engine.signals.send_catch_log(signal, spider=engine.spider, failure=failure, **arguments)
        engine._slot.remove_request(request)
        await drained(scheduler)
        assert [letter.reason for letter in await scheduler.mocra.queue.dead()] == [reason]


async def test_a_download_that_nobody_took_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Failure that comes in as a download's and leaves unchanged."""
    monkeypatch.setattr(Scraper, "enqueue_scrape", lambda scraper, result, request: None)
    async with hooked() as (scheduler, engine):
        request = await fetched(scheduler, engine, Request(URLS[0]))
        failure = Failure(OSError("no route"))
        engine.scraper.enqueue_scrape(failure, request)
        with pytest.raises(OSError, match="no route"):
            await engine.scraper.call_spider_async(failure, request)
        engine._slot.remove_request(request)
        await drained(scheduler)
        assert [letter.reason for letter in await scheduler.mocra.queue.dead()] == ["download"]


async def test_what_left_the_downloader_frees_its_place() -> None:
    async with hooked(MOCRA_THROTTLE={"foo.test": {"concurrency": 1}}) as (scheduler, engine):
        first = await fetched(scheduler, engine, Request(URLS[0]))
        engine.crawl(Request(URLS[1]))
        await eventually(lambda: not scheduler.worker.outbox)
        assert scheduler.next_request() is None
        engine.signals.send_catch_log(signals.request_left_downloader, request=first, spider=engine.spider)
        second = await eventually(scheduler.next_request)
        engine._slot.add_request(second)
        engine._slot.remove_request(first)
        engine._slot.remove_request(second)
        await drained(scheduler)


async def test_known_links_are_not_even_scheduled() -> None:
    async with hooked() as (scheduler, engine):
        request = await fetched(scheduler, engine, Request(URLS[0]))
        engine._slot.remove_request(request)
        taken: list[Request] = []
        take = scheduler.worker.intake.take
        scheduler.enqueue_request = lambda request: taken.append(request) or take(request)  # type: ignore[method-assign, func-returns-value, assignment]
        engine.crawl(Request(URLS[0]))
        assert not taken
        engine.signals.connect(lambda: None, signals.request_dropped, weak=False)
        scheduler.worker.engine.listen_again()
        engine.crawl(Request(URLS[0]))
        assert [one.url for one in taken] == [URLS[0]]
        assert scheduler.crawler.stats.get_value("dupefilter/filtered") == 2
        await drained(scheduler)


async def test_start_runs_behind_the_seeder() -> None:
    async def start() -> AsyncIterator[Any]:
        yield Request(URLS[0])
        yield {"item": 1}

    given = start()
    async with hooked(given) as (scheduler, engine):
        assert engine._start is not given
        running = asyncio.ensure_future(engine._start.__anext__())
        assert await running == {"item": 1}
        with pytest.raises(StopAsyncIteration):
            await engine._start.__anext__()
        assert (await scheduler.mocra.queue.state()).seeding is Seeding.DONE
        assert scheduler.crawler.stats.get_value("scheduler/enqueued") == 1


async def test_a_seeder_that_waits_hears_that_nothing_can_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    async with hooked() as (scheduler, _):
        looks: list[int] = []
        monkeypatch.setattr(type(scheduler.worker.seeder), "look_again", lambda seeder: looks.append(1))
        assert scheduler.next_request() is None
        assert looks == [1]
        scheduler.enqueue_request(Request(URLS[0]))
        await eventually(lambda: scheduler.worker.inbox.leased == 1)
        looks.clear()
        request = scheduler.next_request()
        assert request is not None
        assert not looks
        scheduler.worker.deliveries.finished(request)
        await drained(scheduler)


@pytest.mark.parametrize(("scope", "waits"), [("cluster", False), ("worker", True)])
async def test_a_slots_delay_is_waited_for_once(scope: str, waits: bool) -> None:
    """Where the queue books departures the downloader adds none of its own."""
    async with hooked(DOWNLOAD_DELAY=7, MOCRA_THROTTLE_SCOPE=scope) as (_, engine):
        _, slot = engine.downloader._get_slot(Request(URLS[0]))
        assert (slot.download_delay() > 0) == waits
