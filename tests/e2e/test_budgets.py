"""MOCRA_BUDGETS over real workers: exact, whoever dies or comes late."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.interfaces import IBackend
from mocra_scrapy.models import BudgetState, QueueOptions
from tests.e2e.projects import scrapy
from tests.e2e.test_failing_sites import arrivals, on_backend
from tests.e2e.workers import PROJECT, Workers
from tests.mocksite import MockSite
from tests.mocksite.site import html, links_of
from tests.services.processes import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

PAGES = 60
#: Requests that a worker has in flight, at most; links of each fork; what a budget allows.
OUT, LINKS, MOST = 4, 5, 10


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


def test_what_else_is_bounded_is_so_over_workers(workers: Workers, site: MockSite) -> None:
    """``depth`` and ``queued`` are exact; ``bytes``, ``errors`` and ``time`` let no more through than what is in flight
    when they are used up, and nothing is lost.
    """
    budgets = {
        "deep": {"depth": 2},
        "queued": {"queued": MOST},
        "bytes": {"bytes": MOST * len(html([]))},
        "errors": {"errors": MOST},
        "time": {"time": 1},
    }
    more = {
        "MOCRA_BUDGETS": json.dumps({"slot": budgets}),
        "MOCRA_THROTTLE": json.dumps({"time": {"rate": f"{MOST}/s", "concurrency": 1}}),
        "CONCURRENT_REQUESTS": OUT,
        "MOCRA_PREFETCH": 0,
        "MOCRA_RETRY_BASE": 0,
    }
    paths = {"bytes": ("ok/bytes", PAGES), "errors": ("status/500", PAGES), "time": ("ok/time", PAGES)}

    def say(do: Callable[[IBackend], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run(on_backend(workers.backend, do))

    async def look(backend: IBackend) -> dict[str, BudgetState]:
        queue = backend.request_queue("crawling:bounded", QueueOptions())
        states = {state.name: state for state in await queue.budgets("slot")}
        await queue.close()
        return states

    def told() -> int:
        state = say(look).get("slot:queued")
        return 0 if state is None else state.pages + state.refused.get("queued", 0)

    say(lambda backend: backend.rate_limiter("crawling:bounded", QueueOptions()).pause("queued"))
    site.gate(2 * OUT)  # both have some of the forks
    workers.together(2, site, "bounded", forks=2 * OUT, links=LINKS, paths=json.dumps(paths), **more)
    eventually(lambda: told() == 2 * OUT * LINKS, what="all that leads there was told")
    assert say(look)["slot:queued"].queued == MOST
    say(lambda backend: backend.rate_limiter("crawling:bounded", QueueOptions()).resume("queued"))
    assert workers.wait() == [0, 0]

    forks = [event["pid"] for event in workers.events("item") if "/ok/forks/" in event["url"]]
    assert (len(forks), len({*forks})) == (2 * OUT, 2)
    assert len(arrivals(site, "ok/queued")) == MOST
    near = {0, *links_of(0, site.pages)}
    near |= {n for page in near for n in links_of(page, site.pages)}
    assert {path for path in site.arrivals() if path.startswith("/page/")} == {f"/page/{n}" for n in near}

    came = {slot: len(arrivals(site, path)) for slot, (path, _) in paths.items()}
    assert MOST <= came["bytes"] <= MOST + 2 * OUT
    assert MOST <= came["errors"] <= MOST + 2 * OUT
    assert came["time"] <= 1 + MOST * 1 + 2 * OUT, "at its rate"
    stats = workers.stats()
    kept = {name: stats.get(f"mocra/budget/refused/{name}", 0) for name in ("depth", "queued", *paths)}
    assert kept["depth"] > 0
    assert kept["queued"] == 2 * OUT * LINKS - MOST
    assert (came["bytes"] + kept["bytes"], came["time"] + kept["time"]) == (PAGES, PAGES)
    assert stats.get("mocra/dead/retry", 0) + kept["errors"] == PAGES
