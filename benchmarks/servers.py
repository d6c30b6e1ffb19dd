"""The processes around a benchmark: the site, a Redis server, workers. All on loopback, all ended
by whoever started them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def site(pages: int, *options: str) -> Iterator[str]:
    """The benchmark site in a process of its own -> its address."""
    command = [sys.executable, "-m", "benchmarks.site", str(pages), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        end(process)
        if process.stdout:
            process.stdout.close()


@contextmanager
def redis_server() -> Iterator[int]:
    """A Redis server without persistence -> its port."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise SystemExit("redis-server is not installed: run `make setup`")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        command = [
            binary,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            folder,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
            yield port
        finally:
            end(process)


@contextmanager
def redis_cluster(nodes: int = 3) -> Iterator[tuple[str, list[int]]]:
    """A cluster without replicas -> its URL for us, and the ports of its nodes."""
    from tests.services.redis_server import RedisCluster

    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as folder:
        cluster = RedisCluster(Path(folder), nodes)
        cluster.start()
        try:
            yield cluster.url, [node.port for node in cluster.nodes]
        finally:
            cluster.stop()


@contextmanager
def kafka_broker() -> Iterator[str | None]:
    """A broker -> ``host:port``; ``None`` where none is installed."""
    from tests.services.kafka_broker import KafkaBroker, installed

    if not installed():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as folder:
        broker = KafkaBroker(Path(folder) / "kafka")
        broker.join()
        try:
            yield broker.bootstrap
        finally:
            broker.leave()


@contextmanager
def delay_proxy(port: int, one_way_ms: float) -> Iterator[int]:
    """A TCP proxy in front of *port* that holds every byte for *one_way_ms* in each direction ->
    its port.
    """
    listen = free_port()
    command = [sys.executable, "-m", "benchmarks.delay", str(listen), str(port), str(one_way_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield listen
    finally:
        end(process)
        if process.stdout:
            process.stdout.close()


def run_workers(
    job: dict[str, Any],
    count: int,
    timeout: float = 900,
    enter: Sequence[Callable[[], None]] = (),
    tree: Path = ROOT,
) -> list[dict[str, Any]]:
    """*count* worker processes with the same job, by the code in *tree* -> what each of them
    printed. Worker n calls ``enter[n]`` before it begins.
    """
    command = [sys.executable, "-m", "benchmarks.worker", json.dumps(job)]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    workers = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            cwd=tree,
            env=environment,
            preexec_fn=enter[n] if enter else None,
        )
        for n in range(count)
    ]
    results = []
    try:
        for worker in workers:
            output, _ = worker.communicate(timeout=timeout)
            results.append(json.loads(output.strip().splitlines()[-1]))
    finally:
        for worker in workers:
            if worker.poll() is None:
                end(worker)
    return results
