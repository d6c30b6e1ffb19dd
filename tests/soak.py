"""What is long by nature, in full: ``python -m tests.soak [PART …]``, or ``make soak``. ``make test`` has
the small form of each; this is run before something is called done, and its figures are in the docs.

A part is a command that prints a line of JSON for each thing it did and exits with 0 if all is well.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: Part -> its command, behind ``python -m``.
PARTS = {
    "chaos": ["tests.e2e.chaos", "--seeds", "10"],
    "chaos-fast": ["tests.e2e.chaos", "--seeds", "10", "--scheduler", "mocra-fast"],
    "chaos-kafka": ["tests.e2e.chaos_kafka", "--seeds", "3"],
    "kafka-writes": ["tests.integration.kafka.many_writes"],
    "kafka-members": ["tests.integration.kafka.many_members"],
    "kafka-scale": ["tests.e2e.kafka_scale"],
    "kafka-million": ["tests.e2e.kafka_million"],
    "kafka-brokers": [
        "pytest",
        "-q",
        "tests/integration/kafka/test_log_cluster.py",
        "tests/integration/backends/test_kafka_queue.py",
    ],
    "simulation": ["tests.simulation", "--seeds", "10000"],
    "simulation-redis": ["tests.simulation", "--backend", "redis", "--seeds", "500"],
    "politeness-simulation": ["tests.simulation.politeness", "--seeds", "2000", "--shrink"],
    "politeness-simulation-robots": ["tests.simulation.politeness", "--robots", "--seeds", "2000"],
    "politeness-simulation-redis": ["tests.simulation.politeness", "--backend", "redis", "--seeds", "400", "--shrink"],
    "cron-simulation": ["tests.simulation.cron_simulation", "--schedules", "10000"],
    "stored-items": ["tests.e2e.stored"],
    "early-stops": ["tests.e2e.early_stops", "--instants", "300", "--span", "6"],
    "feeding": ["tests.e2e.feeding", "--seeds", "100000", "--kills", "8"],
    "feeding-sitemaps": ["tests.e2e.feeding", "--seeds", "1000000", "--kills", "3", "--sources", "sitemap"],
    "visits": ["tests.e2e.visits", "--seeds", "3"],
    "cache-suite": ["pytest", "-q", "tests/cache_suite"],
    "refusals": ["pytest", "-q", "tests/conformance/test_refusal_rules.py"],
    "cron-leaders": ["pytest", "-qs", "tests/e2e/test_cron_leaders.py"],
    "cron-leaders-oldest": ["pytest", "-qs", "tests/e2e/test_cron_leaders.py"],
    # What make oldest leaves out. The sync client of redis-py 6.0, which only tests use, warns of itself.
    "servers-oldest": [
        *("pytest", "-q", "-n", "3", "-m", "not slow and not alone"),
        *("-k", "cluster or kafka or (conformance and redis)"),
        *("-W", "ignore:Call to '__init__' function with deprecated usage:DeprecationWarning"),
        *("tests/conformance", "tests/integration"),
    ],
    "conformance-scripts": ["pytest", "-q", "-n", "3", "-m", "redis and not other_server", "tests/conformance"],
    "mixed-crawls": ["pytest", "-q", "-k", "mixed", "tests/integration/backends/test_redis_functions.py"],
    "conformance-kafka": ["pytest", "-q", "-n", "3", "-k", "kafka", "tests/conformance"],
    "conformance-kafka-three": ["pytest", "-q", "-k", "kafka", "tests/conformance"],
    "mutation": ["tests.mutation", "worker", "codec", "coordination", "cron", "backend", "--mutants", "60"],
    "mutation-lua": ["tests.mutation", "lua", "--mutants", "1000", "--seconds", "7200"],
}

#: Ends of the names of parts that are run by the oldest Python.
OLDEST = "-oldest"

#: What a part is told beside.
ENVIRONMENT = {
    "cache-suite": {"CACHE_SUITE": "private,shared"},
    "conformance-kafka": {"TESTS_KAFKA_SUITE": "kafka,kafka-redis"},
    "conformance-kafka-three": {"TESTS_KAFKA_SUITE": "kafka-three"},
    "conformance-scripts": {"TESTS_REDIS_FUNCTIONS": "0"},
    "mixed-crawls": {"MIXED_CRAWLS": "100"},
    "cron-leaders": {"CHAOS_INSTANTS": "200"},
    "cron-leaders-oldest": {"CHAOS_INSTANTS": "200"},
    "kafka-brokers": {"KAFKA_BROKERS": "3"},
    "refusals": {"STRIDE": "1"},
}


def run(part: str) -> tuple[int, float, list[dict[str, Any]]]:
    """Exit code, seconds, what it printed."""
    began, lines = time.monotonic(), []
    python = str(ROOT / ".venv-oldest/bin/python") if part.endswith(OLDEST) else sys.executable
    command, environment = [python, "-m", *PARTS[part]], {**os.environ, **ENVIRONMENT.get(part, {})}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"{part}: {line}", end="", flush=True)
            if line.startswith("{"):
                lines.append(json.loads(line))
    return process.returncode, time.monotonic() - began, lines


def summed(lines: list[dict[str, Any]]) -> str:
    """The figures of all lines, added up."""
    total: dict[str, float] = {}
    for line in lines:
        for name, value in line.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and name != "seed":
                total[name] = round(total.get(name, 0) + value, 1)
    return ", ".join(f"{name} {value}" for name, value in total.items())


def main() -> None:
    parts = sys.argv[1:] or list(PARTS)
    unknown = set(parts) - set(PARTS)
    if unknown:
        sys.exit(f"no part {sorted(unknown)}; there are {', '.join(PARTS)}")
    results = {part: run(part) for part in parts}
    print()
    for part, (code, seconds, lines) in results.items():
        word = "ok" if code == 0 else f"FAILED ({code})"
        print(f"{part}: {word}, {len(lines)} in {seconds / 60:.1f} min: {summed(lines)}")
    sys.exit(any(code for code, _, _ in results.values()))


if __name__ == "__main__":
    main()
