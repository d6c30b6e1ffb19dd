"""A quota, as the site sees it: over two workers, a kill of both, and a change while the crawl runs."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from tests.e2e.projects import scrapy
from tests.e2e.workers import PROJECT, Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

CRAWL, SLOT = "crawling:two_hosts", "localhost"
QUOTA, PAGES = 12, 20


def test_a_quota_holds_over_workers_and_kills(site: MockSite, workers: Workers) -> None:
    site.repair()
    settings: dict[str, Any] = {
        "MOCRA_THROTTLE": json.dumps({SLOT: {"quota": f"{QUOTA}/h", "concurrency": 4}}),
        "ROBOTSTXT_OBEY": False,
    }

    def seen(part: str) -> int:
        return sum(len(times) for path, times in site.arrivals().items() if path.startswith(part))

    def start() -> None:
        for _ in range(2):
            workers.start("two_hosts", site=site.url, bad="sick", pages=PAGES, **settings)

    def say(*words: str, verb: str = "slots") -> str:
        whose = ["--crawl", CRAWL] if verb == "slots" else [CRAWL]
        done = scrapy(PROJECT, "mocra", verb, *words, *whose, "-s", f"MOCRA_BACKEND={workers.backend}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    start()
    eventually(lambda: (seen("/ok/"), seen("/sick/")) == (PAGES, QUOTA), what="the other host goes on")
    eventually(lambda: json.loads(say("look", SLOT, "--json"))["permits"] == 0, what="nothing is in flight")
    row = json.loads(say("look", SLOT, "--json"))
    assert [(one["most"], one["used"]) for one in row["quotas"]] == [(QUOTA, QUOTA)]
    assert (row["pending"], row["stands"][0][:13]) == (PAGES - QUOTA, "quota used up")
    waits = f"  {SLOT}  {PAGES - QUOTA} pending: quota used up ({QUOTA} in 1 h 0 min), opens in "
    assert waits in say(verb="status"), "why nothing happens"
    workers.until("opened", 2)
    assert [worker.poll() for worker in workers.all] == [None, None], "there is something left to do"
    for worker in workers.all:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    first = len(workers.all)
    start()
    workers.until("opened", 4)
    assert say("quota", SLOT, f"{QUOTA + 1}/h").startswith(f"{SLOT}: {QUOTA + 1} in 1 h 0 min, ")
    eventually(lambda: seen("/sick/") == QUOTA + 1, what="one more")
    say("quota", SLOT, "none")
    eventually(lambda: all(worker.poll() == 0 for worker in workers.all[first:]), what="the end of the crawl")
    assert seen("/sick/") == PAGES
