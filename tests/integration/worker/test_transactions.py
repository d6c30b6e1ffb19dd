"""``MOCRA_TRANSACTIONAL``, by a scheduler of ours without an engine around it."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from scrapy import Request, signals
from scrapy.utils.asyncgen import as_async_generator

from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.engine.callback_output import Page
from mocra_scrapy.scheduler import Scheduler
from mocra_scrapy.worker import transactions
from mocra_scrapy.worker.deliveries import CURRENT
from tests.integration.worker.failing import broken, taken, tell
from tests.integration.worker.scheduling import URLS, dequeue, drained, eventually, opened

LINKS = [f"http://foo.test/link/{n}" for n in range(4)]


async def yields(scheduler: Scheduler, request: Request, *links: Request) -> None:
    """The callback of *request* is exhausted; it has yielded *links*."""
    assert scheduler.worker is not None
    held = scheduler.worker.intake.transactions.hold(request)
    assert held is not None
    async for link in held.whole(as_async_generator(links), Page(), lambda output: None):
        assert scheduler.enqueue_request(link)


async def links_of(scheduler: Scheduler) -> list[str]:
    entries = await scheduler.mocra.queue.peek(100)
    return sorted(scheduler.worker.codec.decode(entry.body).url for entry in entries)


def paused(scheduler: Scheduler) -> None:
    """Nothing more is leased, so that what is stored can be looked at."""
    scheduler.mocra.worker_state.pause(True)


async def stored(scheduler: Scheduler) -> None:
    """All that this worker had to tell was told."""
    await eventually(lambda: not scheduler.worker.outbox)


async def test_children_are_stored_with_the_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(MOCRA_TRANSACTIONAL=True) as scheduler:
        calls: list[dict[str, Any]] = []
        exchange = QueueSession.exchange

        async def noted(self: QueueSession, **arguments: Any) -> Any:
            calls.append(arguments)
            return await exchange(self, **arguments)

        monkeypatch.setattr(QueueSession, "exchange", noted)
        parent = await taken(scheduler, Request(URLS[0]))
        paused(scheduler)
        lease = scheduler.worker.deliveries.by_id[id(parent)].lease
        await yields(scheduler, parent, *(Request(url, dont_filter=url == LINKS[0]) for url in LINKS))
        assert not scheduler.enqueue_request(Request(LINKS[1])), "a duplicate on the page itself"
        await stored(scheduler)
        assert await links_of(scheduler) == []
        calls.clear()
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == LINKS
        [call] = [call for call in calls if call["push"] or call["ack"]]
        assert call["ack"] == [lease]
        assert [entry.parent for entry in call["push"]] == [lease] * 4


@pytest.mark.parametrize("policy", ["ack", "dead", "retry"])
async def test_a_callback_that_failed_leaves_its_letter_only(policy: str) -> None:
    """No record of a page that is done: it is not. And what it yielded is welcome later."""
    async with opened(MOCRA_TRANSACTIONAL=True, MOCRA_ON_ERROR=policy, MOCRA_RETRY_BASE=1000) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        paused(scheduler)
        await yields(scheduler, parent, *map(Request, LINKS))
        tell(scheduler, signals.spider_error, failure=broken())
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == []
        found = [(letter.reason, letter.done) for letter in await scheduler.mocra.queue.dead()]
        assert found == ([] if policy == "retry" else [("callback", False)])
        assert (await scheduler.mocra.queue.size()).delayed == (policy == "retry")
        stats = scheduler.crawler.stats
        assert stats.get_value("mocra/transaction/rolled_back") == 1
        assert stats.get_value("mocra/transaction/undone") == 4
        assert all(scheduler.enqueue_request(Request(url)) for url in LINKS)


async def test_a_page_that_goes_back_leaves_nothing() -> None:
    async with opened(MOCRA_TRANSACTIONAL=True) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        paused(scheduler)
        await yields(scheduler, parent, *map(Request, LINKS))
        scheduler.worker.deliveries.by_id[id(parent)].returned = True
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == [URLS[0]]


async def test_items_that_failed_leave_records_and_the_children_stay() -> None:
    async with opened(MOCRA_TRANSACTIONAL=True) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        paused(scheduler)
        tell(scheduler, signals.item_error, item={}, failure=broken())
        await yields(scheduler, parent, *map(Request, LINKS))
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == LINKS
        assert [(letter.reason, letter.done) for letter in await scheduler.mocra.queue.dead()] == [("item", True)]


async def test_a_page_that_others_took_over_leaves_nothing() -> None:
    """This worker was taken for dead meanwhile: whoever has the page now stores what it yields."""
    async with opened(MOCRA_TRANSACTIONAL=True) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        paused(scheduler)
        await yields(scheduler, parent, *(Request(url, dont_filter=True) for url in LINKS[:2]), Request(LINKS[2]))
        other = QueueSession(scheduler.mocra.queue, "other")
        await other.queue.join("other")
        assert await other.queue.declare_dead(scheduler.mocra.worker) == 1
        [lease] = await other.lease(10)
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == []
        stats = scheduler.crawler.stats
        assert stats.get_value("mocra/transaction/stale") == 3
        assert stats.get_value("dupefilter/filtered") is None
        assert stats.get_value("mocra/queue/ack_refused") == 1
        assert scheduler.enqueue_request(Request(LINKS[2])), "it is not known"
        await other.ack([lease])


async def test_single_requests_may_be_transactional_or_not(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as scheduler:
        hold = scheduler.worker.intake.transactions.hold
        assert hold(await taken(scheduler, Request(URLS[0]))) is None
        one = await taken(scheduler, Request(URLS[1], meta={"mocra_transactional": True}))
        assert hold(one) is not None
        assert hold(Request(URLS[1], meta={"mocra_transactional": True})) is None, "nothing that will be acknowledged"
        for _ in range(2):
            CURRENT.set(None)  # else it is a child of the one before, and held with it
            wrong = await taken(scheduler, Request(URLS[2], meta={"mocra_transactional": "yes"}, dont_filter=True))
            assert hold(wrong) is None
        assert caplog.text.count("mocra_transactional: 'yes' is neither True nor False") == 1
        for request in list(scheduler.worker.deliveries.in_flight()):
            scheduler.worker.deliveries.finished(request.request)
        await drained(scheduler)
    async with opened(MOCRA_TRANSACTIONAL=True) as scheduler:
        hold = scheduler.worker.intake.transactions.hold
        other = await taken(scheduler, Request(URLS[0], meta={"mocra_transactional": False}))
        assert hold(other) is None
        assert scheduler.enqueue_request(Request(URLS[1]))
        await stored(scheduler)
        assert (await scheduler.mocra.queue.size()).unfinished == 2, "stored as it comes"


@pytest.mark.parametrize(("large", "told"), [("body", "Nothing of what"), ("meta", "None of the requests that")])
async def test_children_that_are_too_large_together(
    large: str, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is seen before they are encoded keeps the items back; what is seen then can't any more."""
    monkeypatch.setattr(transactions, "MOST_BYTES", 1000)
    async with opened(MOCRA_TRANSACTIONAL=True, MOCRA_ON_ERROR="retry") as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        paused(scheduler)
        given: dict[str, Any] = {"body": {"body": b"x" * 600}, "meta": {"meta": {"a": secrets.token_hex(600)}}}[large]
        await yields(scheduler, parent, *(Request(url, **given) for url in LINKS))
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == []
        [letter] = await scheduler.mocra.queue.dead()
        assert (letter.reason, letter.done) == ("child_lost", False)
        assert "take more than 1000 bytes" in letter.detail
        assert f"{told} the callback of <GET {URLS[0]}> yielded was kept" in caplog.text
        assert 'meta={"mocra_transactional": False}' in letter.detail


