"""Whole crawls beside plain Scrapy and scrapy-redis, in paired runs:
``python -m benchmarks crawls [--quick] [--workload graph]``.
"""

from __future__ import annotations

import secrets
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from benchmarks.servers import delay_proxy, kafka_broker, redis_cluster, redis_server, run_workers, site


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
    server_mb: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

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
            self.server_mb.append(after["used_memory_peak"] / 1e6)

    def beside(self, plain: Row) -> None:
        """The speed of each run as a multiple of plain Scrapy's in the same repeat."""
        self.ratios = [mine / theirs for mine, theirs in zip(self.speeds, plain.speeds, strict=False)]

    def as_dict(self) -> dict[str, Any]:
        def median(values: list[float], digits: int = 2) -> float | None:
            return round(statistics.median(values), digits) if values else None

        return {
            "workload": self.workload,
            "contestant": self.contestant,
            "rtt_ms": self.rtt_ms,
            "workers": self.workers,
            "pages_per_s": median(self.speeds, 1),
            "beside_plain": median(self.ratios, 2),
            "spread": [round(min(self.speeds), 1), round(max(self.speeds), 1)],
            "cpu_s_per_1000": median(self.cpu),
            "round_trips_per_page": median(self.round_trips, 3),
            "bytes_per_page": median(self.traffic, 0),
            "server_cpu_s_per_1000": median(self.server_cpu, 3),
            "rss_mb": median(self.rss, 0),
            "server_peak_mb": median(self.server_mb, 0),
        }


#: What is crawled: pages of the full and of the quick form, hosts, whether pages have links.
WORKLOADS = {"graph": (2000, 400, 1), "flat": (3000, 500, 1), "hosts": (10_000, 400, 10_000)}


def contestants(workload: str, quick: bool) -> list[tuple[str, float, int]]:
    """``(contestant, round trip added in ms, workers)``. Those without a server once; the cluster
    without a delay, as its nodes tell their own addresses. Kafka's brokers do as well: with its queue the
    way to Redis, which has the state, is the longer one.
    """
    rtts, counts = ([0, 1, 5, 20], [1, 2, 3])
    if quick:
        rtts, counts = ([0, 20] if workload == "graph" else [0]), [1]
    elif workload == "hosts":
        rtts, counts = [0, 5], [1, 2]
    rows: list[tuple[str, float, int]] = [("plain", 0, 1), ("mocra-memory", 0, 1)]
    # Crawls of the whole site that know nothing of each other: what the machine gives to several
    # processes.
    rows += [("plain", 0, workers) for workers in counts if workers > 1]
    if workload != "hosts" and not quick:
        rows.append(("jobdir", 0, 1))
    for workers in counts:
        for rtt in rtts:
            if not (quick and rtt):  # half a minute a run, and its result is not in doubt
                rows.append(("scrapy-redis", rtt, workers))
            rows.append(("mocra-redis", rtt, workers))
        rows.append(("mocra-cluster", 0, workers))
        if workload != "hosts":
            rows += [("mocra-kafka", rtt, workers) for rtt in rtts if rtt in (0, 5)]
    if workload == "graph" or (workload == "flat" and not quick):
        rows += [("plain-tuned", 0, 1), ("scrapy-redis-tuned", 0, 1), ("mocra-redis-tuned", 0, 1)]
    return [*rows, *(("mocra-fast", 0, workers) for workers in counts)]


class Server:
    """One Redis or all nodes of a cluster: emptied before a run, asked after it."""

    def __init__(self, ports: list[int]) -> None:
        self.clients = [redis.Redis(port=port) for port in ports]

    def flush(self) -> None:
        for client in self.clients:
            client.flushall()
            client.config_resetstat()

    def info(self) -> dict[str, float]:
        """Counters, added up; ``used_memory_peak`` since the server began."""
        facts = [client.info() for client in self.clients]
        names = [
            "total_reads_processed",
            "total_net_input_bytes",
            "total_net_output_bytes",
            "used_cpu_user",
            "used_cpu_sys",
            "used_memory_peak",
        ]
        return {name: sum(fact[name] for fact in facts) for name in names}

    def close(self) -> None:
        for client in self.clients:
            client.close()


def one_run(row: Row, base: str, servers: dict[str, Any], pages: int, hosts: int) -> None:
    """Run one contestant once and add what it did to its row; *servers* has URLs, and who empties them."""
    job: dict[str, Any] = {"site": base, "contestant": row.contestant, "hosts": hosts}
    job["flat"] = 0 if row.workload == "graph" else pages
    if row.contestant == "mocra-kafka":  # each run has topics of its own
        job["kafka"] = f"kafka://{servers['kafka'][0]}/run{secrets.token_hex(4)}"
    if row.contestant in ("plain", "jobdir", "mocra-memory", "plain-tuned"):
        row.add(run_workers(job, row.workers), None, None)
        return
    url, server = servers["cluster" if row.contestant == "mocra-cluster" else "single"]
    server.flush()
    before = server.info()
    if row.rtt_ms:
        with delay_proxy(int(url.rpartition(":")[2].partition("/")[0]), row.rtt_ms / 2) as proxy:
            results = run_workers({**job, "redis": f"redis://127.0.0.1:{proxy}/0"}, row.workers)
    else:
        results = run_workers({**job, "redis": url}, row.workers)
    row.add(results, before, server.info())


def measure(
    *, quick: bool, repeats: int, workloads: Sequence[str] = tuple(WORKLOADS), only: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """All rows, or plain Scrapy's and those of the contestants in *only*.

    A repeat runs every contestant once, one after the other, so that noise meets all of them.
    """
    table: list[Row] = []
    with redis_server() as port, redis_cluster() as (cluster, nodes), kafka_broker() as brokers:
        single, several = Server([port]), Server(nodes)
        servers = {
            "single": (f"redis://127.0.0.1:{port}/0", single),
            "cluster": (cluster, several),
            "kafka": (brokers, None),
        }
        for workload in workloads:
            full, small, hosts = WORKLOADS[workload]
            pages = small if quick else full
            rows = [Row(workload, *c) for c in contestants(workload, quick) if not only or c[0] in ("plain", *only)]
            rows = [row for row in rows if brokers or row.contestant != "mocra-kafka"]
            with site(pages) as base, site(small) as small_base:
                for _ in range(repeats):
                    for row in rows:
                        if not (row.contestant == "scrapy-redis" and row.rtt_ms >= 5):
                            one_run(row, base, servers, pages, hosts)
                        elif not row.speeds:  # a dozen pages a second: one small run, the result is not in doubt
                            one_run(row, small_base, servers, small, hosts)
            for row in rows:
                row.beside(rows[0])
            table += rows
        for server in (single, several):
            server.close()
    return [row.as_dict() for row in table]
