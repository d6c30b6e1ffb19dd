"""``python -m benchmarks [PART] [--quick] [--repeats N] [--json FILE]``; the parts are in the table
:data:`PARTS`, the default is all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import scrapy

from benchmarks import (
    cache,
    crawls,
    ends,
    httpcache,
    limits,
    micro,
    profile,
    realsites,
    scale,
    sessions,
    sinks,
    storage,
    wakeups,
    workers,
)

PARTS = (
    "micro",
    "limits",
    "realsites",
    "storage",
    "cache",
    "sinks",
    "sessions",
    "httpcache",
    "wakeups",
    "ends",
    "scale",
    "profile",
    "workers",
    "crawls",
)


def machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, Scrapy {scrapy.__version__}"
    )


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as aligned text; columns are the keys of the first row."""
    names = list(rows[0])
    cells = [[("–" if row[n] is None else str(row[n])) for n in names] for row in rows]
    widths = [max(len(names[i]), *(len(line[i]) for line in cells)) for i in range(len(names))]
    lines = [names, ["-" * w for w in widths], *cells]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def run(part: str, arguments: argparse.Namespace) -> Any:
    """Measure one part."""
    quick, repeats = arguments.quick, arguments.repeats
    if part == "micro":
        return micro.measure()
    if part == "limits":
        return limits.main(quick)
    if part == "realsites":
        return realsites.measure(quick)
    if part == "storage":
        return storage.main(quick)
    if part == "cache":
        return cache.main(quick)
    if part == "sinks":
        return sinks.measure(quick)
    if part == "sessions":
        return sessions.measure(quick)
    if part == "httpcache":
        return httpcache.measure(quick)
    if part == "wakeups":
        return wakeups.main(quick)
    if part == "ends":
        return ends.measure(quick)
    if part == "scale":
        return scale.main(quick)
    if part == "workers":
        return workers.measure(quick, repeats)
    if part == "profile":
        return profile.measure(quick=quick, repeats=repeats, workload=arguments.workload or "graph")
    workloads = [arguments.workload] if arguments.workload else list(crawls.WORKLOADS)
    return crawls.measure(quick=quick, repeats=repeats, workloads=workloads, only=arguments.only)


def text(part: str, found: Any) -> str:
    if part in ("scale", "httpcache"):
        return "\n\n".join(table(rows) for rows in found.values())
    if part == "profile":
        lists = [
            "\n".join(
                [f"{name}: µs a page by function", *(f"{us:6}  {function}  ({owner})" for owner, function, us in top)]
            )
            for name, top in found["functions"].items()
        ]
        return "\n\n".join([table(found["table"]), *lists])
    if isinstance(found, list):
        return table(found)
    return "\n".join(f"{name}: {value}" for name, value in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", default="all", choices=("all", *PARTS))
    parser.add_argument("--quick", action="store_true", help="small sizes and few rows: all of it within three minutes")
    parser.add_argument("--repeats", type=int, help="runs of each crawl; 1 with --quick, else 3")
    parser.add_argument("--workload", choices=tuple(crawls.WORKLOADS), help="of crawls and profile: only this one")
    parser.add_argument(
        "--only", nargs="+", default=(), help="of crawls: plain Scrapy and these contestants, as the table names them"
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    arguments.repeats = arguments.repeats or (1 if arguments.quick else 3)
    result: dict[str, Any] = {"machine": machine(), "command": " ".join(["python -m benchmarks", *sys.argv[1:]])}
    print(result["machine"])
    parts = [p for p in PARTS if p != "profile" or not arguments.quick] if arguments.what == "all" else [arguments.what]
    for part in parts:
        result[part] = run(part, arguments)
        print(f"\n{part}\n{text(part, result[part])}", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
