"""What becomes of requests that fail, by a scheduler of ours without an engine around it; the retry
middleware on it.
"""

from __future__ import annotations

import time

import pytest
from scrapy import Request, signals
from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.exceptions import IgnoreRequest
from twisted.python.failure import Failure

from mocra_scrapy.worker import settlement as _settling
from mocra_scrapy.worker.deliveries import CURRENT
from tests.integration.worker.failing import broken, letters, taken, tell
from tests.integration.worker.scheduling import URLS, drained, opened


async def test_items_leave_records_and_the_request_is_done() -> None:
    async with opened() as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        for n in range(13):
            tell(scheduler, signals.item_error, item={"n": n, "long": "x" * 3000}, failure=broken())
        scheduler.worker.deliveries.finished(request)
        found = await letters(scheduler)
        assert len(found) == _settling.RECORDS == 10
        assert {(x.reason, x.done, x.url) for x in found} == {("item", True, URLS[0])}
        assert found[0].detail.startswith("{'n': 0, 'long': 'xxx")
        assert found[0].detail.count("x") < 2100
        assert "ValueError: broken" in found[0].detail
        assert found[9].detail.startswith("3 more items of this request failed; this one:\n{'n': 9")
        assert scheduler.crawler.stats.get_value("mocra/dead/item") == 10
        assert scheduler.crawler.stats.get_value("mocra/item/failed") == 13
        assert (await scheduler.mocra.queue.size()).unfinished == 0


async def test_an_item_that_cannot_be_shown() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("not for you")

    async with opened() as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        tell(scheduler, signals.item_error, item=Shy(), failure=broken())
        scheduler.worker.deliveries.finished(request)
        (letter,) = await letters(scheduler)
        assert "an item whose repr() fails: RuntimeError('not for you')" in letter.detail


@pytest.mark.parametrize(("policy", "done"), [("ack", True), ("dead", False)])
async def test_items_and_an_error_of_the_callback(policy: str, done: bool) -> None:
    async with opened(MOCRA_ON_ERROR=policy) as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        tell(scheduler, signals.item_error, item={}, failure=broken())
        tell(scheduler, signals.spider_error, failure=broken("of the callback"))
        scheduler.worker.deliveries.finished(request)
        found = await letters(scheduler)
        assert [(x.reason, x.done) for x in found] == [("callback", done), ("item", done)]
        assert scheduler.crawler.stats.get_value("mocra/queue/buried") == 2


async def test_a_detail_is_bounded_and_without_passwords() -> None:
    async with opened() as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        tell(
            scheduler,
            signals.spider_error,
            failure=broken("http://u:h@unter2@p/ http://u:hun/ter2@p " + "é" * 40_000 + " the end"),
        )
        scheduler.worker.deliveries.finished(request)
        (letter,) = await letters(scheduler)
        assert len(letter.detail.encode()) <= _settling.DETAIL_BYTES
        assert letter.detail.startswith("Traceback")
        assert letter.detail.rstrip().endswith("the end")
        assert "bytes left out" in letter.detail
        assert "unter2" not in letter.detail
        assert "ter2@" not in letter.detail


async def test_what_was_ignored_on_purpose_is_no_letter() -> None:
    async with opened() as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        scheduler.worker.settlement.download_failed(broken(kind=IgnoreRequest))
        scheduler.worker.deliveries.finished(request)
        assert await letters(scheduler) == []
        request = await taken(scheduler, Request(URLS[1]))
        scheduler.worker.settlement.download_failed(broken(kind=OSError))
        scheduler.worker.deliveries.finished(request)
        (letter,) = await letters(scheduler)
        assert (letter.reason, letter.done, letter.retries) == ("download", False, 0)


