"""This tree beside another state of it, in pairs: ``python -m benchmarks.beside OTHER [--pairs 8]``.

OTHER is a folder with another checkout, or a git revision, which is checked out for the time of
the measurement. Each pair runs both trees one after the other, the first one first in every other
pair, so that what the machine does meanwhile meets both. A ratio is this tree's figure through the
other one's: of speeds, above 1 is faster; of CPU time, above 1 is dearer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis

from benchmarks.servers import ROOT, redis_server, run_workers, site

#: A workload: pages, seeds without links (0: follow links from the root), workers, contestant.
WORKLOADS = {
    "start": (1, 0, 1, "mocra-redis"),
    "graph": (2000, 0, 1, "mocra-redis"),
    "flat": (3000, 3000, 1, "mocra-redis"),
    "two workers": (2000, 0, 2, "mocra-redis"),
    "memory": (2000, 0, 1, "mocra-memory"),
}
#: Parts of :mod:`benchmarks` whose figures are paired, too.
PARTS = ("storage", "limits")
#: Columns that say what a row measured.
LABELS = ("limit", "hosts", "requests")
#: What rows were called before -> as they are called now.
CALLED = {"8 places": "8 permits"}


@contextmanager
def checkout(other: str) -> Iterator[Path]:
    """The folder of OTHER."""
    if Path(other).is_dir():
        yield Path(other).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="bench-beside-") as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree), other], cwd=ROOT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def crawl(tree: Path, workload: str, base: str, server: redis.Redis[Any]) -> dict[str, float]:
    """One crawl by the code of *tree*."""
    pages, flat, workers, contestant = WORKLOADS[workload]
    server.flushall()
    before = server.info("cpu")
    port = server.connection_pool.connection_kwargs["port"]
    job: dict[str, Any] = {"site": base, "contestant": contestant, "flat": flat, "hosts": 1}
    if contestant != "mocra-memory":
        job["redis"] = f"redis://127.0.0.1:{port}/0"
    results = run_workers(job, workers, tree=tree)
    after = server.info("cpu")
    done = sum(r["pages"] for r in results)
    if done < pages:
        raise SystemExit(f"{tree}: {workload}: {done} of {pages} pages: {results}")
    used = sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))
    return {
        "pages/s": done / max(r["elapsed"] for r in results),
        "CPU ms a page": 1000 * sum(r["cpu"] for r in results) / done,
        "server CPU ms a page": 1000 * used / done,
    }


def part(tree: Path, name: str) -> dict[str, float]:
    """The figures of one part, flattened; what is no figure of speed or cost is left out."""
    with tempfile.TemporaryDirectory(prefix="bench-beside-") as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks", name, "--quick", "--json", str(out)]
        subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL)
        found = json.loads(out.read_text())[name]
    figures = {}
    for row in found if isinstance(found, list) else [found]:
        label = " ".join(f"{value} {key}" for key, value in row.items() if key in LABELS)
        for was, now in CALLED.items():
            label = label.replace(was, now)
        for key, value in row.items():
            if key not in LABELS and isinstance(value, (int, float)) and value > 0:
                figures[f"{label} {key}".strip()] = float(value)
    return figures


def ratios(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, list[float]]:
    """For each figure that both have: its ratio in each pair."""
    names = [name for name in pairs[0][0] if name in pairs[0][1]]
    return {name: [mine[name] / theirs[name] for mine, theirs in pairs] for name in names}


def measure(other: Path, pairs: int, workloads: list[str]) -> dict[str, dict[str, list[float]]]:
    """The ratios of all pairs, by workload and figure."""
    found = {}
    with redis_server() as port, redis.Redis(port=port) as server:
        for workload in workloads:
            if workload in PARTS:
                found[workload] = ratios(in_turns(partial(part, name=workload), other, pairs))
                continue
            with site(WORKLOADS[workload][0]) as base:
                run = partial(crawl, workload=workload, base=base, server=server)
                found[workload] = ratios(in_turns(run, other, pairs))
    return found


def in_turns(
    run: Callable[[Path], dict[str, float]], other: Path, pairs: int
) -> list[tuple[dict[str, float], dict[str, float]]]:
    """What *run* finds in this tree and in the other one, *pairs* times."""
    for tree in (ROOT, other):
        run(tree)  # byte code, and the file cache
    results = []
    for n in range(pairs):
        figures = {tree: run(tree) for tree in ((ROOT, other) if n % 2 else (other, ROOT))}
        results.append((figures[ROOT], figures[other]))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("other", help="a folder with another checkout, or a git revision")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--workload", action="append", choices=[*WORKLOADS, *PARTS], help="default: all")
    arguments = parser.parse_args()
    os.environ.setdefault("PYTHONPYCACHEPREFIX", tempfile.mkdtemp(prefix="bench-bytecode-"))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each worker compiles what it imports, and that counts
    with checkout(arguments.other) as other:
        found = measure(other, arguments.pairs, arguments.workload or [*WORKLOADS, *PARTS])
    for workload, figures in found.items():
        for name, values in figures.items():
            spread = f"{min(values):.3f} to {max(values):.3f}"
            print(f"{workload:12} {name:60} {statistics.median(values):6.3f}  ({spread})")


if __name__ == "__main__":
    main()
