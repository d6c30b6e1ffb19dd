"""P1 and P5 under fire, see :mod:`tests.e2e.chaos`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import need_redis
from tests.e2e.chaos import CRAWL, run

pytestmark = [pytest.mark.redis, pytest.mark.e2e, pytest.mark.chaos]

PAGES, KILLS = 2000, 6


@pytest.mark.parametrize("scheduler", ["mocra", "mocra-fast"])
def test_nothing_is_lost_under_fire(scheduler: str, tmp_path: Path) -> None:
    """2,000 pages, slow and failing ones among them; six SIGKILLs, a SIGSTOP longer than the lease,
    a dead server.
    """
    need_redis()
    seed = int(os.environ.get("CHAOS_SEED", "7"))
    report, server, workers = run(scheduler, tmp_path, PAGES, seed, KILLS)
    try:
        assert (report.kills, report.pauses, report.restarts) == (KILLS, 1, 1), report
        assert report.lost == [], report
        assert report.without_item == [], report
        assert report.exit_codes == [0, 0, 0], report
        assert report.repeats <= report.held, report
        # A worker that was started for one killed at the very end finds the run finished, begins
        # the next one, and has nothing to do.
        runs = [event["run"] for event in workers.events("finished")]
        assert runs == [*range(1, len(runs) + 1)], "the end of a run comes once"
        with server.client() as client:
            keys = {key.decode().partition("}:")[2] for key in client.scan_iter(match=f"mocra:{{{CRAWL}:*")}
            buckets = [key for key in keys if key.startswith("f:")]
            # The filter knows each page once, in buckets small enough for the compact encoding.
            members = [client.scard(f"mocra:{{{CRAWL}:0}}:{key}") for key in buckets]
            assert sum(members) == int(client.hget(f"mocra:{{{CRAWL}:0}}:meta", "filter_count") or 0) == PAGES
            assert max(members) <= 512
            # What dead workers left goes by itself.
            left = {key for key in keys - set(buckets) if client.pttl(f"mocra:{{{CRAWL}:0}}:{key}") < 0}
            assert left == {"crawl", "dictionaries", "meta"}, "what docs/reference/keys names, and no more"
    finally:
        server.kill()
