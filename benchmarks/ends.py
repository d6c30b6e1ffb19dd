"""How soon every worker notices that the crawl is finished: ``python -m benchmarks ends``."""

from __future__ import annotations

import statistics
from typing import Any

import redis

from benchmarks.servers import redis_server, run_workers, site


def measure(quick: bool) -> dict[str, Any]:
    """Seconds from the last page of the crawl, whoever got it, to the closing of each of three
    workers, over several crawls.
    """
    took, last = [], []
    with redis_server() as port, site(300) as base, redis.Redis(port=port) as server:
        for _ in range(3 if quick else 20):
            server.flushall()
            results = run_workers(
                {"site": base, "contestant": "mocra-redis", "redis": f"redis://127.0.0.1:{port}/0"}, 3
            )
            finished = max(r["last_page"] for r in results)
            noticed = [r["closing"] - finished for r in results if r["pages"]]
            took += noticed
            last.append(max(noticed))
    return {
        "crawls": len(last),
        "workers": 3,
        "median_ms": round(1000 * statistics.median(took)),
        "last_worker_median_ms": round(1000 * statistics.median(last)),
        "worst_ms": round(1000 * max(took)),
    }
