"""What a killed worker held is with the others within seconds, whatever MOCRA_LEASE is, and one line
tells it; a worker that is only stopped keeps what it has.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.projects import scrapy, write_project
from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.processes import eventually

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.redis,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which kernel this is"),
]

LEASE = 600.0  # s, MOCRA_LEASE: so long that no machine is so slow
GONE = "died: its process is gone."


def test_a_killed_worker_is_replaced_at_once(workers: Workers, site: MockSite) -> None:
    pages = [f"slow/0.4/{n}" for n in range(90)]
    workers.together(3, site, "list", paths=",".join(pages), CONCURRENT_REQUESTS=4, MOCRA_LEASE=LEASE)
    # All three work, the second one stops in the middle, and nobody gets any further.
    eventually(lambda: len({event["pid"] for event in workers.events("item")}) == 3)
    with site.stopped():
        workers.all[1].send_signal(signal.SIGSTOP)
        workers.all[0].kill()
        killed = time.monotonic()
        try:
            eventually(lambda: GONE in workers.log(2))
            assert time.monotonic() - killed < LEASE, "its lease has run out meanwhile: that tells nothing"
        finally:
            workers.all[1].send_signal(signal.SIGCONT)
    assert workers.wait() == [-signal.SIGKILL, 0, 0]
    assert time.monotonic() - killed < LEASE
    told = [line for number in (1, 2) for line in workers.log(number).splitlines() if GONE in line]
    assert len(told) == 1, told
    assert f"-{workers.all[0].pid}-" in told[0]
    stats = workers.stats()
    assert stats["mocra/worker/deaths_seen"] == 1
    assert stats["mocra/queue/reclaimed"] >= 1
    assert f"{stats['mocra/queue/reclaimed']} request" in told[0]
    assert "mocra/worker/lost" not in stats, "a worker that is stopped is not dead"
    assert not [page for page in pages if not site.count(f"/{page}")]


SPIDER = """
    import os

    import scrapy


    class Shop(scrapy.Spider):
        name = "shop"

        async def start(self):
            yield scrapy.Request("data:,page")

        def parse(self, response):
            if not os.path.exists("died"):
                open("died", "w").close()
                os.kill(os.getpid(), 9)
            yield {"page": 1}
"""


def test_the_next_start_after_a_crash_waits_for_nothing(tmp_path: Path, redis_url: str) -> None:
    project = write_project(tmp_path, SPIDER)
    arguments = ("crawl", "shop", "-s", f"MOCRA_BACKEND={redis_url}", "-s", f"MOCRA_LEASE={LEASE}")
    assert scrapy(project, *arguments).returncode == -signal.SIGKILL
    crashed = time.monotonic()
    done = scrapy(project, *arguments)
    assert done.returncode == 0
    assert time.monotonic() - crashed < LEASE
    assert f"{GONE} 1 request that it held returns now" in done.stderr
    assert "'item_scraped_count': 1" in done.stderr