async def test_one_that_yields_too_many_names_the_setting() -> None:
    async with opened(MOCRA_TRANSACTIONAL=True, MOCRA_TRANSACTIONAL_MAX=3) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        held = scheduler.worker.intake.transactions.hold(parent)
        assert held is not None
        held._too_many()
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        [letter] = await scheduler.mocra.queue.dead()
        assert (letter.reason, letter.done) == ("child_lost", False)
        assert "is exhausted, than MOCRA_TRANSACTIONAL_MAX = 3. Raise that, or" in letter.detail


async def test_a_child_that_stays_here_keeps_the_others_waiting() -> None:
    """It can't be stored: a crash brings the parent back, and that makes all of them."""
    async with opened(MOCRA_TRANSACTIONAL=True) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        await yields(scheduler, parent, Request(LINKS[0]), Request(LINKS[1], callback=lambda response: None))
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == []
        child = await eventually(scheduler.next_request)
        assert child.url == LINKS[1]
        scheduler.worker.deliveries.finished(child)
        assert (await dequeue(scheduler)).url == LINKS[0]


RETRIES = ("retry", "Given up after 2 retries: 500")


async def test_what_an_errback_yields_is_stored_with_the_letter_of_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page failed; what is made of that did not."""
    async with opened(MOCRA_TRANSACTIONAL=True) as scheduler:
        calls: list[dict[str, Any]] = []
        exchange = QueueSession.exchange

        async def noted(self: QueueSession, **arguments: Any) -> Any:
            calls.append(arguments)
            return await exchange(self, **arguments)

        monkeypatch.setattr(QueueSession, "exchange", noted)
        parent = await taken(scheduler, Request(URLS[0]))
        paused(scheduler)
        scheduler.worker.deliveries.by_id[id(parent)].fail(*RETRIES)
        await yields(scheduler, parent, *map(Request, LINKS))
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == LINKS
        assert [(letter.reason, letter.done) for letter in await scheduler.mocra.queue.dead()] == [("retry", False)]
        assert [len(call["push"]) for call in calls if call["bury"]] == [4], "together"
        assert scheduler.crawler.stats.get_value("mocra/transaction/rolled_back") is None


async def test_an_errback_that_fails_leaves_nothing_whatever_its_page_failed_of() -> None:
    async with opened(MOCRA_TRANSACTIONAL=True) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        paused(scheduler)
        scheduler.worker.deliveries.by_id[id(parent)].fail(*RETRIES)
        await yields(scheduler, parent, *map(Request, LINKS))
        tell(scheduler, signals.spider_error, failure=broken())
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == []
        assert [letter.reason for letter in await scheduler.mocra.queue.dead()] == ["retry"]


@pytest.mark.parametrize("policy", ["ack", "dead", "retry"])
async def test_a_child_that_stays_here_and_fails_undoes_nothing(policy: str) -> None:
    """Its parent went well, and gets its letter. One that is tried once more yields all of it again."""
    async with opened(MOCRA_TRANSACTIONAL=True, MOCRA_ON_ERROR=policy, MOCRA_RETRY_BASE=1000) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        await yields(scheduler, parent, Request(LINKS[0]), Request(LINKS[1], callback=lambda response: None))
        scheduler.worker.deliveries.finished(parent)
        child = await eventually(scheduler.next_request)
        assert child.url == LINKS[1]
        paused(scheduler)
        tell(scheduler, signals.spider_error, failure=broken())
        scheduler.worker.deliveries.finished(child)
        await stored(scheduler)
        again = policy == "retry"
        assert await links_of(scheduler) == ([] if again else LINKS[:1])
        assert (await scheduler.mocra.queue.size()).delayed == again
        found = [(letter.reason, letter.done) for letter in await scheduler.mocra.queue.dead()]
        assert found == ([] if again else [("callback", policy == "ack")])
        assert scheduler.enqueue_request(Request(LINKS[0])) == again


async def test_what_a_callback_gives_to_the_engine_itself_does_not_wait() -> None:
    """It may wait for what becomes of it, and would for ever."""
    async with opened(MOCRA_TRANSACTIONAL=True) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        assert scheduler.worker.intake.transactions.hold(parent) is not None
        assert scheduler.enqueue_request(Request(URLS[1]))
        assert (await eventually(scheduler.next_request)).url == URLS[1]


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_child_that_is_lost_takes_the_others_along(leaves: bool) -> None:
    """All or nothing. One that did not leave the callback is none of them."""
    async with opened(MOCRA_TRANSACTIONAL=True, MOCRA_REQUIRE_SERIALIZABLE=True) as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        paused(scheduler)
        lost = Request(LINKS[1], callback=lambda response: None)
        held = scheduler.worker.intake.transactions.hold(parent)
        assert held is not None
        if not leaves:
            assert not scheduler.enqueue_request(lost)
        outputs = as_async_generator([Request(LINKS[0]), *([lost] if leaves else [])])
        taken_in = [scheduler.enqueue_request(r) async for r in held.whole(outputs, Page(), lambda output: None)]
        assert taken_in == ([True, False] if leaves else [True])
        scheduler.worker.deliveries.finished(parent)
        await stored(scheduler)
        assert await links_of(scheduler) == ([] if leaves else LINKS[:1])
        assert [letter.reason for letter in await scheduler.mocra.queue.dead()] == ["child_lost"]