async def test_what_a_local_child_meets_with_is_its_parents() -> None:
    """Only replaying the parent makes the child again."""
    async with opened() as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        scheduler.enqueue_request(Request(URLS[1], callback=lambda response: None))
        scheduler.worker.deliveries.finished(parent)
        child = await taken(scheduler)
        tell(scheduler, signals.spider_error, failure=broken("in the child"))
        scheduler.worker.deliveries.finished(child)
        (letter,) = await letters(scheduler)
        assert (letter.reason, letter.url) == ("callback", URLS[0])
        assert letter.detail.startswith(f"<GET {URLS[1]}>, made by this request\nTraceback")


async def test_what_nobody_can_replay_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as scheduler:
        CURRENT.set(None)
        orphan = await taken(scheduler, Request(URLS[0], callback=lambda response: None))
        tell(scheduler, signals.spider_error, failure=broken("of an orphan"))
        scheduler.worker.deliveries.finished(orphan)
        assert await letters(scheduler) == []
        assert scheduler.crawler.stats.get_value("mocra/dead/unkept") == 1
        assert "failed (callback) and can't be kept as a dead letter" in caplog.text
        assert "of an orphan" in caplog.text


async def test_errors_are_retried_as_often_as_is_allowed() -> None:
    settings = {"MOCRA_ON_ERROR": "retry", "MOCRA_MAX_DELIVERIES": 3, "MOCRA_RETRY_BASE": 0.01}
    async with opened(**settings) as scheduler:
        scheduler.enqueue_request(Request(URLS[0], priority=7, meta={"mine": 1}))
        for attempt in range(3):
            request = await taken(scheduler)
            assert (request.meta, request.priority) == ({"mine": 1}, 7)
            tell(scheduler, signals.spider_error, failure=broken(f"attempt {attempt}"))
            scheduler.worker.deliveries.finished(request)
        (letter,) = await letters(scheduler)
        assert (letter.reason, letter.done, letter.retries) == ("callback", False, 2)
        assert "attempt 2" in letter.detail
        assert letter.first_failed_at < letter.died_at
        assert scheduler.crawler.stats.get_value("mocra/retry/errors") == 2
        # A replay has all its attempts again.
        await scheduler.mocra.queue.replay([letter.id])
        request = await taken(scheduler)
        assert request.meta == {"mine": 1}
        current = CURRENT.get()
        assert current is not None
        assert current.failures.errors == 0
        scheduler.worker.deliveries.finished(request)
        assert await letters(scheduler) == []


async def test_a_lost_child_is_graver_than_an_error_that_is_to_be_retried() -> None:
    async with opened(MOCRA_ON_ERROR="retry", MOCRA_REQUIRE_SERIALIZABLE=True) as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        scheduler.enqueue_request(Request(URLS[1], callback=lambda response: None))
        tell(scheduler, signals.spider_error, failure=broken())
        scheduler.worker.deliveries.finished(request)
        (letter,) = await letters(scheduler)
        assert letter.reason == "child_lost"


async def test_a_fingerprinter_that_refuses_costs_no_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as scheduler:
        request = await taken(scheduler, Request(URLS[0]))

        def refuse(request: Request) -> bytes:
            raise RuntimeError("no fingerprint")

        scheduler.worker.settlement._fingerprint = refuse
        tell(scheduler, signals.spider_error, failure=broken())
        scheduler.worker.deliveries.finished(request)
        (letter,) = await letters(scheduler)
        assert letter.fingerprint is None


async def test_a_local_request_waits_and_keeps_its_worker() -> None:
    async with opened() as scheduler:
        began = time.monotonic()
        scheduler.enqueue_request(Request(URLS[0], callback=lambda response: None, meta={"mocra_delay": 0.2}))
        assert scheduler.has_pending_requests()
        assert len(scheduler) == 1
        request = await taken(scheduler)
        assert time.monotonic() - began >= 0.2
        assert request.meta == {}
        scheduler.worker.deliveries.finished(request)
        await drained(scheduler)


