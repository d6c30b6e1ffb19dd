"""What Scrapy's own tests ask of a scheduler (``tests/test_scheduler.py``,
``test_scheduler_base.py`` of its sources, re-written for an asynchronous queue behind the same
synchronous seam), asked of ours on the memory backend.
"""

from __future__ import annotations

from typing import Any

import pytest
from scrapy import Request, Spider, signals
from scrapy.core.scheduler import BaseScheduler, BaseSchedulerMeta
from scrapy.dupefilters import BaseDupeFilter

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.models import QueueOptions
from mocra_scrapy.scheduler import Scheduler
from tests.integration.worker.scheduling import PRIORITIES, URLS, dequeue, drained, eventually, opened


class Everything(BaseDupeFilter):
    def request_seen(self, request: Request) -> bool:
        return True


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
        await eventually(lambda: not scheduler.worker.outbox)
        priorities = [(await dequeue(scheduler)).priority for _ in PRIORITIES]
        assert priorities == sorted((p for _, p in PRIORITIES), reverse=True)


@pytest.mark.parametrize(("order", "expected"), [("fifo", "abc"), ("lifo", "cba")])
async def test_order_within_a_priority(order: str, expected: str) -> None:
    async with opened(MOCRA_QUEUE_ORDER=order) as scheduler:
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        await eventually(lambda: not scheduler.worker.outbox)
        assert "".join([(await dequeue(scheduler)).url[-1] for _ in URLS]) == expected


async def test_start_requests_come_last_first_in_first_out() -> None:
    async with opened(MOCRA_QUEUE_ORDER="lifo", MOCRA_PREFETCH=0) as scheduler:
        for name in "ab":
            scheduler.enqueue_request(Request(f"http://foo.test/s{name}", meta={"is_start_request": True}))
        for name in "cd":
            scheduler.enqueue_request(Request(f"http://foo.test/{name}"))
        await eventually(lambda: not scheduler.worker.outbox)
        assert [(await dequeue(scheduler)).url.rpartition("/")[2] for _ in range(4)] == ["d", "c", "sa", "sb"]


async def test_start_requests_are_like_others_without_their_queue() -> None:
    async with opened(MOCRA_QUEUE_ORDER="fifo", SCHEDULER_START_MEMORY_QUEUE=None) as scheduler:
        scheduler.enqueue_request(Request(URLS[0], meta={"is_start_request": True}))
        scheduler.enqueue_request(Request(URLS[1]))
        await eventually(lambda: not scheduler.worker.outbox)
        assert [(await dequeue(scheduler)).url for _ in range(2)] == URLS[:2]


@pytest.mark.parametrize("recalled", [0, 10])
async def test_callbacks_and_all_attributes_come_back(recalled: int) -> None:
    """From what was stored, and as the object that is still at hand."""
    async with opened() as scheduler:
        scheduler.worker.dispatcher._cache._size = recalled
        spider: Any = scheduler.crawler.spider
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
        assert scheduler.crawler.stats.get_value("dupefilter/filtered") == 1
        assert [(await dequeue(scheduler)).url for _ in range(3)] == [URLS[0]] * 3
        await drained(scheduler)


async def test_what_only_the_cluster_knows_is_dropped_a_moment_later() -> None:
    shared = open_backend("memory://test-dropped")
    async with opened(MOCRA_BACKEND="memory://test-dropped", MOCRA_CRAWL="c") as first:
        first.enqueue_request(Request(URLS[0]))
        await eventually(lambda: not first.worker.outbox)
        queue = shared.request_queue("c", QueueOptions())
        await queue.join("other")
        others = QueueSession(queue, "other")
        fingerprint = first.filter.fingerprint  # type: ignore[attr-defined]
        from mocra_scrapy.models import Entry

        assert list(await others.push([Entry(b"", "s", fingerprint=fingerprint(Request(URLS[1])))])) == [True]
        dropped: list[str] = []

        def note(request: Request, spider: Spider) -> None:
            dropped.append(request.url)

        first.crawler.signals.connect(note, signals.request_dropped)
        assert first.enqueue_request(Request(URLS[1])), "nobody here knows it yet"
        await eventually(lambda: dropped == [URLS[1]])
        assert not first.enqueue_request(Request(URLS[1])), "now it is known here"
        assert first.crawler.stats.get_value("scheduler/enqueued") == 1


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


# ---------------------------------------------------------------------- stats, what can't be
# stored, the end


async def test_stats_are_scrapys() -> None:
    async with opened() as scheduler:
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        for _ in URLS:
            await dequeue(scheduler)
        await drained(scheduler)
        assert scheduler.crawler.stats.get_value("scheduler/enqueued") == 3
        assert scheduler.crawler.stats.get_value("scheduler/dequeued") == 3
        assert scheduler.crawler.stats.get_value("mocra/queue/acked") == 3
        assert scheduler.crawler.stats.get_value("scheduler/enqueued/memory") is None
