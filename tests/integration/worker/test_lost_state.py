"""The crawl's record is lost, or the server's clock steps, under a worker that is at work."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
from scrapy.dupefilters import RFPDupeFilter

from mocra_scrapy.exceptions import BackendCorrupted
from mocra_scrapy.scheduler import Scheduler
from tests.integration.worker.scheduling import eventually, opened

LEASE = 60.0  # s: longer than any of this takes


class OwnFilter(RFPDupeFilter):
    """A project's own."""


def on(url: str, **more: Any) -> dict[str, Any]:
    return {"MOCRA_BACKEND": url, "MOCRA_LEASE": LEASE, "MOCRA_IDLE_POLL": 0.05, "MOCRA_CLOSE": "never", **more}


def closings(scheduler: Scheduler) -> list[str]:
    """The reasons with which the spider is closed from now on."""
    reasons: list[str] = []
    scheduler.worker.engine.close_spider = reasons.append  # type: ignore[method-assign, union-attr]
    return reasons


async def lose(scheduler: Scheduler, url: str) -> None:
    """Somebody empties the server, and this worker has noticed."""
    with redis.Redis.from_url(url) as client:
        client.flushall()
    stats = scheduler.crawler.stats
    await eventually(lambda: stats.get_value("mocra/worker/state_lost"))


def ran_again(scheduler: Scheduler, start: Callable[..., Awaitable[bool]]) -> None:
    scheduler.worker.engine.start_again = start  # type: ignore[method-assign, assignment, union-attr]


@pytest.mark.redis
@pytest.mark.parametrize("error", [BackendCorrupted("foreign"), RuntimeError("no start() twice")], ids=["ours", "any"])
async def test_a_worker_that_can_not_seed_again_closes_and_says_why(
    error: Exception, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_: Any) -> bool:
        raise error

    async with opened(**on(redis_url)) as scheduler:
        reasons = closings(scheduler)
        ran_again(scheduler, fails)
        await lose(scheduler, redis_url)
        await eventually(lambda: reasons)
        assert reasons == ["mocra_state_lost"]
        assert f"can't be seeded again in this worker, which closes: {error}" in caplog.text
        assert "has lost crawl 'tests:one': its record is gone" in caplog.text


@pytest.mark.redis
async def test_a_filter_that_can_not_forget_closes_the_worker(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """What it knows is in nobody's queue any more, and it would drop the links to it."""
    seeded = []

    async def seeds(_: Any) -> bool:
        seeded.append(1)
        return True

    async with opened(**on(redis_url, DUPEFILTER_CLASS=f"{__name__}.OwnFilter")) as scheduler:
        reasons = closings(scheduler)
        ran_again(scheduler, seeds)
        await lose(scheduler, redis_url)
        await eventually(lambda: reasons)
        assert reasons == ["mocra_state_lost"]
        assert not seeded, "the next start seeds, with a filter that knows nothing"
        assert "DUPEFILTER_CLASS: it is a filter of the project's own, which would drop" in caplog.text


@pytest.mark.redis
@pytest.mark.parametrize("filter_class", ["scrapy.dupefilters.BaseDupeFilter", "scrapy.dupefilters.RFPDupeFilter"])
async def test_a_filter_that_forgets_goes_on(filter_class: str, redis_url: str) -> None:
    seeded = []

    async def seeds(_: Any) -> bool:
        seeded.append(1)
        return True

    async with opened(**on(redis_url, DUPEFILTER_CLASS=filter_class)) as scheduler:
        reasons = closings(scheduler)
        ran_again(scheduler, seeds)
        await lose(scheduler, redis_url)
        await eventually(lambda: seeded)
        assert not reasons


def set_ahead(url: str, seconds: float) -> None:
    """The server's clock, as all scripts of the crawl read it."""
    with redis.Redis.from_url(url) as client:
        (meta,) = client.keys("*:meta")
        client.hincrby(meta, "skew", int(seconds * 1000))


async def answered(scheduler: Scheduler) -> None:
    """One more exchange."""
    call = scheduler.mocra.queue_session.call
    scheduler.worker.status.kick()  # type: ignore[union-attr]
    await eventually(lambda: scheduler.mocra.queue_session.call > call + 1)


@pytest.mark.redis
async def test_a_clock_that_steps_forward_is_told(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(**on(redis_url)) as scheduler:
        await answered(scheduler)
        set_ahead(redis_url, 3 * LEASE)
        await eventually(lambda: scheduler.crawler.stats.get_value("mocra/backend/clock_steps"))
        (line,) = [r.getMessage() for r in caplog.records if "clock of the backend" in r.getMessage()]
        told = re.search(r"ahead by (\d+) s", line)
        assert told is not None
        assert 3 * LEASE - 1 <= int(told[1]) <= 3 * LEASE + 1
        await answered(scheduler)
        assert scheduler.crawler.stats.get_value("mocra/backend/clock_steps") == 1, "once"
        assert not scheduler.crawler.stats.get_value("mocra/worker/lost"), "nobody died of it"


@pytest.mark.redis
@pytest.mark.parametrize("seconds", [-3 * LEASE, LEASE / 4], ids=["back", "a little ahead"])
async def test_other_steps_are_made_up_for_silently(
    seconds: float, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(**on(redis_url)) as scheduler:
        await answered(scheduler)
        set_ahead(redis_url, seconds)
        await answered(scheduler)
        assert not [r for r in caplog.records if r.levelno >= logging.WARNING and "clock" in r.getMessage()]
        assert not scheduler.crawler.stats.get_value("mocra/backend/clock_steps")
        assert not scheduler.crawler.stats.get_value("mocra/worker/lost")


@pytest.mark.redis
async def test_a_worker_that_was_silent_itself_blames_no_clock(redis_url: str) -> None:
    """It was stopped for as long as nobody called: the time has really passed."""
    async with opened(**on(redis_url)) as scheduler:
        await answered(scheduler)
        handler, session, stopped = scheduler.worker.handler, scheduler.mocra.queue_session, []  # type: ignore[union-attr]
        exchange = session.exchange

        async def after_a_stop(**arguments: Any) -> Any:
            if not stopped:  # between two calls: none is on its way now
                stopped.append(1)
                handler._answered_at -= 3 * LEASE
                set_ahead(redis_url, 3 * LEASE)
            return await exchange(**arguments)

        session.exchange = after_a_stop  # type: ignore[method-assign]
        await answered(scheduler)
        await answered(scheduler)
        assert stopped
        assert not scheduler.crawler.stats.get_value("mocra/backend/clock_steps")
