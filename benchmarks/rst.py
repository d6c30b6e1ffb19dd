"""A part of a result as a table for ``docs/``: ``python -m benchmarks.rst RESULT.json PART``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

#: Columns of the crawls' table, and what the docs call them.
CRAWLS = {
    "workload": "workload",
    "contestant": "contestant",
    "rtt_ms": "added ms",
    "workers": "workers",
    "pages_per_s": "pages/s",
    "spread": "from – to",
    "beside_plain": "beside plain",
    "cpu_s_per_1000": "CPU s per 1,000",
    "round_trips_per_page": "round trips a page",
    "bytes_per_page": "bytes a page",
    "server_cpu_s_per_1000": "server CPU s per 1,000",
    "rss_mb": "MB",
}


def cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return " – ".join(f"{v:.0f}" if value[1] >= 10 else f"{v:g}" for v in value)
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:g}"
    return str(value)


def table(rows: list[dict[str, Any]], names: dict[str, str]) -> str:
    """A ``csv-table``; cells hold no commas."""
    lines = [".. csv-table::", "   :header: " + ", ".join(f'"{name}"' for name in names.values()), ""]
    lines += ["   " + ", ".join(f'"{cell(row[key])}"' for key in names) for row in rows]
    return "\n".join(lines)


def main() -> None:
    found = json.loads(Path(sys.argv[1]).read_text())[sys.argv[2]]
    groups = found.values() if sys.argv[2] == "scale" else [found["table"] if sys.argv[2] == "profile" else found]
    for rows in groups:
        names = CRAWLS if sys.argv[2] == "crawls" else {key: key.replace("_", " ") for key in rows[0]}
        print(table(rows, names) + "\n")


if __name__ == "__main__":
    main()
