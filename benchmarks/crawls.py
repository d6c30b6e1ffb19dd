"""Whole crawls beside plain Scrapy and scrapy-redis, in paired runs: ``python -m benchmarks crawls [--quick]``."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

import redis

from benchmarks.servers import delay_proxy, redis_server, run_workers, site


@dataclass
class Row:
    """One line of the table: a workload and a contestant, all its runs."""

    workload: str
    contestant: str
    rtt_ms: float
    workers: int
    speeds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    round_trips: list[float] = field(default_factory=list)
    traffic: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)

    def add(self, results: list[dict[str, Any]], before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        pages = sum(r["pages"] for r in results)
        seconds = max(r["elapsed"] for r in results)
        self.speeds.append(pages / seconds)
        self.cpu.append(1000 * sum(r["cpu"] for r in results) / pages)
        self.rss.append(max(r["rss_mb"] for r in results))
        if before is not None and after is not None:
            self.round_trips.append((after["total_reads_processed"] - before["total_reads_processed"]) / pages)
            traffic = sum(after[k] - before[k] for k in ("total_net_input_bytes", "total_net_output_bytes"))
            self.traffic.append(traffic / pages)
            cpu = sum(after[k] - before[k] for k in ("used_cpu_user", "used_cpu_sys"))
            self.server_cpu.append(1000 * cpu / pages)

    def as_dict(self) -> dict[str, Any]:
        def median(values: list[float], digits: int = 2) -> float | None:
            return round(statistics.median(values), digits) if values else None

        return {
            "workload": self.workload,
            "contestant": self.contestant,
            "rtt_ms": self.rtt_ms,
            "workers": self.workers,
            "pages_per_s": median(self.speeds, 1),
            "spread": [round(min(self.speeds), 1), round(max(self.speeds), 1)],
            "cpu_s_per_1000": median(self.cpu),
            "round_trips_per_page": median(self.round_trips, 3),
            "bytes_per_page": median(self.traffic, 0),
            "server_cpu_s_per_1000": median(self.server_cpu, 3),
            "rss_mb": median(self.rss, 0),
        }


def contestants(rtts: list[float], worker_counts: list[int]) -> list[tuple[str, float, int]]:
    """``(contestant, round trip added in ms, workers)``: those without a server once, the others everywhere."""
    rows: list[tuple[str, float, int]] = [("plain", 0, 1), ("jobdir", 0, 1), ("mocra-memory", 0, 1)]
    for workers in worker_counts:
        for rtt in rtts:
            rows += [("scrapy-redis", rtt, workers), ("mocra-redis", rtt, workers)]
    return [*rows, ("plain-tuned", 0, 1), ("scrapy-redis-tuned", 0, 1), ("mocra-fast", 0, 1)]


def one_run(row: Row, base: str, port: int, flat: int, settings: dict[str, Any]) -> None:
    """Run one contestant once and add what it did to its row."""
    with redis.Redis(port=port) as server:
        server.flushall()
        uses_redis = row.contestant.startswith(("scrapy-redis", "mocra-redis", "mocra-fast"))
        job: dict[str, Any] = {"site": base, "contestant": row.contestant, "flat": flat, "settings": settings}
        if not uses_redis:
            row.add(run_workers(job, 1), None, None)
            return
        if row.rtt_ms:
            with delay_proxy(port, row.rtt_ms / 2) as proxy:
                job["redis"] = f"redis://127.0.0.1:{proxy}/0"
                before = server.info()
                results = run_workers(job, row.workers)
        else:
            job["redis"] = f"redis://127.0.0.1:{port}/0"
            before = server.info()
            results = run_workers(job, row.workers)
        row.add(results, before, server.info())


def measure(*, quick: bool, repeats: int) -> list[dict[str, Any]]:
    """All rows. A repeat runs every contestant once, one after the other, so that noise meets all of them."""
    pages, flat = (400, 500) if quick else (2000, 3000)
    rtts = [0, 5] if quick else [0, 1, 5, 20]
    worker_counts = [1] if quick else [1, 2, 3]
    table: list[Row] = []
    with redis_server() as port, site(max(pages, flat)) as flat_base, site(pages) as base:
        for workload in ("graph", "flat"):
            rows = [Row(workload, *c) for c in contestants(rtts, worker_counts)]
            for _ in range(repeats):
                for row in rows:
                    slow = row.contestant == "scrapy-redis" and row.rtt_ms >= 5
                    if slow and row.speeds and not quick:
                        continue  # minutes a run, and its median is not in doubt
                    if workload == "graph":
                        one_run(row, base, port, 0, {})
                    else:
                        one_run(row, flat_base, port, flat, {})
            table += rows
    return [row.as_dict() for row in table]
