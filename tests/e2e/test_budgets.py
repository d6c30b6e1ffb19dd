"""MOCRA_BUDGETS over real workers: exact, whoever dies or comes late."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.e2e.projects import scrapy
from tests.e2e.workers import PROJECT, Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

PAGES = 60


def test_pages_are_exact_over_deaths_and_late_workers(
    workers: Workers, site: MockSite, redis_url: str, tmp_path: Path
) -> None:
    more = {
        "MOCRA_BUDGETS": json.dumps({"slot": {"pages": 1000}, "seed": {"pages": PAGES}}),
        "MOCRA_SHARDS": 3,
        "CONCURRENT_REQUESTS": 4,
        "MOCRA_LEASE": 5,
    }
    workers.together(2, site, "graph", **more)
    eventually(lambda: len(workers.events("item")) >= 10)
    with site.stopped():
        workers.all[0].kill()
        workers.start("graph", site=site.url, **more)
        workers.until_open(2)
        looked = scrapy(
            PROJECT, "mocra", "budgets", "--json", "--crawl", "crawling:graph", "-s", f"MOCRA_BACKEND={redis_url}"
        )
        assert looked.returncode == 0, looked.stderr
        counted = {row["name"]: row for row in map(json.loads, looked.stdout.splitlines())}
        assert counted["slot:127.0.0.1"]["limits"]["pages"] == 1000
        seeds = [name for name in counted if name.startswith("seed:")]
        assert seeds == [f"seed:{site.url}/page/0"], "all come from one"
        assert counted[seeds[0]]["pages"] == counted["slot:127.0.0.1"]["pages"] <= PAGES
    assert workers.wait() == [-signal.SIGKILL, 0, 0]
    fetched = {path for path in site.arrivals() if path.startswith("/page/")}
    assert len(fetched) == PAGES, "not one more, not one less"
    stats = workers.stats()
    assert stats["mocra/budget/refused/pages"] > 0
    assert "not crawled" in workers.log(1) + workers.log(2)
    assert "over a budget of pages" in workers.log(1) + workers.log(2)
