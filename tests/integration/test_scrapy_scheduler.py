"""What Scrapy's own tests ask of a scheduler (``tests/test_scheduler.py``, ``test_scheduler_base.py`` of its sources, re-written for an
asynchronous queue behind the same synchronous seam), asked of ours on the memory backend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from scrapy import Request, Spider, signals
from scrapy.core.scheduler import BaseScheduler, BaseSchedulerMeta
from scrapy.exceptions import DontCloseSpider
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.test import get_crawler
from twisted.internet import asyncioreactor

from mocra_scrapy._inbox import Recall
from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import QueueOptions, Seeding
from mocra_scrapy.scheduler import Scheduler
from mocra_scrapy.session import WorkerSession

URLS = [f"http://foo.test/{name}" for name in "abc"]
PRIORITIES = [
    ("http://foo.test/a", -2),
    ("http://foo.test/d", 1),
    ("http://foo.test/b", -1),
    ("http://foo.test/c", 0),
    ("http://foo.test/e", 2),
]


class OneSpider(Spider):
    name = "one"

    def parse(self, response: Any) -> None: ...

    def other(self, response: Any) -> None: ...


@pytest.fixture(scope="module", autouse=True)
def _reactor() -> Iterator[None]:
    """Deferreds of a scheduler's ``open`` and ``close`` need to know which kind it is; nothing here runs it."""
    loop = asyncio.new_event_loop()
    asyncioreactor.install(loop)
    yield
    from twisted.internet import reactor

    reactor.disconnectAll()  # type: ignore[attr-defined]
    loop.close()


@asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[Scheduler]:
    settings = {"SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue", "MOCRA_TURN_INTERVAL": 0, **settings}
    crawler = get_crawler(OneSpider, settings, prevent_warnings=False)
    crawler.spider = crawler._create_spider()
    scheduler = Scheduler.from_crawler(crawler)
    await maybe_deferred_to_future(scheduler.open(crawler.spider))  # type: ignore[arg-type]
    try:
        yield scheduler
    finally:
        await maybe_deferred_to_future(scheduler.close("finished"))  # type: ignore[arg-type]


async def eventually(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 5
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.001)
    return found


async def dequeue(scheduler: Scheduler) -> Request:
    """As the engine: ask, and ask again when woken."""
    request = await eventually(scheduler.next_request)
    scheduler._deliveries.finished(request)
    found: Request = request
    return found


async def drained(scheduler: Scheduler) -> None:
    await eventually(lambda: not scheduler.has_pending_requests())
    await eventually(lambda: not scheduler._turns or not scheduler._turns.size.unfinished)


# ---------------------------------------------------------------------- the interface


def test_it_is_a_scheduler() -> None:
    assert issubclass(Scheduler, BaseScheduler)
    assert isinstance(Scheduler, BaseSchedulerMeta)


async def test_methods_have_the_documented_answers() -> None:
    async with opened() as scheduler:
        assert scheduler.has_pending_requests() is False
        assert scheduler.next_request() is None
        assert scheduler.enqueue_request(Request(URLS[0])) is True
        assert scheduler.has_pending_requests() is True
        assert scheduler.enqueue_request(Request(URLS[0])) is False


# ---------------------------------------------------------------------- queueing


async def test_length() -> None:
    async with opened() as scheduler:
        assert not scheduler.has_pending_requests()
        assert len(scheduler) == 0
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        assert scheduler.has_pending_requests()
        assert len(scheduler) == len(URLS)
        assert len(scheduler.mqs) + len(scheduler.dqs) == len(URLS)


async def test_dequeue() -> None:
    async with opened() as scheduler:
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        assert {(await dequeue(scheduler)).url for _ in URLS} == set(URLS)
        await drained(scheduler)
        assert scheduler.next_request() is None


async def test_dequeue_priorities() -> None:
    async with opened(MOCRA_PREFETCH=0) as scheduler:
        for url, priority in PRIORITIES:
            scheduler.enqueue_request(Request(url, priority=priority))
        await eventually(lambda: not scheduler.outbox)
        priorities = [(await dequeue(scheduler)).priority for _ in PRIORITIES]
        assert priorities == sorted((p for _, p in PRIORITIES), reverse=True)


