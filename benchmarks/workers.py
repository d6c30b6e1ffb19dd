"""How much faster several workers are than one, on cores that are free for them:
``python -m benchmarks workers``.

A machine of two cores has none to spare for the site and the server beside two workers. So each
worker gets a part of a core (*share*, by a control group), and what several of them take together
leaves room for the rest. Needs root on Linux; elsewhere there is no figure.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks.servers import redis_server, run_workers, site

PERIOD_US = 10_000
SHARE = 0.4  # of a core for each: three workers take 1.2 cores
CONTESTANTS = ("mocra-redis", "mocra-fast")


@contextmanager
def part_of_a_core(share: float, name: str) -> Iterator[Callable[[], None]]:
    """A control group that may use *share* of a core -> what puts the calling process into it.
    Raises OSError where that isn't allowed.
    """
    root = Path("/sys/fs/cgroup")
    group = (root if (root / "cgroup.controllers").exists() else root / "cpu") / name
    group.mkdir()
    try:
        if (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{int(share * PERIOD_US)} {PERIOD_US}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (group / "cpu.cfs_quota_us").write_text(str(int(share * PERIOD_US)))
        yield lambda: (group / "cgroup.procs").write_text(str(os.getpid())) and None
    finally:
        group.rmdir()


def measure(quick: bool, repeats: int) -> list[dict[str, Any]]:
    """A row for each contestant and number of workers; *beside one* is the median of the ratios of
    paired runs.
    """
    pages, share = (400 if quick else 4000), SHARE
    contestants = CONTESTANTS[:1] if quick else CONTESTANTS
    most = 2 if quick else 3
    rows = []
    with redis_server() as port, site(pages) as base, redis.Redis(port=port) as server, ExitStack() as groups:
        try:
            enter = [groups.enter_context(part_of_a_core(share, f"mocra-bench-{os.getpid()}-{n}")) for n in range(most)]
        except OSError as error:
            return [{"contestant": "–", "workers": f"control groups can't be made here: {error}"}]
        speeds: dict[tuple[str, int], list[float]] = {}
        for _ in range(repeats):
            for contestant in contestants:
                for workers in range(1, most + 1):
                    server.flushall()
                    job = {"site": base, "contestant": contestant, "redis": f"redis://127.0.0.1:{port}/0"}
                    results = run_workers(job, workers, enter=enter)
                    speed = sum(r["pages"] for r in results) / max(r["elapsed"] for r in results)
                    speeds.setdefault((contestant, workers), []).append(speed)
        for (contestant, workers), found in speeds.items():
            ratios = [a / b for a, b in zip(found, speeds[contestant, 1], strict=True)]
            rows.append(
                {
                    "contestant": contestant,
                    "workers": workers,
                    "share_of_a_core": round(share, 2),
                    "pages_per_s": round(statistics.median(found), 1),
                    "beside_one": round(statistics.median(ratios), 2),
                    "spread": [round(min(ratios), 2), round(max(ratios), 2)],
                }
            )
    return rows
