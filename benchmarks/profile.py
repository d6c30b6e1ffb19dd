"""Where a page's CPU time goes: ``python -m benchmarks profile [--quick] [--workload flat]``. One
worker, same settings for all.
"""

from __future__ import annotations

import secrets
import statistics
from collections import defaultdict
from typing import Any

import redis

from benchmarks.servers import kafka_broker, redis_server, run_workers, site

CONTESTANTS = ("plain", "scrapy-redis", "mocra-redis", "mocra-kafka", "plain-tuned", "scrapy-redis-tuned", "mocra-fast")


def measure(
    *, quick: bool, repeats: int, workload: str = "graph", contestants: tuple[str, ...] = CONTESTANTS
) -> dict[str, Any]:
    """``{"table": rows of µs a page by owner, "functions": the dearest ones of each}``; medians
    over *repeats*.
    """
    pages = 600 if quick else 2000
    cost: dict[str, dict[str, list[float]]] = {c: defaultdict(list) for c in contestants}
    functions: dict[str, list[Any]] = {}
    with redis_server() as port, site(pages) as base, redis.Redis(port=port) as server, kafka_broker() as brokers:
        contestants = tuple(c for c in contestants if brokers or c != "mocra-kafka")
        for _ in range(repeats):
            for contestant in contestants:
                server.flushall()
                job = {
                    "site": base,
                    "contestant": contestant,
                    "redis": f"redis://127.0.0.1:{port}/0",
                    "kafka": f"kafka://{brokers}/run{secrets.token_hex(4)}",
                    "profile": True,
                    "flat": 0 if workload == "graph" else pages,
                    "hosts": pages if workload == "hosts" else 1,
                }
                (result,) = run_workers(job, 1)
                owners = result["profile"]["owners"]
                microseconds = 1e6 * result["cpu"] / result["pages"] / sum(owners.values())
                for owner, samples in owners.items():
                    cost[contestant][owner].append(samples * microseconds)
                cost[contestant]["in all"].append(1e6 * result["cpu"] / result["pages"])
                functions[contestant] = [
                    [owner, name, round(n * microseconds)] for owner, name, n in result["profile"]["functions"][:25]
                ]
    owners = sorted(
        {o for c in cost.values() for o in c} - {"in all"},
        key=lambda o: -statistics.median(cost[contestants[0]].get(o, [0])),
    )
    table = [
        {"us_a_page": owner, **{c: round(statistics.median(cost[c].get(owner, [0]))) for c in contestants}}
        for owner in [*owners, "in all"]
    ]
    return {"table": table, "functions": functions}
