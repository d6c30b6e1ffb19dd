"""``python -m benchmarks [crawls|storage|scale|wakeups|profile|all] [--quick] [--repeats N] [--json FILE]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import scrapy

from benchmarks import crawls, profile, scale, storage, wakeups


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


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "what", nargs="?", default="all", choices=("all", "crawls", "storage", "scale", "wakeups", "profile")
    )
    parser.add_argument("--quick", action="store_true", help="small sizes and few rows: some minutes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    result: dict[str, Any] = {"machine": machine(), "command": " ".join(["python -m benchmarks", *sys.argv[1:]])}
    print(result["machine"])
    if arguments.what in ("all", "storage"):
        result["storage"] = storage.main(arguments.quick)
        print("\n" + "\n".join(f"{k}: {v}" for k, v in result["storage"].items()))
    if arguments.what in ("all", "wakeups"):
        result["wakeups"] = wakeups.main(arguments.quick)
        print("\n" + "\n".join(f"{k}: {v}" for k, v in result["wakeups"].items()))
    if arguments.what in ("all", "scale"):
        result["scale"] = scale.main(arguments.quick)
        for rows in result["scale"].values():
            print("\n" + table(rows))
    if arguments.what in ("all", "crawls"):
        result["crawls"] = crawls.measure(quick=arguments.quick, repeats=arguments.repeats)
        print("\n" + table(result["crawls"]))
    if arguments.what == "profile":
        result["profile"] = profile.measure(quick=arguments.quick, repeats=arguments.repeats)
        print("\n" + table(result["profile"]["table"]))
        for contestant, functions in result["profile"]["functions"].items():
            print(f"\n{contestant}: µs a page by function")
            print("\n".join(f"{us:6}  {name}  ({owner})" for owner, name, us in functions))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
