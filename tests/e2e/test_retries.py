"""Retries that wait, and delays, in real ``scrapy crawl`` processes on a real Redis."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from redis import Redis

from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.e2e.test_loops import LOOPS
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import Stopwatch, eventually
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

MOODS = "/moods/503+2,429,drop,hang,503+date,200/page"
PATIENT = {"RETRY_TIMES": 6, "MOCRA_RETRY_BASE": 0.2, "DOWNLOAD_TIMEOUT": 1, "MOCRA_LEASE": 2, "MOCRA_IDLE_POLL": 0.2}


def delayed(client: Redis, crawl: str = "crawling:moods") -> int:
    return int(client.zcard(f"mocra:{{{crawl}:0}}:delayed"))  # type: ignore[arg-type]


def waits(site: MockSite, path: str = MOODS) -> list[float]:
    times = site.arrivals()[path]
    return [b - a for a, b in itertools.pairwise(times)]


def test_a_moody_page_is_fetched_once_and_waited_for_as_told(site: MockSite, workers: Workers) -> None:
    workers.start("moods", site=site.url, paths=f"{MOODS[1:]} ok/other", **PATIENT)
    assert workers.wait() == [0]
    assert site.count(MOODS) == 6
    assert waits(site)[0] >= 2
    assert waits(site)[4] >= 1.9, "a date has whole seconds: two to three ahead"
    assert [e["item"]["leaks"] for e in workers.events("item")] == [[], []]
    stats = workers.stats()
    assert stats["mocra/retry/told"] == 2
    # Twisted itself repeats a request whose pooled connection was closed: that is no retry of ours.
    assert stats["retry/count"] in (1, 2)
    assert stats["mocra/retry/deferred"] == 3, "it asked to wait, which costs no retry"
    assert stats["mocra/retry/delayed"] == stats["retry/count"] + stats["mocra/retry/deferred"]
    assert "mocra/dead/retry" not in stats
    assert len(workers.events("finished")) == 1


@pytest.mark.parametrize("loop", [name for name in LOOPS if name != "asyncio"])
def test_other_loops_wait_as_well(loop: str, site: MockSite, workers: Workers) -> None:
    path = "/moods/503+1,drop,429,200/page"
    workers.start(
        "moods", site=site.url, paths=f"{path[1:]} moods/500/x", **{**PATIENT, "RETRY_TIMES": 3}, **LOOPS[loop]
    )
    assert workers.wait() == [0]
    assert waits(site, path)[0] >= 1
    stats = workers.stats()
    assert stats["mocra/retry/told"] == 1
    assert stats["mocra/retry/deferred"] == 2
    assert stats["mocra/retry/delayed"] == stats["retry/count"] + stats["mocra/retry/deferred"] >= 5
    assert stats["mocra/dead/retry"] == 1
    assert len(workers.events("item")) == 1


def test_what_waits_outlives_its_worker(site: MockSite, workers: Workers, redis_single: RedisServer) -> None:
    """Killed while the retry waits: another worker fetches it, not before its time, and only once."""
    first = workers.start("moods", site=site.url, paths=MOODS[1:], **PATIENT)
    with redis_single.client() as client:
        eventually(lambda: delayed(client) == 1)
        first.kill()
        first.wait()
        assert delayed(client) == 1
        assert site.count(MOODS) == 1
    workers.start("moods", site=site.url, paths=MOODS[1:], **PATIENT)
    workers.wait()
    assert site.count(MOODS) == 6
    assert waits(site)[0] >= 2
    assert len(workers.events("item")) == 1
    assert [e["run"] for e in workers.events("finished")] == [1]


def test_two_workers_sleep_until_it_is_due(site: MockSite, workers: Workers) -> None:
    """Nobody leaves while something waits, and nobody polls for it: one wake-up when it is due."""
    path = "/moods/503+3,200/page"
    workers.together(2, site, "moods", paths=path[1:], MOCRA_IDLE_POLL=60)
    watch = Stopwatch(site.pid)
    workers.wait()
    assert 3 <= waits(site, path)[0] < 4.5 + workers.waited() + watch.waited()
    assert [e["reason"] for e in workers.events("closed")] == ["finished"] * 2


@pytest.mark.parametrize("backend", ["memory://", "redis"])
def test_delays_of_ones_own(site: MockSite, tmp_path: Path, redis_url: str, backend: str) -> None:
    workers, watch = Workers(tmp_path, redis_url if backend == "redis" else backend), Stopwatch(site.pid)
    try:
        workers.start("waiting", site=site.url, MOCRA_DELAY_MAX=2.5, RETRY_ENABLED=False)
        workers.wait()
    finally:
        workers.kill()
    arrivals = site.arrivals()
    began = arrivals["/redirect/ok/past"][0]
    after = {
        name: arrivals[f"/redirect/ok/{name}"][0] - began
        for name in ("seconds", "instant", "epoch", "negative", "text", "naive", "local", "far")
    }
    busy = workers.waited() + watch.waited()  # the first one may have come late
    assert all(1 - busy < after[name] < 2.4 + busy for name in ("seconds", "instant", "epoch", "local")), after
    assert all(after[name] < 1 + busy for name in ("negative", "text", "naive")), after
    assert 2 - busy < after["far"] < 3.5 + busy
    # Neither the redirect, nor the child made with meta=response.meta, waits again.
    for name in after:
        first = arrivals[f"/redirect/ok/{name}"][0]
        assert arrivals[f"/ok/{name}"][0] - first < 0.9 + busy, name
        assert arrivals[f"/ok/{name}/child"][0] - first < 0.9 + busy, name
    assert all(e["item"]["leaks"] == [] for e in workers.events("item"))
    assert len(workers.events("item")) == 18
    stats = workers.stats()
    assert (stats["mocra/delay/refused"], stats["mocra/delay/shortened"]) == (3, 1)
    log = workers.log()
    assert (
        "meta['mocra_delay'] is -1, which is not a delay: it does not wait. Set a number of seconds, 0 or more" in log
    )
    assert "It has no time zone" in log
    assert "it waits for MOCRA_DELAY_MAX = 2.5 s" in log


SPIDER = """
    import scrapy


    class Shop(scrapy.Spider):
        name = "shop"

        def __init__(self, site="", **kwargs):
            super().__init__(**kwargs)
            self.start_urls = [f"{site}/moods/503+30,200/page"]

        def parse(self, response):
            yield {"status": response.status}
