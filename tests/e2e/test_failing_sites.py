"""What sites tell us, and what becomes of those that fail: real workers, a real server, a site that
records arrivals.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.interfaces import IBackend, IRateLimiter
from mocra_scrapy.models import BreakerRules, Circuit, LetterFilter, LimitChange, QueueOptions
from tests.e2e.test_politeness import Bookings
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import Stopwatch, eventually

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

#: Retries come back at once, as often as it takes.
PATIENT = {"RETRY_TIMES": 1000, "MOCRA_RETRY_BASE": 0}


def arrivals(site: MockSite, folder: str) -> list[float]:
    """When pages of a folder were fetched, in order."""
    return sorted(at for path, times in site.arrivals().items() if path.startswith(f"/{folder}/") for at in times)


def fetched(workers: Workers, folder: str) -> int:
    """Different pages of which an item was made."""
    return len({event["url"] for event in workers.events("item") if f"/{folder}/" in event["url"]})


async def on_backend(url: str, do: Callable[[IBackend], Coroutine[Any, Any, Any]]) -> Any:
    """As a script of an operator does it, in a process that is no worker."""
    backend = open_backend(url)
    await backend.open()
    try:
        return await do(backend)
    finally:
        await backend.close()


async def on_limiter(url: str, do: Callable[[IRateLimiter], Coroutine[Any, Any, Any]]) -> Any:
    return await on_backend(url, lambda backend: do(backend.rate_limiter("crawling:two_hosts", QueueOptions())))


def test_a_failing_host_is_left_alone_until_it_answers(site: MockSite, workers: Workers) -> None:
    rules = {"slot": {"failures": 10, "window": 60}, "hold": 1, "longest": 12, "probes": 2}
    more = {"MOCRA_BREAKER": json.dumps(rules), "MOCRA_THROTTLE": '{"localhost": {"rate": "50/s"}}', **PATIENT}
    workers.together(2, site, "two_hosts", bad="sick", pages=30, **more)
    watch = Stopwatch(site.pid, *(worker.pid for worker in workers.all))
    opened = workers.until("breaker_opened", 1)
    assert (opened["slot"], opened["hold"], opened["times"]) == ("localhost", 1, 1)
    assert opened["kinds"] == {"http_5xx": opened["failed"]}
    eventually(lambda: fetched(workers, "ok") == 30, what="the healthy host is not concerned")
    workers.until("breaker_opened", 3)
    # Several workers tell of them, and a busy one may be late: the order is that of the openings.
    openings = sorted(workers.events("breaker_opened"), key=lambda event: event["times"])[:3]
    assert [(event["times"], event["hold"]) for event in openings] == [(1, 1), (2, 2), (3, 4)], openings
    times = [event["at"] for event in openings]
    hits, busy = arrivals(site, "sick"), watch.waited()
    assert len([at for at in hits if at < times[0]]) <= 60
    for since, hold in zip(times, (1, 2), strict=False):
        assert [at for at in hits if since + 0.5 + busy < at < since + hold - 0.2 - busy] == [], (
            "nobody comes while it is held"
        )
    assert len([at for at in hits if times[0] + 0.5 + busy < at]) <= 3 * 4, "only probes"
    site.repair()
    workers.until("breaker_closed", 1)
    assert workers.wait() == [0, 0]
    assert fetched(workers, "sick") == 30, "what was held was kept"
    assert len(workers.events("finished")) == 1
    stats = workers.stats()
    assert stats["mocra/breaker/opened"] == len(workers.events("breaker_opened"))
    assert stats["mocra/breaker/closed"] == 1
    assert stats["mocra/breaker/failures/http_5xx"] == len(arrivals(site, "sick")) - 30, "each page was there once"
    assert "Slot localhost is held for 1.0 s by all workers" in workers.log(0) + workers.log(1)


def test_a_failing_crawl_stops_everywhere_and_is_resumed(site: MockSite, workers: Workers) -> None:
    rules = json.dumps({"crawl": {"failures": 40, "window": 60, "count": ["status"]}})
    limits = '{"localhost": {"rate": "30/s"}}'
    more = {"MOCRA_BREAKER": rules, "MOCRA_THROTTLE": limits, **PATIENT, **Bookings.RECORD}
    workers.together(2, site, "two_hosts", bad="sick", pages=30, **more)
    assert workers.wait() == [0, 0]
    assert [event["reason"] for event in workers.events("closed")] == ["mocra_error_threshold"] * 2
    assert len(workers.events("breaker_tripped")) == 2
    assert not workers.events("finished")
    assert len(arrivals(site, "sick")) < 150
    site.repair()
    workers.start("two_hosts", site=site.url, bad="sick", pages=30, **more)
    assert workers.wait()[2] == 0
    assert "resumes run 1" in workers.log(2)
    assert (fetched(workers, "sick"), fetched(workers, "ok")) == (30, 30)
    assert len(workers.events("finished")) == 1
    Bookings(workers).keep("localhost", 30)


async def test_a_host_that_never_recovers_is_given_up(site: MockSite, workers: Workers, redis_url: str) -> None:
    """Its requests become letters on all workers, the crawl ends; a replay opens it again."""
    stall = {"MOCRA_STALL_MAX": 1, "MOCRA_STALL_ATTEMPTS": 3, "RETRY_TIMES": 1000, "MOCRA_RETRY_BASE": 0.2}
    workers.together(2, site, "two_hosts", bad="sick", pages=150, **stall)
    assert workers.wait() == [0, 0]
    assert (fetched(workers, "ok"), fetched(workers, "sick")) == (150, 0)
    assert len(workers.events("finished")) == 1
    stats, log = workers.stats(), workers.log(0) + workers.log(1)
    assert stats["mocra/stall/given_up"] == 1
    assert stats["mocra/dead/stalled"] == 150
    assert log.count("Slot localhost is given up by all workers") == 1
    assert "status 500" in log.partition("is given up by all workers")[2].partition("\n")[0]
    site.repair()

    async def replay(backend: IBackend) -> int:
        queue = backend.request_queue("crawling:two_hosts", QueueOptions())
        letters = await queue.dead(1000, where=LetterFilter(reason="stalled", slot="localhost"))
        replayed = sum(await queue.replay([letter.id for letter in letters]))
        await queue.close()
        return replayed

    assert await on_backend(redis_url, replay) == 150
    workers.start("two_hosts", site=site.url, bad="sick", pages=150, **stall)
    assert workers.wait()[2] == 0
    assert fetched(workers, "sick") == 150


def test_retry_after_holds_the_host_on_all_workers(site: MockSite, workers: Workers) -> None:
    """The one that said so, also where another one redirected there: that goes on."""
    limits = json.dumps({"localhost": "20/s", "127.0.0.1": "20/s"})
    more = {"MOCRA_THROTTLE": limits, **PATIENT}
    workers.together(2, site, "two_hosts", bad="ok/b", first="elsewhere/busy/2/first", pages=50, **more)
    watch = Stopwatch(site.pid, *(worker.pid for worker in workers.all))
    eventually(lambda: site.count("/busy/2/first") == 2)
    busy = watch.waited()
    assert workers.wait() == [0, 0]
    asked, served = sorted(site.arrivals()["/busy/2/first"])
    assert served - asked >= 1.9
    told = asked + 0.5 + busy
    assert [at for at in arrivals(site, "ok/b") if told < at < asked + 1.9] == []
    assert len([at for at in arrivals(site, "ok") if asked < at < served]) >= 10, "the other host goes on"
    assert workers.stats()["mocra/throttle/holds"] >= 1
    log = workers.log(0) + workers.log(1)
    assert "Slot localhost is held for" in log
    assert "Slot 127.0.0.1 is held" not in log
    assert fetched(workers, "ok") == 100


def test_files_wait_for_one_probe_and_not_for_ever(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    """Files of a half-open host: one is the probe of all workers, and while it is under way others wait for
    ``MOCRA_BYPASS_MAX_WAIT``. Beside it a host whose ``Retry-After`` is 0.
    """
    rules = {"slot": {"failures": 5, "window": 60, "count": ["http_5xx"]}, "hold": 0.1, "probes": 1}
    more = {
        "MOCRA_BREAKER": json.dumps(rules),
        "MOCRA_THROTTLE": json.dumps({"files": {"concurrency": 8}, "later": "8/s"}),
        "MOCRA_BYPASS_MAX_WAIT": 3,
        "MOCRA_RETRY_BASE": 2,
        "ITEM_PIPELINES": json.dumps({"crawling.pipelines.FilesOfOneSlot": 1}),
        "FILES_STORE": tmp_path / "files",
    }

    def say(do: Callable[[IRateLimiter], Coroutine[Any, Any, Any]]) -> None:
        limiter = "crawling:with_files", QueueOptions()
        asyncio.run(on_backend(workers.backend, lambda backend: do(backend.rate_limiter(*limiter))))

    say(lambda limiter: limiter.pause("later"))
    workers.together(2, site, "with_files", later=8, zero=12, **more)
    assert workers.until("breaker_opened")["slot"] == "files"
    say(lambda limiter: limiter.resume("later"))
    eventually(lambda: len(arrivals(site, "held")) > 1 or fetched(workers, "ok/later") == 7, what="pages are done")
    assert len(arrivals(site, "held")) == 1, "one probe, of all workers"
    assert fetched(workers, "ok/later") == 7, "without their files"
    site.free()
    assert workers.wait() == [0, 0]

    assert len(arrivals(site, "sick")) == 5
    assert fetched(workers, "ok/later") == 8
    files = [len(event["item"]["files"]) for event in workers.events("item") if "/ok/later/" in event["url"]]
    assert sum(files) == len(arrivals(site, "held"))
    stats = workers.stats()
    assert stats["mocra/throttle/bypass_given_up"] == 8 * 4 - sum(files) >= 28
    assert (stats["mocra/queue/acked"], stats.get("mocra/dead/count", 0)) == (1 + 8 + 12 + 12, 0)

    gaps = [again - first for first, again in (t for p, t in site.arrivals().items() if p.startswith("/moods/"))]
    assert len(gaps) == 12
    assert max(gaps) >= 0.3, "up to 2 s each"
    assert (stats["mocra/retry/deferred"], stats["mocra/retry/delayed"], stats.get("mocra/retry/told", 0)) == (
        12,
        12,
        0,
    )


async def test_an_operator_pauses_changes_and_resumes_a_slot(site: MockSite, workers: Workers, redis_url: str) -> None:
    """By the contract, from a process that is no worker of the crawl."""
    limits = json.dumps({"localhost": "20/s", "127.0.0.1": "20/s"})
    workers.together(2, site, "two_hosts", bad="ok/b", pages=60, MOCRA_THROTTLE=limits)
    eventually(lambda: len(arrivals(site, "ok/b")) >= 5)
    await on_limiter(redis_url, lambda limiter: limiter.pause("localhost"))
    paused = Stopwatch(site.pid, *(worker.pid for worker in workers.all))
    eventually(lambda: len(arrivals(site, "ok")) - len(arrivals(site, "ok/b")) == 60, what="the other host goes on")
    assert [at for at in arrivals(site, "ok/b") if at > paused.began + paused.waited() + 0.5] == []
    state = await on_limiter(redis_url, lambda limiter: limiter.look("localhost"))
    assert state.paused
    assert all(worker.poll() is None for worker in workers.all), "a paused slot is no end"
    await on_limiter(redis_url, lambda limiter: limiter.change("localhost", LimitChange(interval=0.002)))
    await on_limiter(redis_url, lambda limiter: limiter.resume("localhost"))
    resumed = Stopwatch(site.pid, *(worker.pid for worker in workers.all))
    eventually(lambda: len(arrivals(site, "ok/b")) == 60)
    busy = resumed.waited()
    assert workers.wait() == [0, 0]
    assert fetched(workers, "ok/b") == 60
    assert max(arrivals(site, "ok/b")) - resumed.began - busy < 2.0, "at 20/s it takes 2.5 s"


async def test_a_breaker_is_looked_at_and_reset_from_outside(site: MockSite, workers: Workers, redis_url: str) -> None:
    rules = json.dumps({"slot": {"failures": 5, "window": 60}, "hold": 600})
    workers.start("two_hosts", site=site.url, bad="sick", pages=10, MOCRA_BREAKER=rules, **PATIENT)
    workers.until("breaker_opened")
    site.repair()

    async def look_and_reset(backend: IBackend) -> list[Circuit]:
        breaker = backend.breaker("crawling:two_hosts", BreakerRules(), QueueOptions())
        states = [state.circuit for state in await breaker.tripped()]
        assert await breaker.reset("localhost")
        return states

    assert await on_backend(redis_url, look_and_reset) == [Circuit.OPEN]
    assert workers.wait() == [0]
    assert fetched(workers, "sick") == 10


def test_crawl_delay_and_latency_become_limits_of_the_cluster(site: MockSite, workers: Workers) -> None:
    """AutoThrottle's delay and robots.txt hold for both workers together."""
    site.ask_for_crawl_delay(0.15)
    more = {
        "ROBOTSTXT_OBEY": True,
        "AUTOTHROTTLE_ENABLED": True,
        "AUTOTHROTTLE_START_DELAY": 0.6,
        "RANDOMIZE_DOWNLOAD_DELAY": False,
        **Bookings.RECORD,
    }
    workers.together(2, site, "list", paths=",".join(f"ok/{n}" for n in range(24)), **more)
    assert workers.wait() == [0, 0]
    assert len(arrivals(site, "ok")) == 24
    assert workers.stats()["mocra/throttle/crawl_delays"] == 2
    bookings = Bookings(workers)
    bookings.keep("127.0.0.1", 1 / 0.15)  # not faster than the site asks for
    bookings.were_kept(site, "ok/", "127.0.0.1")
    instants = bookings.instants("127.0.0.1")
    assert min(later - one for one, later in pairwise(instants)) < 0.5, "it became faster than it began"
    assert workers.stats()["mocra/throttle/changed"] >= 1
