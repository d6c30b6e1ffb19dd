"""How a worker learns of the end, by a scheduler of ours without an engine around it; what it gives
back until then.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import CloseSpider, DontCloseSpider
from twisted.python.failure import Failure

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Entry
from mocra_scrapy.scheduler import Scheduler
from mocra_scrapy.worker.slot_policy import ClusterPolicy
from tests.integration.worker.scheduling import URLS, dequeue, drained, eventually, opened


async def asks(scheduler: Scheduler) -> None:
    """The spider is idle, and nobody minds."""
    with pytest.raises(DontCloseSpider):
        scheduler.worker.handler.on_idle(False)


async def test_the_end_by_another_worker_closes_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    name = {"MOCRA_BACKEND": f"memory://{secrets.token_hex(4)}", "MOCRA_CRAWL": "c", "MOCRA_IDLE_POLL": 60}
    async with opened(**name) as here, opened(**name) as there:
        here.enqueue_request(Request(URLS[0]))
        await dequeue(here)
        await drained(here)
        closed: list[str] = []
        monkeypatch.setattr(there.worker.engine, "close_spider", closed.append)
        await asks(here)
        await eventually(lambda: here.worker.status.finished)
        await eventually(lambda: there.worker.status.state.finished)  # it is woken, long before its poll
        assert here.crawler.stats.get_value("mocra/crawl/finished_here") is True
        await asks(there)
        await eventually(lambda: closed == ["finished"])
        assert there.worker.status.finished
        assert there.crawler.stats.get_value("mocra/crawl/finished_here") is None


async def test_the_end_is_not_asked_for_while_a_handler_minds() -> None:
    async with opened() as scheduler:
        for _ in range(3):
            scheduler.worker.handler.on_idle(True)
        assert not scheduler.worker.status.wants_end
        assert not scheduler.worker.status.finished
        assert not (await scheduler.mocra.queue.state()).finished


async def test_what_is_pushed_after_the_end_reopens_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spider that is fed from ``spider_idle`` goes on, and so does the worker's own belief."""
    async with opened() as scheduler:
        monkeypatch.setattr(type(scheduler.worker.engine), "idle", property(lambda engine: False))
        woken: list[int] = []
        monkeypatch.setattr(scheduler.worker.engine, "wake", lambda: woken.append(1))
        await asks(scheduler)
        await eventually(lambda: scheduler.worker.status.finished and woken)
        scheduler.enqueue_request(Request(URLS[0]))
        request = await eventually(scheduler.next_request)
        assert not scheduler.worker.status.finished
        with pytest.raises(DontCloseSpider):
            scheduler.worker.handler.on_idle(False)
        scheduler.worker.deliveries.finished(request)
        await drained(scheduler)
        await asks(scheduler)
        await eventually(lambda: scheduler.worker.status.finished)


async def test_a_start_that_broke_off_closes_when_all_is_done() -> None:
    async with opened() as scheduler:
        scheduler.worker.status.start_failed = True
        scheduler.enqueue_request(Request(URLS[0]))
        request = await eventually(scheduler.next_request)
        with pytest.raises(DontCloseSpider):
            scheduler.worker.handler.on_idle(False)
        scheduler.worker.deliveries.finished(request)
        await drained(scheduler)
        with pytest.raises(CloseSpider) as closing:
            scheduler.worker.handler.on_idle(False)
        assert closing.value.reason == "start_error"


async def test_an_unreadable_lease_takes_no_permit() -> None:
    async with opened() as scheduler:
        policy = scheduler.worker.policy
        assert isinstance(policy, ClusterPolicy)
        await scheduler.mocra.queue.join("other")
        await QueueSession(scheduler.mocra.queue, "other").push(
            [Entry(b"foreign %d" % n, "foo.test") for n in range(5)]
        )
        await eventually(
            lambda: scheduler.next_request() or scheduler.crawler.stats.get_value("mocra/queue/buried") == 5
        )
        assert policy.permits.loads() == {}


class Theirs:
    """A ``MOCRA_CODEC`` that raises what it likes."""

    def __init__(self, spider: Any, *, max_bytes: int) -> None:
        self.spider = spider

    def encode(self, request: Request) -> bytes:
        if request.url.endswith("/b"):
            raise LookupError("can't be written")
        return request.url.encode()

    def decode(self, payload: bytes) -> Request:
        if payload.endswith(b"/c"):
            raise LookupError("can't be read")
        return Request(payload.decode())


