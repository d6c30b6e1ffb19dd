"""Downloads that hang keep what was leased behind them from nobody."""

from __future__ import annotations

import pytest

from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [pytest.mark.redis, pytest.mark.e2e]


def test_an_idle_worker_gets_what_waits_behind_downloads_that_hang(site: MockSite, workers: Workers) -> None:
    paths = [*(f"held/{n}" for n in range(2)), *(f"ok/{n}" for n in range(2))]
    more = {"CONCURRENT_REQUESTS": 2, "DOWNLOAD_TIMEOUT": 600, "MOCRA_IDLE_POLL": 0.5}
    workers.start("list", site=site.url, paths=",".join(paths), **more)
    eventually(lambda: len(site.arrivals()) == 2)
    workers.start("list", site=site.url, paths=",".join(paths), **more)
    eventually(lambda: len(site.arrivals()) == 4, what="the second worker fetches the rest")
    assert [worker.poll() for worker in workers.all] == [None, None], "the first two hang"
    site.free()
    assert workers.wait() == [0, 0]
    assert {path: len(times) for path, times in site.arrivals().items()} == {f"/{path}": 1 for path in paths}
    stats = workers.stats()
    assert stats["mocra/queue/acked"] == 4
    assert stats["mocra/queue/released"] >= 1
    assert "mocra/queue/redelivered" not in stats, "to be given back is no delivery"