@pytest.mark.parametrize(("order", "expected"), [("fifo", "abc"), ("lifo", "cba")])
async def test_order_within_a_priority(order: str, expected: str) -> None:
    async with opened(MOCRA_QUEUE_ORDER=order) as scheduler:
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        await eventually(lambda: not scheduler.outbox)
        assert "".join([(await dequeue(scheduler)).url[-1] for _ in URLS]) == expected


async def test_start_requests_come_last_first_in_first_out() -> None:
    async with opened(MOCRA_QUEUE_ORDER="lifo", MOCRA_PREFETCH=0) as scheduler:
        for name in "ab":
            scheduler.enqueue_request(Request(f"http://foo.test/s{name}", meta={"is_start_request": True}))
        for name in "cd":
            scheduler.enqueue_request(Request(f"http://foo.test/{name}"))
        await eventually(lambda: not scheduler.outbox)
        assert [(await dequeue(scheduler)).url.rpartition("/")[2] for _ in range(4)] == ["d", "c", "sa", "sb"]


async def test_start_requests_are_like_others_without_their_queue() -> None:
    async with opened(MOCRA_QUEUE_ORDER="fifo", SCHEDULER_START_MEMORY_QUEUE=None) as scheduler:
        scheduler.enqueue_request(Request(URLS[0], meta={"is_start_request": True}))
        scheduler.enqueue_request(Request(URLS[1]))
        await eventually(lambda: not scheduler.outbox)
        assert [(await dequeue(scheduler)).url for _ in range(2)] == URLS[:2]


@pytest.mark.parametrize("recalled", [0, 10])
async def test_callbacks_and_all_attributes_come_back(recalled: int) -> None:
    """From what was stored, and as the object that is still at hand."""
    async with opened() as scheduler:
        scheduler._recall = Recall(recalled)
        spider: Any = scheduler.spider
        request = Request(
            URLS[0], spider.other, errback=spider.parse, meta={"k": (1, {2})}, cb_kwargs={"n": 1}, flags=["f"]
        )
        scheduler.enqueue_request(request)
        back = await dequeue(scheduler)
        assert (back is request) == bool(recalled)
        assert {name: getattr(back, name) for name in Request.attributes} == {
            name: getattr(request, name) for name in Request.attributes
        }


# ---------------------------------------------------------------------- filtering


async def test_duplicates_are_filtered_and_counted() -> None:
    async with opened() as scheduler:
        assert scheduler.enqueue_request(Request(URLS[0]))
        assert not scheduler.enqueue_request(Request(URLS[0]))
        assert scheduler.enqueue_request(Request(URLS[0], dont_filter=True))
        assert scheduler.enqueue_request(Request(URLS[0], dont_filter=True))
        assert scheduler.stats.get_value("dupefilter/filtered") == 1
        assert [(await dequeue(scheduler)).url for _ in range(3)] == [URLS[0]] * 3
        await drained(scheduler)


async def test_what_only_the_cluster_knows_is_dropped_a_moment_later() -> None:
    shared = open_backend("memory://test-dropped")
    async with opened(MOCRA_BACKEND="memory://test-dropped", MOCRA_CRAWL="c") as first:
        first.enqueue_request(Request(URLS[0]))
        await eventually(lambda: not first.outbox)
        queue = shared.request_queue("c", QueueOptions())
        await queue.join("other")
        others = WorkerSession(queue, "other")
        fingerprint = first.df.fingerprint  # type: ignore[attr-defined]
        from mocra_scrapy.models import Entry

        assert list(await others.push([Entry(b"", "s", fingerprint=fingerprint(Request(URLS[1])))])) == [True]
        dropped: list[str] = []

        def note(request: Request, spider: Spider) -> None:
            dropped.append(request.url)

        first.crawler.signals.connect(note, signals.request_dropped)
        assert first.enqueue_request(Request(URLS[1])), "nobody here knows it yet"
        await eventually(lambda: dropped == [URLS[1]])
        assert not first.enqueue_request(Request(URLS[1])), "now it is known here"
        assert first.stats.get_value("scheduler/enqueued") == 1


