"""A crawl with a million requests in Kafka: one page's callback yields them while others of them are fetched.

    python -m tests.e2e.kafka_million                     a million
    python -m tests.e2e.kafka_million --queued 20000

Real ``scrapy crawl`` processes; all requests are of one slot that takes twenty a second, so they queue up. A line of
JSON; the exit code is 0 if as many are pending as were yielded and not fetched, no worker has more than :data:`MORE` MB
beyond what it had when a quarter of the time was over, and all ended well when they were told to.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.workers import Workers
from tests.mocksite import MockSite
from tests.services.kafka_broker import KafkaBroker
from tests.services.processes import eventually
from tests.services.redis_server import RedisServer

#: MB that a worker may have beyond what it had when it stored its first requests.
MORE = 64
#: Seconds that all may take for a thousand requests, and beside.
PATIENCE, START = 4.0, 120.0


def resident(pid: int) -> int:
    """MB that a process has now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


def status(workers: Workers, environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "scrapy", "mocra", "status", "many", "--json"]
    done = subprocess.run(
        command, cwd=workers.project, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def crawl(folder: Path, bootstrap: str, server: RedisServer, queued: int, number: int) -> dict[str, Any]:
    workers, began = Workers(folder, server.url), time.monotonic()
    reached = folder / "reached"
    backends = {"MOCRA_QUEUE_BACKEND": f"kafka://{bootstrap}/million", "MOCRA_STATE_BACKEND": server.url}
    settings: dict[str, Any] = {
        **backends,
        "MOCRA_KAFKA_CREATE_TOPICS": True,
        "MOCRA_KAFKA_REPLICATION": 1,
        "MOCRA_KAFKA_MIN_INSYNC": 1,
        "DOWNLOAD_DELAY": 0.05,
    }
    arguments: dict[str, Any] = {
        "first": "ok/first",
        "links": queued,
        "mark": queued - 1,
        "reached": reached,
        "kind": "async",
    }
    looks: list[list[int]] = []

    def look() -> bool:
        looks.append([resident(worker.pid) for worker in workers.all])
        return reached.exists()

    try:
        with MockSite(pages=1) as site:
            for n in range(number):
                workers.start("many", site=site.url, **arguments, **settings)
                workers.until_open(n)
            eventually(look, START + PATIENCE * queued / 1000, "all is yielded")
            yielded = time.monotonic() - began
            fetched = len(site.arrivals())
            eventually(lambda: look() and len(site.arrivals()) > fetched + 200, what="200 more pages")
            for worker in workers.all:
                worker.terminate()
            codes = workers.wait()
            fetched = len(site.arrivals()) - 1
        told = status(workers, backends)
    finally:
        workers.kill()
    with server.client() as client:
        redis_mb = round(client.info("memory")["used_memory_peak"] / 2**20, 1)
    return {
        "queued": queued,
        "fetched": fetched,
        "pending": sum(told[name] for name in ("pending", "delayed", "in_flight")),
        "yielded_after": round(yielded),
        "mb_at_a_quarter": looks[len(looks) // 4],
        "mb": [max(column) for column in zip(*looks, strict=True)],
        "redis_mb": redis_mb,
        "codes": codes,
    }


def judge(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    wrong = []
    for early, most in zip(found["mb_at_a_quarter"], found["mb"], strict=True):
        if most > early + MORE:
            wrong.append(f"a worker had {most} MB, and {early} MB before")
    if found["pending"] != found["queued"] - found["fetched"]:
        wrong.append("what is pending is not what was yielded and not fetched")
    if any(found["codes"]):
        wrong.append("a worker did not end well")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.kafka_million")
    parser.add_argument("--queued", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kafka-million-") as name:
        folder = Path(name)
        broker, server = KafkaBroker(folder / "kafka"), RedisServer(folder, appendfsync="everysec")
        broker.join()
        server.start()
        try:
            found = crawl(folder, broker.bootstrap, server, given.queued, given.workers)
        finally:
            server.kill()
            broker.leave()
    wrong = judge(found)
    print(json.dumps({**found, "wrong": wrong}), flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
