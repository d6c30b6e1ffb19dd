"""Our retry middleware: what is retried, deferred, and given up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import NotConfigured
from scrapy.http import Response

from mocra_scrapy.downloadermiddlewares.retry import RetryMiddleware
from mocra_scrapy.scheduler import Scheduler
from mocra_scrapy.worker.deliveries import CURRENT
from tests.integration.worker.failing import letters, taken
from tests.integration.worker.scheduling import URLS, opened


def middleware(scheduler: Scheduler) -> RetryMiddleware:
    return RetryMiddleware.from_crawler(scheduler.crawler)


def busy(**headers: str) -> Response:
    return Response(URLS[0], status=503, headers=headers)


async def test_a_retry_carries_its_wish_and_its_history() -> None:
    async with opened(MOCRA_RETRY_BASE=10, MOCRA_RETRY_AFTER_CAP=50) as scheduler:
        retrying = middleware(scheduler)
        for headers, least, most in (
            ({}, 0, 10),
            ({"Retry-After": "-7"}, 0, 10),
            ({"Retry-After": "soon"}, 0, 10),
        ):
            request = await taken(scheduler, Request(URLS[0], dont_filter=True))
            again = retrying.process_response(request, busy(**headers))
            assert isinstance(again, Request)
            assert least <= again.meta["mocra_delay"] <= most
            assert again.meta["mocra_failures"][0] == again.meta["retry_times"] == 1
            scheduler.worker.deliveries.finished(request)
        assert scheduler.crawler.stats.get_value("mocra/retry/delayed") == 3
        assert scheduler.crawler.stats.get_value("retry/count") == 3
        assert scheduler.crawler.stats.get_value("mocra/retry/deferred") is None


async def test_a_site_that_asks_to_wait_costs_no_retry() -> None:
    async with opened(MOCRA_RETRY_BASE=10, MOCRA_RETRY_AFTER_CAP=50) as scheduler:
        retrying = middleware(scheduler)
        slow_down = Response(URLS[0], status=429)
        for response, least, most in (
            (slow_down, 0, 10),
            (busy(**{"Retry-After": "7"}), 7, 7),
            (busy(**{"Retry-After": "700"}), 50, 50),
            (busy(**{"Retry-After": "Fri, 31 Dec 9999 00:00:00 GMT"}), 50, 50),
            (busy(**{"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), 0, 10),
            (busy(**{"Retry-After": "0"}), 0, 10),
        ):
            request = await taken(scheduler, Request(URLS[0], dont_filter=True, priority=3))
            again = retrying.process_response(request, response)
            assert isinstance(again, Request)
            assert least <= again.meta["mocra_delay"] <= most
            assert "retry_times" not in again.meta
            assert (again.priority, again.dont_filter) == (3, True)
            assert again.meta["mocra_failures"][:4] == [0, None, 0, 1]
            scheduler.worker.deliveries.finished(request)
        assert scheduler.crawler.stats.get_value("mocra/retry/deferred") == 6
        assert scheduler.crawler.stats.get_value("mocra/retry/told") == 3
        assert scheduler.crawler.stats.get_value("retry/count") is None
        assert await letters(scheduler) == []


@pytest.mark.parametrize("meta", [{"dont_retry": True}, {"max_retry_times": 0}])
async def test_what_is_not_to_be_retried_is_not_deferred(meta: dict[str, Any]) -> None:
    async with opened() as scheduler:
        retrying = middleware(scheduler)
        request = await taken(scheduler, Request(URLS[0], meta=meta))
        assert retrying.process_response(request, response := Response(URLS[0], status=429)) is response
        scheduler.worker.deliveries.finished(request)


async def test_a_page_of_its_own_that_says_so_for_ever_is_given_up() -> None:
    """Its site goes on, so nobody gives the slot up: after 20 times and MOCRA_DEFER_MAX its retries count."""
    async with opened(MOCRA_RETRY_BASE=0, MOCRA_DEFER_MAX=0, RETRY_TIMES=2) as scheduler:
        retrying = middleware(scheduler)
        request = await taken(scheduler, Request(URLS[0]))
        for _ in range(22):
            again = retrying.process_response(request, Response(URLS[0], status=429))
            assert isinstance(again, Request)
            scheduler.worker.deliveries.finished(request)
            assert "mocra_failures" not in request.meta, "nobody sees it"
            request = await taken(scheduler, again)
        response = Response(URLS[0], status=429)
        assert retrying.process_response(request, response) is response
        scheduler.worker.deliveries.finished(request)
        (letter,) = await letters(scheduler)
        assert (letter.reason, letter.retries) == ("retry", 2)
        assert scheduler.crawler.stats.get_value("mocra/retry/deferred") == 20


async def test_a_probe_costs_no_retry() -> None:
    async with opened() as scheduler:
        retrying = middleware(scheduler)
        request = await taken(scheduler, Request(URLS[0]))
        delivery = CURRENT.get()
        assert delivery is not None
        assert delivery.lease is not None
        delivery.lease = replace(delivery.lease, probe=True)
        for again in (
            retrying.process_response(request, busy()),
            retrying.process_exception(request, TimeoutError("too late")),
        ):
            assert isinstance(again, Request)
            assert "retry_times" not in again.meta
        scheduler.worker.deliveries.finished(request)
        assert scheduler.crawler.stats.get_value("mocra/retry/deferred") == 2


async def test_requests_that_bypass_the_scheduler_are_retried_as_scrapy_does() -> None:
    async with opened() as scheduler:
        retrying = middleware(scheduler)
        request = await taken(scheduler, Request(URLS[0]))
        inline = Request(URLS[1])
        again = retrying.process_response(inline, busy(**{"Retry-After": "7"}))
        assert isinstance(again, Request)
        assert set(again.meta) == {"retry_times"}
        inline.meta["max_retry_times"] = 0
        assert retrying.process_response(inline, response := busy()) is response
        scheduler.worker.deliveries.finished(request)
        assert await letters(scheduler) == [], "what was given up is not the request in whose course it was made"


@pytest.mark.parametrize(("meta", "count"), [({}, 1), ({"dont_retry": True}, 0)])
async def test_what_is_given_up(meta: dict[str, Any], count: int) -> None:
    async with opened(RETRY_TIMES=0) as scheduler:
        retrying = middleware(scheduler)
        request = await taken(scheduler, Request(URLS[0], meta=meta))
        assert retrying.process_response(request, response := busy()) is response
        assert retrying.process_response(request, fine := Response(URLS[0], status=404)) is fine
        scheduler.worker.deliveries.finished(request)
        found = await letters(scheduler)
        assert [x.detail for x in found] == ["Given up after 0 retries: 503 Service Unavailable"] * count


async def test_exceptions_are_given_up_as_well() -> None:
    async with opened(RETRY_TIMES=0) as scheduler:
        retrying = middleware(scheduler)
        request = await taken(scheduler, Request(URLS[0]))
        assert retrying.process_exception(request, KeyError("not to be retried")) is None
        scheduler.worker.deliveries.finished(request)
        request = await taken(scheduler, Request(URLS[1]))
        assert retrying.process_exception(request, TimeoutError("too late")) is None
        scheduler.worker.deliveries.finished(request)
        (letter,) = await letters(scheduler)
        assert letter.url == URLS[1]
        assert "TimeoutError: too late" in letter.detail


async def test_it_can_be_switched_off() -> None:
    async with opened(RETRY_ENABLED=False) as scheduler:
        with pytest.raises(NotConfigured):
            middleware(scheduler)
