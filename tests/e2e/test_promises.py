"""The promises of ``docs/guarantees``, each with real ``scrapy crawl`` processes on a real Redis
server.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import Stopwatch, eventually
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]


def test_p02_done_means_done(site: MockSite, workers: Workers, tmp_path: Path) -> None:
    """Killed while an item is in a pipeline: the page comes back. Killed after it: it doesn't."""
    slow = {"ITEM_PIPELINES": '{"crawling.pipelines.SlowPipeline": 1}', "MOCRA_LEASE": 1}
    first = workers.start("list", {"SLOW": "60"}, site=site.url, paths="ok/a", **slow)
    workers.until("item_in")
    first.kill()
    first.wait()
    assert not workers.events("item_through")
    workers.start("list", site=site.url, paths="ok/a", **slow)
    workers.wait()
    assert site.count("/ok/a") == 2
    assert len(workers.events("item_through")) == 1
    assert workers.stats()["mocra/queue/redelivered"] == 1
    # The run is over: nothing of it is fetched once more but by a new run.
    assert [e["run"] for e in workers.events("finished")] == [1]


def test_p03_filter_and_store_are_one_step(
    site: MockSite, own_redis: RedisServer, workers_on: Callable[[str], Workers]
) -> None:
    """However the server dies while links are stored, each of them is fetched: none is known and
    yet not queued.
    """
    workers = workers_on(own_redis.url)
    workers.start("graph", site=site.url, first="page/0", MOCRA_LEASE=2)
    for fetched in (10, 40, 80):
        eventually(lambda n=fetched: len(site.arrivals()) >= n)
        own_redis.kill()
        own_redis.start()
    workers.wait()
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())


def test_p04_a_stale_owner_changes_nothing(site: MockSite, workers: Workers) -> None:
    """Stopped for longer than its lease, a worker goes on: what it says about requests that others
    have now is refused.
    """
    stopped = workers.start("list", site=site.url, paths="slow/2/a,slow/2/b", MOCRA_LEASE=1)
    eventually(lambda: site.count("/slow/2/b"))
    os.kill(stopped.pid, signal.SIGSTOP)
    workers.start("list", site=site.url, paths="slow/2/a,slow/2/b", MOCRA_LEASE=1)
    eventually(lambda: site.count("/slow/2/b") == 2 and site.count("/slow/2/a") == 2)
    os.kill(stopped.pid, signal.SIGCONT)
    workers.wait()
    stats = workers.stats()
    assert stats["mocra/queue/ack_refused"] == 2
    assert stats["mocra/worker/lost"] == 1
    assert stats["mocra/queue/acked"] == 2
    assert workers.events("lost", pid=stopped.pid)
    assert len(workers.events("finished")) == 1


def test_p05_repeats_are_bounded_and_counted(site: MockSite, workers: Workers) -> None:
    """What is fetched twice is at most what the killed worker held, and the stats say how many."""
    victim = workers.start("graph", site=site.url, MOCRA_LEASE=1, CONCURRENT_REQUESTS=8, DOWNLOAD_DELAY=0.02)
    eventually(lambda: len(site.arrivals()) > 40)
    victim.kill()
    workers.start("graph", site=site.url, MOCRA_LEASE=1, CONCURRENT_REQUESTS=8)
    workers.wait()
    redelivered = workers.stats()["mocra/queue/redelivered"]
    # In flight and leased ahead; those that wait for a full slot are at most twice the slot's
    # concurrency.
    assert 0 < redelivered <= 8 + 8 + 2 * 8
    failing = {f"/page/{n}" for n in range(1, site.pages) if n % 41 == 0 or n % 43 == 0}
    repeats = sum(len(times) - 1 for path, times in site.arrivals().items() if path not in failing)
    assert repeats <= redelivered
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())


def test_p06_a_poison_page_becomes_a_dead_letter(site: MockSite, workers: Workers) -> None:
    """A callback that ends its process: after MOCRA_MAX_DELIVERIES workers it is given up, and all
    others are fetched.
    """
    options = {"site": site.url, "pages": 40, "MOCRA_LEASE": 1, "MOCRA_MAX_DELIVERIES": 3, "MOCRA_IDLE_POLL": 0.2}
    deaths = 0
    while True:
        worker = workers.start("poison", **options)
        if worker.wait(60) != 7:
            break
        deaths += 1
        assert deaths <= 3
    assert deaths == 3
    assert site.count("/ok/poison") == 3
    assert all(site.count(f"/ok/{n}") for n in range(40))
    stats = workers.stats()
    assert stats["mocra/queue/given_up"] == 1
    assert len(workers.events("finished")) == 1