"""


@pytest.mark.parametrize(
    "settings",
    [
        "",
        ONE_LINE + "MOCRA_ENABLED = False\n",
        ONE_LINE + 'SCHEDULER = "scrapy.core.scheduler.Scheduler"\n',
        ONE_LINE + "MOCRA_RETRY_AFTER_CAP = 0\n",
        # Not believed: else the slot as a whole would be held for that long, whoever retries.
        ONE_LINE
        + 'DOWNLOADER_MIDDLEWARES = {"scrapy.downloadermiddlewares.retry.RetryMiddleware": 540}\n'
        + "MOCRA_RETRY_AFTER_CAP = 0\n",
    ],
    ids=["plain", "off", "other scheduler", "never believed", "Scrapy's own"],
)
def test_where_ours_is_not_wanted_it_is_scrapys(site: MockSite, tmp_path: Path, settings: str) -> None:
    project = write_project(tmp_path, SPIDER, settings)
    done = scrapy(project, "crawl", "shop", "-a", f"site={site.url}", seconds=90)
    assert done.returncode == 0
    assert "{'status': 200}" in done.stderr
    assert waits(site, "/moods/503+30,200/page")[0] < 5
    assert ("mocra_scrapy.downloadermiddlewares.retry.RetryMiddleware" in done.stderr) == (
        settings.count("\n") == 2 and not any(word in settings for word in ("False", "540", "SCHEDULER"))
    )


@pytest.mark.parametrize("command", ["fetch", "parse", "shell"])
def test_one_off_commands_do_not_wait(site: MockSite, tmp_path: Path, command: str) -> None:
    project = write_project(tmp_path, SPIDER)
    more = {"shell": ["-c", "response.status"], "parse": ["--spider", "shop"]}.get(command, [])
    done = scrapy(project, command, f"{site.url}/moods/503+30,200/page", *more, seconds=90)
    assert done.returncode == 0, done.stderr
    assert site.count("/moods/503+30,200/page") == 2


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("MOCRA_RETRY_BASE=-1", "MOCRA_RETRY_BASE: '-1' is not a time in seconds. Set a number from 0 to"),
        ("MOCRA_RETRY_AFTER_CAP=nan", "MOCRA_RETRY_AFTER_CAP: 'nan' is not a time in seconds"),
        ("MOCRA_ON_ERROR=ignore", "MOCRA_ON_ERROR: 'ignore' is unknown. Set one of 'ack', 'retry', 'dead'"),
        ("MOCRA_DEAD_TTL=never", "MOCRA_DEAD_TTL: 'never' is not a time in seconds"),
    ],
)
def test_wrong_settings(tmp_path: Path, setting: str, says: str) -> None:
    done = scrapy(write_project(tmp_path, SPIDER), "crawl", "shop", "-s", setting)
    assert says in done.stderr
    assert "Crawled (" not in done.stderr