async def test_a_codec_that_raises_anything_leaves_letters_and_the_crawl_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened(MOCRA_CODEC=f"{__name__}.Theirs") as scheduler:
        scheduler.worker.intake._cache._size = 0  # as if another worker had stored them
        scheduler.enqueue_request(Request(URLS[0]))
        parent = await eventually(scheduler.next_request)
        assert not scheduler.enqueue_request(Request(URLS[1]))
        scheduler.enqueue_request(Request(URLS[2]))
        scheduler.enqueue_request(Request("http://foo.test/d"))
        scheduler.worker.deliveries.finished(parent)
        assert (await dequeue(scheduler)).url == "http://foo.test/d"
        await eventually(lambda: scheduler.next_request() or not scheduler.worker.status.size.unfinished)
        await drained(scheduler)
        assert sorted(letter.reason for letter in await scheduler.mocra.queue.dead()) == ["child_lost", "unreadable"]
        assert "MOCRA_CODEC raised something else" in caplog.text
        assert scheduler.worker.policy.permits.loads() == {}


async def test_a_request_that_stays_here_waits_for_a_hold_and_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no lease, so that the queue can't keep it back."""
    async with opened() as scheduler:
        policy, room = scheduler.worker.policy, [1]
        monkeypatch.setattr(scheduler.worker.engine, "concurrency_of", lambda slot: room[0])
        monkeypatch.setattr(scheduler.worker.engine, "active_in", lambda slot: 1)
        assert not policy.has_room(("foo.test",), False)
        room[0] = 2
        assert policy.has_room(("foo.test",), False)
        policy.permits._held["foo.test"] = time.monotonic() + 60
        assert not policy.has_room(("foo.test",), False)
        room[0] = 1
        assert not policy.has_room(("foo.test",), False)


async def test_departures_that_were_missed_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Together with punctual ones of other workers they would come too soon."""
    settings = {"MOCRA_THROTTLE": {"foo.test": {"delay": 0.01, "concurrency": 8}}, "MOCRA_PREFETCH": 8}
    async with opened(**settings) as scheduler:
        for n in range(4):
            scheduler.enqueue_request(Request(f"http://foo.test/{n}"))
        inbox, stats = scheduler.worker.inbox, scheduler.crawler.stats
        await eventually(lambda: inbox.leased >= 3)
        held = inbox.leased
        late = time.monotonic() + 60
        monkeypatch.setattr(inbox, "_clock", lambda: late)
        assert scheduler.next_request() is None
        assert stats.get_value("mocra/throttle/missed") == held
        assert inbox.leased == 0
        monkeypatch.undo()
        for _ in range(4):
            await dequeue(scheduler)
        await drained(scheduler)
        assert stats.get_value("mocra/queue/released") == held


async def test_a_repeated_exchange_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer was lost: the repeat must not lease twice, nor call what it stored a duplicate."""
    async with opened() as scheduler:
        session = scheduler.mocra.queue_session
        exchange, lost = session.queue.exchange, []

        async def loses_the_answer(*args: Any, **arguments: Any) -> Any:
            answer = await exchange(*args, **arguments)
            if arguments["push"] and not lost:
                lost.append(args)
                raise BackendUnavailable("the answer got lost")
            return answer

        monkeypatch.setattr(session.queue, "exchange", loses_the_answer)
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        assert [(await dequeue(scheduler)).url for _ in URLS] == URLS
        await drained(scheduler)
        assert lost
        assert scheduler.crawler.stats.get_value("dupefilter/filtered") is None
        assert scheduler.crawler.stats.get_value("mocra/queue/acked") == 3


async def test_items_that_fail_in_a_local_child_are_letters_of_its_parent() -> None:
    async with opened() as scheduler:
        scheduler.enqueue_request(Request(URLS[0]))
        parent = await eventually(scheduler.next_request)
        scheduler.enqueue_request(Request(URLS[1], callback=lambda response: None))
        scheduler.worker.deliveries.finished(parent)
        child = await eventually(scheduler.next_request)
        scheduler.worker.settlement.item_error({"n": 1}, Failure(ValueError("in a pipeline")))
        scheduler.worker.deliveries.finished(child)
        await drained(scheduler)
        (letter,) = await scheduler.mocra.queue.dead()
        assert (letter.reason, letter.url, letter.done) == ("item", URLS[0], True)
        assert letter.detail.startswith("{'n': 1}\n")
        assert "ValueError: in a pipeline" in letter.detail