def test_p07_the_end_comes_once_and_for_all(site: MockSite, workers: Workers) -> None:
    """Three workers and one slow last page: nobody leaves early, nobody waits for long, one of them
    says so.
    """
    workers.together(3, site, "list", paths="slow/5/last,ok/1,ok/2")
    workers.wait()
    assert [e["reason"] for e in workers.events("closed")] == ["finished"] * 3
    assert len(workers.events("finished")) == 1
    assert site.count("/slow/5/last") == 1
    ended = site.arrivals()["/slow/5/last"][0] + 5
    assert all(e["at"] >= ended for e in workers.events("closed"))
    noticed = [e["at"] for e in workers.events("closed")]
    assert max(noticed) - min(noticed) < 20, "one of them learnt it late"


def test_p07_an_interrupted_run_resumes_and_a_finished_one_begins_afresh(site: MockSite, workers: Workers) -> None:
    first = workers.start("graph", site=site.url, DOWNLOAD_DELAY=0.02)
    eventually(lambda: len(site.arrivals()) > 30)
    first.send_signal(signal.SIGTERM)
    first.wait(300)
    before = len(site.arrivals())
    assert before < site.pages
    workers.start("graph", site=site.url)
    workers.wait()
    assert [e["run"] for e in workers.events("finished")] == [1]
    assert site.count("/page/0") == 1, "start() was run again"
    site.reset()
    workers.start("graph", site=site.url)
    workers.wait()
    assert [e["run"] for e in workers.events("finished")] == [1, 2]
    assert site.count("/page/0") == 1


def test_seeding_is_taken_over(site: MockSite, workers: Workers) -> None:
    """The worker that runs start() dies in the middle: another one gives all seeds, and none is
    fetched twice for it.
    """
    seeder = workers.start("seeds", site=site.url, seeds=300, _hold_at=150, MOCRA_LEASE=1)
    eventually(lambda: len(site.arrivals()) == 150)
    workers.start("seeds", site=site.url, seeds=300, MOCRA_LEASE=1)
    workers.until("opened", 2)
    assert len(site.arrivals()) == 150, "the other one seeds while this one lives"
    seeder.kill()
    workers.wait()
    arrivals = site.arrivals()
    assert {f"/ok/{n}" for n in range(300)} <= set(arrivals)
    redelivered = workers.stats().get("mocra/queue/redelivered", 0)
    assert sum(len(times) - 1 for times in arrivals.values()) <= redelivered + 16


@pytest.mark.alone
def test_sigterm_hands_back_within_a_second(site: MockSite, workers: Workers, redis_single: RedisServer) -> None:
    """What was leased ahead goes to others at once, while pages in flight may take their time."""
    paths = ",".join([*(f"held/{n}" for n in range(4)), *(f"ok/{n}" for n in range(20))])
    leaving = workers.start("list", site=site.url, paths=paths, CONCURRENT_REQUESTS=4, MOCRA_STOP_GRACE=600)
    eventually(lambda: len(site.arrivals()) == 4)
    leaving.send_signal(signal.SIGTERM)
    eventually(lambda: "shutting down gracefully" in workers.log())
    told = Stopwatch(leaving.pid, redis_single.pid)
    with redis_of(workers) as client:
        eventually(lambda: client.hlen(held_by(client, leaving.pid)) <= 4 + 1, what="the inbox handed back")
    assert told.seconds() < 1
    workers.start("list", site=site.url, paths=paths)
    eventually(lambda: len(site.arrivals()) == 24)
    assert leaving.poll() is None, "the pages in flight were not waited for"
    site.free()
    workers.wait()
    assert all(len(times) == 1 for times in site.arrivals().values())
    assert workers.stats()["mocra/queue/released"] >= 1


def redis_of(workers: Workers) -> redis.Redis:
    return redis.Redis.from_url(workers.backend)


def held_by(client: redis.Redis, pid: int) -> bytes:
    """The key of what a worker holds: its leases, and one field for its last call."""
    return next(client.scan_iter(match=f"mocra:*:w:*-{pid}-*"), b"gone")