@pytest.mark.parametrize("policy", ["ack", "retry", "dead"])
async def test_a_callback_that_did_not_return_is_never_done(policy: str) -> None:
    """Whatever an exception means; and what it does later changes nothing."""
    async with opened(MOCRA_ON_ERROR=policy) as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        delivery = CURRENT.get()
        assert delivery is not None
        tell(scheduler, signals.spider_error, failure=broken())
        delivery.fail("callback_timeout", "waits there")
        scheduler.worker.deliveries.finished(request)
        tell(scheduler, signals.spider_error, failure=broken("late"))
        tell(scheduler, signals.item_error, item={}, failure=broken("late"))
        (letter,) = await letters(scheduler)
        assert (letter.reason, letter.detail, letter.done) == ("callback_timeout", "waits there", False)
        assert scheduler.crawler.stats.get_value("mocra/dead/callback_timeout") == 1


async def test_what_a_closing_worker_did_not_wait_for_goes_back_as_it_was() -> None:
    async with opened() as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        delivery = CURRENT.get()
        assert delivery is not None
        tell(scheduler, signals.spider_error, failure=broken())
        delivery.returned = True
        scheduler.worker.deliveries.finished(request)
        again = await taken(scheduler)
        assert again.url == URLS[0]
        assert scheduler.crawler.stats.get_value("mocra/queue/released") == 1
        assert list(await scheduler.mocra.queue.dead()) == []


async def test_a_local_request_that_was_not_waited_for_takes_its_parent_back() -> None:
    async with opened() as scheduler:
        parent = await taken(scheduler, Request(URLS[0]))
        child = await taken(scheduler, Request(URLS[1], meta={"unserialisable": object()}))
        delivery = CURRENT.get()
        assert delivery is not None
        assert delivery.lease is None
        delivery.returned = True
        scheduler.worker.deliveries.finished(parent)
        scheduler.worker.deliveries.finished(child)
        assert (await taken(scheduler)).url == URLS[0]


class TheirOffsite(OffsiteMiddleware):
    """The filter of this worker, which disagrees with that of the worker that stored the request."""

    def __init__(self) -> None:
        """Nothing is configured."""

    def failure(self) -> Failure:
        try:
            raise IgnoreRequest
        except IgnoreRequest:
            return Failure()


async def test_what_was_on_site_for_whoever_stored_it_is_a_letter(caplog: pytest.LogCaptureFixture) -> None:
    async with opened() as scheduler:
        for url in URLS[:2]:
            request = await taken(scheduler, Request(url))
            scheduler.worker.settlement.download_failed(TheirOffsite().failure())
            scheduler.worker.deliveries.finished(request)
        found = await letters(scheduler)
        assert [letter.reason for letter in found] == ["offsite", "offsite"]
        assert f"<GET {URLS[0]}> was on site for the worker that stored it" in found[0].detail
        assert "allowed_domains differ" in found[0].detail
    assert scheduler.crawler.stats.get_value("mocra/dead/offsite") == 2
    lines = [r for r in caplog.records if "Start all workers with the same allowed_domains" in r.getMessage()]
    assert len(lines) == 1, "told once, counted always"


async def test_what_was_ignored_on_purpose_is_no_failure() -> None:
    async with opened() as scheduler:
        request = await taken(scheduler, Request(URLS[0]))
        scheduler.worker.settlement.download_failed(broken(kind=IgnoreRequest))
        scheduler.worker.deliveries.finished(request)
        assert await letters(scheduler) == []


async def test_an_offsite_request_that_only_this_process_knows_is_none() -> None:
    """It was offsite for whoever made it, which is this worker."""
    async with opened() as scheduler:
        request = await taken(scheduler, Request(URLS[0], callback=lambda response: None))
        scheduler.worker.settlement.download_failed(TheirOffsite().failure())
        scheduler.worker.deliveries.finished(request)
        assert await letters(scheduler) == []


async def test_a_download_that_fails_outside_of_any_request_is_nobodys() -> None:
    async with opened() as scheduler:
        CURRENT.set(None)
        scheduler.worker.settlement.download_failed(broken())
        assert await letters(scheduler) == []
