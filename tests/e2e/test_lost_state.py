"""The crawl's state is lost in the middle of it: it is begun anew, and ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.workers import PROJECT, Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def flush(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


def delete_record(server: RedisServer) -> None:
    with server.client() as client:
        (record,) = client.keys("*:crawl")
        client.delete(record)


def restart_empty(server: RedisServer) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("lose", [flush, delete_record, restart_empty], ids=lambda lose: lose.__name__)
def test_a_crawl_whose_state_is_lost_begins_anew(
    lose: Callable[[RedisServer], None], site: MockSite, workers_on: Callable[[str], Workers], server: RedisServer
) -> None:
    workers = workers_on(server.url)
    workers.together(2, site, "graph", CONCURRENT_REQUESTS=2, DOWNLOAD_DELAY=0.05, MOCRA_LEASE=5, MOCRA_PREFETCH=2)
    eventually(lambda: len(site.arrivals()) > 30)
    lose(server)
    assert workers.wait() == [0, 0]
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())
    for number in (0, 1):
        assert "ERROR: The backend has lost crawl" in workers.log(number)
        assert "Traceback" not in workers.log(number)
    assert len(workers.events("finished")) == 1
    # Nothing of it is in the way of the next one.
    workers.start("graph", site=site.url)
    workers.wait()
    assert workers.events("closed")[-1]["stats"]["scheduler/enqueued"] >= site.pages


def test_a_later_start_meets_no_orphaned_filter(
    site: MockSite, workers_on: Callable[[str], Workers], server: RedisServer
) -> None:
    workers = workers_on(server.url)
    workers.start("graph", site=site.url, CONCURRENT_REQUESTS=2, DOWNLOAD_DELAY=0.02, MOCRA_LEASE=2)
    eventually(lambda: len(site.arrivals()) > 30)
    workers.kill()
    delete_record(server)
    site.reset()
    workers.start("graph", site=site.url, MOCRA_LEASE=1)
    workers.wait()
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())


def test_a_crawl_ends_whose_lists_were_deleted(
    site: MockSite, workers_on: Callable[[str], Workers], server: RedisServer
) -> None:
    workers = workers_on(server.url)
    workers.together(
        2, site, "graph", CONCURRENT_REQUESTS=2, DOWNLOAD_DELAY=0.05, MOCRA_PREFETCH=2, MOCRA_IDLE_POLL=0.5
    )
    eventually(lambda: len(site.arrivals()) > 30)
    for worker in workers.all:
        worker.send_signal(signal.SIGSTOP)
    with server.client() as client:
        lists = client.keys("*:q:*")
        assert lists
        client.delete(*lists)
    check = [sys.executable, "-m", "scrapy", "mocra", "check", "graph", "--json", "-s", f"MOCRA_BACKEND={server.url}"]
    told = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=300)
    assert told.returncode == 1, told.stderr
    facts = json.loads(told.stdout)
    assert facts["differs"]
    assert facts["settled"]
    assert facts["pending"] > facts["found_pending"] == 0
    for worker in workers.all:
        worker.send_signal(signal.SIGCONT)
    assert workers.wait() == [0, 0]
    assert "have been corrected" in workers.log(0) + workers.log(1)
    told = subprocess.run(check, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=300)
    assert (told.returncode, json.loads(told.stdout)["differs"]) == (0, False)


def test_a_filter_of_the_projects_own_loses_no_page(
    site: MockSite, workers_on: Callable[[str], Workers], server: RedisServer
) -> None:
    """It would drop the links to what only the lost state had: the worker closes, and the next one,
    whose filter knows nothing, crawls everything.
    """
    workers = workers_on(server.url)
    own = {"DUPEFILTER_CLASS": "crawling.filters.OwnFilter", "DOWNLOAD_DELAY": 0.02}
    workers.start("graph", site=site.url, CONCURRENT_REQUESTS=2, MOCRA_LEASE=5, **own)
    eventually(lambda: len(site.arrivals()) > 30)
    flush(server)
    assert workers.wait() == [0]
    (closed,) = workers.events("closed")
    assert closed["reason"] == "mocra_state_lost"
    assert "DUPEFILTER_CLASS: it is a filter of the project's own" in workers.log(0)
    assert "Traceback" not in workers.log(0)
    site.reset()
    workers.start("graph", site=site.url, MOCRA_LEASE=5, **own)
    workers.wait()
    assert {f"/page/{n}" for n in range(site.pages)} <= set(site.arrivals())
    assert workers.events("closed")[-1]["reason"] == "finished"