@pytest.mark.alone
def test_p09_the_loop_is_never_blocked(
    site: MockSite, own_redis: RedisServer, workers_on: Callable[[str], Workers]
) -> None:
    """The server is stopped for three seconds: meanwhile the event loop never pauses for 50 ms."""
    workers = workers_on(own_redis.url)
    workers.start(
        "graph",
        {"WATCH_STALLS": "1"},
        site=site.url,
        MOCRA_REDIS_OPTIONS='{"socket_timeout": 0.5}',
        CONCURRENT_REQUESTS=4,
        DOWNLOAD_DELAY=0.05,
    )
    eventually(lambda: len(site.arrivals()) > 10)
    own_redis.pause()
    workers.until("away")
    stopped = time.monotonic()
    eventually(lambda: time.monotonic() - stopped > 2.5)
    own_redis.resume()
    back = workers.until("back")
    assert back["seconds"] > 2
    assert 0 < back["stall"] < 0.05
    workers.wait()
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())


def test_p10_an_outage_pauses(site: MockSite, own_redis: RedisServer, workers_on: Callable[[str], Workers]) -> None:
    """The server is killed and started again: the crawl goes on, on the server, with nothing lost
    and nothing in memory instead.
    """
    workers = workers_on(own_redis.url)
    workers.together(2, site, "graph", MOCRA_LEASE=5, CONCURRENT_REQUESTS=4, DOWNLOAD_DELAY=0.02)
    eventually(lambda: len(site.arrivals()) > 20)
    own_redis.kill()
    workers.until("away", 2)
    quiet = len(site.arrivals())
    own_redis.start()
    workers.until("back", 2)
    workers.wait()
    arrivals = site.arrivals()
    assert {f"/page/{n}" for n in range(site.pages)} <= set(arrivals)
    assert quiet < site.pages
    assert "scheduler/enqueued/memory" not in workers.stats()
    assert workers.stats()["mocra/backend/outages"] >= 2


def test_p11_shared_bytes_are_data(site: MockSite, workers: Workers, redis_single: RedisServer, tmp_path: Path) -> None:
    """Foreign bytes in the queue: dead letters with a reason. A pickle that would run code runs
    nothing. No secrets in the store.
    """
    mark = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> object:
            return (Path.touch, (mark,))

    import pickle

    with redis_single.client() as client:
        workers.start("list", site=site.url, paths="held/a", CONCURRENT_REQUESTS=1)
        eventually(lambda: site.count("/held/a"))
        key = "mocra:{crawling:list:0}:q:1:127.0.0.1"
        slot = "127.0.0.1"
        for junk in (
            b"\x00\x80" + pickle.dumps(Bomb()),
            pickle.dumps(Bomb()),
            b"",
            b"\x00",
            b"\x00\x01\xff\xff",
            os.urandom(300),
        ):
            client.rpush(key, junk)
        client.zadd("mocra:{crawling:list:0}:ready", {slot: 1}, nx=True)
        site.free()
        workers.wait()
        letters = client.hgetall("mocra:{crawling:list:0}:dead")
    assert not mark.exists()
    assert len(letters) == 6
    assert workers.stats()["mocra/scheduler/unreadable"] == 6
    assert workers.events("closed")[0]["reason"] == "finished"
    assert "MOCRA_CODEC" in workers.log()


def test_p12_it_behaves_like_scrapy(site: MockSite, workers_on: Callable[[str], Workers], redis_url: str) -> None:
    """The same spider with Scrapy's scheduler and with ours: the same pages, items, and stats that
    Scrapy documents.
    """
    seen = []
    for backend, more in (("memory://", {"MOCRA_ENABLED": "False"}), ("memory://", {}), (redis_url, {})):
        workers = workers_on(backend)
        site.reset()
        workers.start("graph", site=site.url, **more)
        workers.wait()
        stats = workers.stats()
        # Twisted itself tries again when a kept-alive connection was dropped, so the number of
        # Scrapy's own retries varies.
        retried = stats["retry/count"]
        counts = {
            "items": stats["item_scraped_count"],
            "responses": stats["response_received_count"],
            "enqueued": stats["scheduler/enqueued"] - retried,
            "dequeued": stats["scheduler/dequeued"] - retried,
        }
        seen.append((counts, sorted(site.arrivals()), workers.events("closed")[0]["reason"]))
        assert stats["dupefilter/filtered"] > 0
        assert len(workers.events("dropped")) == stats["dupefilter/filtered"]
    assert seen[0] == seen[1] == seen[2]
