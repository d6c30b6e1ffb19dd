"""Every way in which requests and items arise, with Scrapy alone, beside the suite in memory and on
Redis: the same items, the same arrivals at the site, the same reason, the same stats.

The rows are the spiders of :mod:`tests.e2e.ways`. A difference that is a decision stands in its row
with its reason (``Way.differs``), and so do the dead letters that a failure leaves.
"""

from __future__ import annotations

import fcntl
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.ways import callbacks, carried, network, starts
from tests.e2e.ways.way import WAYS
from tests.mocksite import ROOT, MockSite
from tests.services import warm
from tests.services.processes import unmeasured

#: Seconds for all of the table on one backend; 10 on a machine with nothing else to do.
LONG = 1200
# The first test of each process waits for all three backends.
pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.timeout(3 * LONG)]

MODULES = (starts, callbacks, carried, network)


def all_ways(backend: str) -> dict[str, Any]:
    with MockSite(pages=20) as site:
        command = [sys.executable, "-m", "tests.e2e.ways.run", backend, site.url]
        done = warm.run(command, ROOT, LONG, unmeasured())
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="session")
def crawls(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """Backend -> what :mod:`tests.e2e.ways.run` printed; run once for all processes of the session."""
    folder: Path = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent
    kept = folder / "ways.json"
    with (folder / "ways.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            server = request.getfixturevalue("redis_single")
            backends = {"plain": "plain", "memory": "memory://ways", "redis": server.url}
            warm.zygote()  # before there are threads
            with ThreadPoolExecutor(len(backends)) as side_by_side:  # other processes may wait for it
                ran = {name: side_by_side.submit(all_ways, url) for name, url in backends.items()}
            kept.write_text(json.dumps({name: one.result() for name, one in ran.items()}))
    found: dict[str, dict[str, Any]] = json.loads(kept.read_text())
    return found


def without(way: str, result: dict[str, Any]) -> dict[str, Any]:
    """What must be the same."""
    decided = WAYS[way].differs
    same = {name: result[name] for name in ("items", "arrivals", "reason")} | result["stats"]
    return {name: value for name, value in same.items() if name not in decided}


@pytest.mark.parametrize("backend", ["memory", "redis"])
@pytest.mark.parametrize("way", WAYS)
def test_it_is_as_with_scrapy_alone(way: str, backend: str, crawls: dict[str, dict[str, Any]]) -> None:
    plain, ours = crawls["plain"]["ways"][way], crawls[backend]["ways"][way]
    assert without(way, ours) == without(way, plain), ours["errors"]
    assert len(ours["errors"]) >= len(plain["errors"]), "what Scrapy tells of errors is told"
    assert ours["queue"]["letters"] == WAYS[way].letters
    if ours["reason"] in ("finished", "start_error"):
        assert ours["queue"]["unfinished"] == 0


@pytest.mark.parametrize("backend", ["memory", "redis"])
def test_no_crawler_outlives_its_crawl(backend: str, crawls: dict[str, dict[str, Any]]) -> None:
    """One process runs them all, one after the other: what belongs to a crawler goes with it."""
    assert set(crawls[backend]["alive"]) <= set(crawls["plain"]["alive"])
    assert len(crawls["plain"]["alive"]) < 3


def test_the_table_is_whole() -> None:
    """Each spider is a row, and no reason is left empty."""
    assert len(WAYS) >= 60
    assert {way.__module__ for way in WAYS.values()} == {module.__name__ for module in MODULES}
    assert all(len(why) > 20 for way in WAYS.values() for why in way.differs.values())