async def test_a_foreign_dupefilter_decides_alone(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(DUPEFILTER_CLASS=Everything) as scheduler:
        assert "it decides alone" in caplog.text
        assert not scheduler.enqueue_request(Request(URLS[0]))
        assert scheduler.enqueue_request(Request(URLS[0], dont_filter=True))


async def test_base_dupefilter_filters_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(DUPEFILTER_CLASS="scrapy.dupefilters.BaseDupeFilter") as scheduler:
        assert "it decides alone" not in caplog.text
        for _ in range(3):
            assert scheduler.enqueue_request(Request(URLS[0]))
        assert [(await dequeue(scheduler)).url for _ in range(3)] == [URLS[0]] * 3


from scrapy.dupefilters import BaseDupeFilter  # noqa: E402


class Everything(BaseDupeFilter):
    def request_seen(self, request: Request) -> bool:
        return True


# ---------------------------------------------------------------------- stats, what can't be stored, the end


async def test_stats_are_scrapys() -> None:
    async with opened() as scheduler:
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        for _ in URLS:
            await dequeue(scheduler)
        await drained(scheduler)
        assert scheduler.stats.get_value("scheduler/enqueued") == 3
        assert scheduler.stats.get_value("scheduler/dequeued") == 3
        assert scheduler.stats.get_value("mocra/queue/acked") == 3
        assert scheduler.stats.get_value("scheduler/enqueued/memory") is None


async def test_what_cannot_be_stored_stays_here(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as scheduler:
        for n in range(3):
            assert scheduler.enqueue_request(Request(URLS[n], callback=lambda response: None))
        assert not scheduler.enqueue_request(Request(URLS[0])), "its fingerprint is known here"
        assert caplog.text.count("Unable to serialize request") == 1
        assert "is not a method of spider 'one'" in caplog.text
        assert [(await dequeue(scheduler)).url for _ in range(3)] == URLS
        assert scheduler.stats.get_value("mocra/scheduler/unserializable") == 3
        assert scheduler.stats.get_value("scheduler/dequeued/memory") == 3
        await drained(scheduler)


async def test_a_request_that_cannot_be_kept_makes_its_parent_a_dead_letter() -> None:
    async with opened(MOCRA_REQUIRE_SERIALIZABLE=True) as scheduler:
        scheduler.enqueue_request(Request(URLS[0]))
        parent = await eventually(scheduler.next_request)
        assert scheduler.enqueue_request(Request(URLS[1], callback=lambda response: None)) is False
        scheduler._deliveries.finished(parent)
        await drained(scheduler)
        (letter,) = await scheduler.mocra.queue.dead()
        assert letter.reason == "child_lost"
        assert URLS[1] in letter.detail
        assert scheduler.stats.get_value("mocra/scheduler/enqueue_failed") == 1


@pytest.mark.parametrize("local", [False, True])
async def test_the_same_object_may_be_yielded_again_while_it_is_out(local: bool) -> None:
    """``yield response.request`` from its own callback: both deliveries are settled, each for itself."""
    async with opened() as scheduler:
        callback = (lambda response: None) if local else None
        scheduler.enqueue_request(Request(URLS[0], callback, dont_filter=True))
        first = await eventually(scheduler.next_request)
        scheduler.enqueue_request(first)
        second = await eventually(scheduler.next_request)
        assert second is not first
        assert second.url == first.url
        scheduler._deliveries.finished(first)
        scheduler._deliveries.finished(second)
        await drained(scheduler)
        assert len(scheduler._deliveries) == 0
        assert scheduler.stats.get_value("mocra/queue/acked", 0) == (0 if local else 2)


async def test_unreadable_entries_become_dead_letters() -> None:
    from mocra_scrapy.models import Entry

    async with opened() as scheduler:
        await scheduler.mocra.queue.join("other")
        await WorkerSession(scheduler.mocra.queue, "other").push([Entry(b"foreign", "foo.test")])
        scheduler.enqueue_request(Request(URLS[0]))
        assert (await dequeue(scheduler)).url == URLS[0]
        assert scheduler._turns is not None
        await eventually(lambda: scheduler._turns.size.dead == 1 or scheduler.next_request())  # type: ignore[union-attr]
        (letter,) = await scheduler.mocra.queue.dead()
        assert letter.reason == "unreadable"


async def test_an_idle_worker_stays_while_there_is_work() -> None:
    async with opened() as scheduler:
        with pytest.raises(DontCloseSpider):
            scheduler._answers.on_idle()
        scheduler.enqueue_request(Request(URLS[0]))
        await dequeue(scheduler)
        await drained(scheduler)
        with pytest.raises(DontCloseSpider):
            scheduler._answers.on_idle()  # asks the cluster…
        await eventually(lambda: scheduler._answers.finished)
        scheduler._answers.on_idle()  # …which says: it is over
        assert scheduler.stats.get_value("mocra/crawl/finished_here") is True


@pytest.mark.parametrize(("mode", "leaves"), [("idle", True), ("never", False)])
async def test_close_modes(mode: str, leaves: bool) -> None:
    async with opened(MOCRA_CLOSE=mode) as scheduler:
        scheduler.enqueue_request(Request(URLS[0]))
        await dequeue(scheduler)
        await drained(scheduler)
        scheduler.next_request()
        turns = scheduler._turns
        assert turns is not None
        await eventually(lambda: turns.dry)
        if leaves:
            scheduler._answers.on_idle()
        else:
            with pytest.raises(DontCloseSpider):
                scheduler._answers.on_idle()


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
        await eventually(lambda: len(scheduler.inbox) == 3)
    size = await backend.request_queue("c", QueueOptions()).size()
    assert (size.pending, size.leased) == (3, 0)


async def test_an_error_in_the_suite_closes_this_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What can't be repeated must not hang: the spider closes with a reason of its own, and the log says why."""
    async with opened(MOCRA_STOP_TIMEOUT=0) as scheduler:
        closed: list[str] = []
        monkeypatch.setattr(scheduler.engine, "close_spider", closed.append)

        async def broken(*args: Any, **kwargs: Any) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(scheduler.mocra.session, "exchange", broken)
        scheduler.enqueue_request(Request(URLS[0]))
        await eventually(lambda: closed == ["mocra_error"])
        assert "this worker stops" in caplog.text
        assert scheduler.stats.get_value("mocra/worker/broken") == 1
        scheduler._answers.on_idle()  # nothing keeps it open


async def test_seeds_wait_while_there_is_enough() -> None:
    """``start()`` is driven at its own pace, but not without bound."""
    async with opened(MOCRA_SEEDS_AHEAD=100, MOCRA_PREFETCH=10, CONCURRENT_REQUESTS=10) as scheduler:
        crawled = 0

        def crawl(request: Request) -> None:
            nonlocal crawled
            crawled += 1
            scheduler.enqueue_request(request)

        seeder = scheduler._seeder
        assert seeder is not None
        scheduler._turns.state = replace(scheduler._turns.state, seeding=Seeding.OPEN)  # type: ignore[union-attr]
        await scheduler.mocra.queue.clear()
        await scheduler.mocra.queue.join(scheduler.mocra.worker)
        scheduler.engine.crawl = crawl  # type: ignore[method-assign]

        async def start() -> AsyncIterator[Request]:
            for n in range(2000):
                yield Request(f"http://foo.test/{n}")

        async def drive() -> None:
            async for _ in seeder.run(start()):
                raise AssertionError("requests are scheduled, not given to the engine")

        task = asyncio.ensure_future(drive())
        await eventually(lambda: crawled >= 100)
        taken = 0
        while taken < 2000:
            assert crawled - taken <= 100 + 200 + 50 + 20, "what is pending, a batch, a breath, what is leased"
            if scheduler.next_request() is None:
                await asyncio.sleep(0.001)
            else:
                taken += 1
        await task
        assert (await scheduler.mocra.queue.state()).seeding is Seeding.DONE
