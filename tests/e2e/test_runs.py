"""A crawl's identity over its runs, and how workers leave: ``MOCRA_CRAWL``, ``MOCRA_KEEP_SEEN``,
``MOCRA_SEEN_TTL``, ``MOCRA_CLOSE``.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from mocra_scrapy.backends import open_backend
from mocra_scrapy.models import QueueOptions
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]


def finish(workers: Workers, site: MockSite, **options: object) -> dict[str, list[float]]:
    """One run to its end; what it fetched."""
    site.reset()
    workers.start("graph", site=site.url, **options)
    workers.wait()
    return site.arrivals()


def test_keep_seen_fetches_only_what_is_new(site: MockSite, workers: Workers) -> None:
    kept = {"MOCRA_KEEP_SEEN": True, "MOCRA_CRAWL": "kept", "site": site.url}
    workers.start("list", paths="ok/a,ok/b", **kept)
    workers.wait()
    workers.start("list", paths="ok/a,ok/b,ok/c", **kept)
    workers.wait()
    # Spider.start_urls are given with dont_filter: seeds are always fetched, once a run.
    assert {path: len(times) for path, times in site.arrivals().items()} == {"/ok/a": 2, "/ok/b": 2, "/ok/c": 1}
    first = finish(workers, site, MOCRA_KEEP_SEEN=True)
    assert len(first) == site.pages
    again = finish(workers, site, MOCRA_KEEP_SEEN=True)
    assert again == {}, "graph's seed is filtered like everything else"
    assert [e["run"] for e in workers.events("finished") if e["crawl"] == "crawling:graph"] == [1, 2]
    assert len(finish(workers, site, MOCRA_KEEP_SEEN=False)) == site.pages, (
        "a run that doesn't ask for it begins afresh"
    )


def test_two_crawls_do_not_meet(site: MockSite, workers: Workers, redis_single: RedisServer) -> None:
    for name in ("one", "two: {with} odd*characters/ü"):
        workers.start("list", site=site.url, paths="ok/a,ok/b", MOCRA_CRAWL=name)
    workers.wait()
    assert {len(times) for times in site.arrivals().values()} == {2}
    assert len(workers.events("finished")) == 2
    with redis_single.client() as client:
        assert all(key.startswith(b"mocra:{") for key in client.scan_iter())


def test_nothing_is_left_but_the_record(site: MockSite, workers: Workers, redis_single: RedisServer) -> None:
    finish(workers, site)
    with redis_single.client() as client:
        assert sorted(client.scan_iter()) == [b"mocra:{crawling:graph:0}:crawl"]


def test_close_idle_leaves_when_this_worker_has_nothing(site: MockSite, workers: Workers) -> None:
    slow = workers.start("list", site=site.url, paths="slow/600/a", MOCRA_CLOSE="idle")
    eventually(lambda: site.count("/slow/600/a"))
    idle = workers.start("list", site=site.url, paths="slow/600/a", MOCRA_CLOSE="idle")
    assert idle.wait(300) == 0
    assert slow.poll() is None, "the other one still fetches"
    assert site.count("/slow/600/a") == 1


def test_close_never_waits_for_more(site: MockSite, workers: Workers) -> None:
    waiting = workers.start("list", site=site.url, paths="ok/a", MOCRA_CLOSE="never")
    eventually(lambda: site.count("/ok/a"))
    workers.start("list", site=site.url, paths="ok/a", MOCRA_CLOSE="idle", MOCRA_LEASE=2)
    # The first one has seeded this run, so the second finds nothing to do and goes; the first
    # stays.
    assert workers.all[1].wait(300) == 0
    assert waiting.poll() is None
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(300) == 0
    assert workers.events("closed", pid=waiting.pid)[0]["reason"] == "shutdown"
    assert not workers.events("finished")


def test_ctrl_c_twice_leaves_at_once_and_loses_nothing(site: MockSite, workers: Workers) -> None:
    """The second signal ends the process without closing anything: the lease brings back what it
    held.
    """
    hasty = workers.start("list", site=site.url, paths="slow/600/a,ok/b", MOCRA_LEASE=1)
    eventually(lambda: site.count("/slow/600/a"))
    hasty.send_signal(signal.SIGINT)
    eventually(lambda: "shutting down gracefully" in workers.log())
    hasty.send_signal(signal.SIGINT)
    hasty.wait(300)
    again = {"MOCRA_LEASE": 1, "DOWNLOAD_TIMEOUT": 1, "RETRY_ENABLED": False}
    second = workers.start("list", site=site.url, paths="slow/600/a,ok/b", **again)
    assert second.wait(300) == 0
    assert site.count("/slow/600/a") == 2
    assert len(workers.events("finished")) == 1


def test_a_start_that_fails_is_not_run_for_ever(site: MockSite, workers: Workers) -> None:
    """Scrapy logs it and goes on with what it gave. The crawl is not seeded then: each other worker
    tries once, and says so, too; the next run begins it again.
    """
    for _ in range(2):
        workers.start("failing_start", site=site.url)
    workers.until("opened", 2)
    assert workers.wait() == [0, 0]
    assert set(site.arrivals()) == {"/slow/5/0", "/ok/1", "/ok/2"}
    assert [e["reason"] for e in workers.events("closed")] == ["start_error", "start_error"]
    assert not workers.events("finished")
    for log in (workers.log(0), workers.log(1)):
        assert "ValueError: no more seeds" in log


def test_close_spider_in_start_interrupts_the_crawl(site: MockSite, workers: Workers) -> None:
    """The next run resumes it, and seeds what is missing."""
    first = workers.start("failing_start", site=site.url, _enough=1)
    assert first.wait(300) == 0
    assert workers.events("closed")[0]["reason"] == "enough"
    assert not workers.events("finished")
    workers.start("failing_start", site=site.url, _whole=1)
    workers.wait()
    assert set(site.arrivals()) == {"/slow/5/0", "/ok/1", "/ok/2"}
    assert [e["run"] for e in workers.events("finished")] == [1]


def test_a_worker_leaves_in_time_when_the_backend_is_away(
    site: MockSite, workers_on: Callable[[str], Workers], own_redis: RedisServer
) -> None:
    """What it could not tell any more goes to others when its lease runs out."""
    workers = workers_on(own_redis.url)
    options = {
        "site": site.url,
        "MOCRA_STOP_TIMEOUT": 0.5,
        "MOCRA_LEASE": 1,
        "MOCRA_REDIS_OPTIONS": '{"socket_timeout": 0.3}',
        "DOWNLOAD_DELAY": 0.02,
        "RANDOMIZE_DOWNLOAD_DELAY": False,
    }
    leaving = workers.start("graph", **options)
    eventually(lambda: len(site.arrivals()) > 30)
    own_redis.pause()
    workers.until("away")
    leaving.send_signal(signal.SIGTERM)
    assert leaving.wait(300) == 0, "it does not wait for the server"
    own_redis.resume()
    assert "within MOCRA_STOP_TIMEOUT = 0.5 s" in workers.log()
    assert workers.stats()["mocra/worker/left_unflushed"] > 0
    workers.start("graph", **options)
    workers.wait()
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())
    assert len(workers.events("finished")) == 1


def test_a_worker_that_slept_through_the_end_joins_the_next_run(site: MockSite, workers: Workers) -> None:
    """Stopped; meanwhile the run was finished by another worker and a new one began: it forgets
    what it has seen and helps.
    """
    sleeper = workers.start("graph", site=site.url, MOCRA_LEASE=1, DOWNLOAD_DELAY=0.02)
    eventually(lambda: len(site.arrivals()) > 30)
    os.kill(sleeper.pid, signal.SIGSTOP)
    workers.start("graph", site=site.url, MOCRA_LEASE=1)
    workers.until("finished", 1)
    assert workers.all[1].wait(300) == 0
    workers.start("graph", site=site.url, MOCRA_LEASE=1, DOWNLOAD_DELAY=0.05)
    workers.until("opened", 3)
    os.kill(sleeper.pid, signal.SIGCONT)
    workers.wait()
    assert [e["run"] for e in workers.events("finished")] == [1, 2]
    assert "Run 1 of crawl 'crawling:graph' is over, run 2 has begun" in workers.log(0)
    assert all(len(site.arrivals()[f"/page/{n}"]) >= 2 for n in range(site.pages)), "both runs fetched everything"


def test_a_worker_that_slept_through_the_end_seeds_the_next_run(
    site: MockSite, workers: Workers, redis_single: RedisServer
) -> None:
    """Whoever began that run died before it had seeded: nobody else is there to do it."""
    sleeper = workers.start("graph", site=site.url, MOCRA_LEASE=1, DOWNLOAD_DELAY=0.02)
    eventually(lambda: len(site.arrivals()) > 30)
    os.kill(sleeper.pid, signal.SIGSTOP)
    workers.start("graph", site=site.url, MOCRA_LEASE=1)
    workers.until("finished", 1)
    assert workers.all[1].wait(300) == 0

    async def begin_the_next_run_and_die() -> int:
        backend = open_backend(redis_single.url)
        await backend.open()
        queue = backend.request_queue("crawling:graph", QueueOptions(lease=1))
        state = await queue.join("ghost")
        await queue.claim_seeding("ghost")
        await queue.close()
        await backend.close()
        return state.run

    assert asyncio.run(begin_the_next_run_and_die()) == 2
    os.kill(sleeper.pid, signal.SIGCONT)
    workers.wait()
    assert [e["run"] for e in workers.events("finished")] == [1, 2]
    assert "This worker seeds run 2 of crawl 'crawling:graph'" in workers.log(0)
    assert all(len(site.arrivals()[f"/page/{n}"]) >= 2 for n in range(site.pages)), "both runs fetched everything"
