"""``python -m tests.mutation [AREA …] [--mutants N] [--seed S] [--seconds T]``: puts N wrong lines, one at
a time, into a copy of each area of the package, and runs the fast tests that reach the line. Prints
those that no test noticed, and a line of JSON for each area.

The sample is drawn by its seed, so that another run meets the same lines. ``equivalent.txt`` lists those
that change nothing that a test could notice, and why; they don't count.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.mutation.copy import ROOT, Copy
from tests.mutation.mutants import Mutant, mutants_of

PACKAGE = ROOT / "mocra_scrapy"
EQUIVALENT = Path(__file__).parent / "equivalent.txt"
#: Area -> its files, and the fast tests that should notice.
AREAS: dict[str, tuple[list[str], list[str]]] = {
    "worker": (["worker/*.py"], ["tests/unit/worker", "tests/integration/worker"]),
    "codec": (["codec/*.py"], ["tests/unit/codec", "tests/integration/codec"]),
    "coordination": (["coordination/*.py"], ["tests/unit/coordination", "tests/conformance"]),
    "cron": (["cron/policy.py", "cron/schedule.py"], ["tests/unit/cron"]),
    "backend": (["backends/memory/*.py", "backends/embedded/*.py"], ["tests/conformance", "tests/unit/backends"]),
}


def equivalents() -> set[str]:
    """Their names; behind a name, indented, stands why."""
    lines = EQUIVALENT.read_text("utf-8").splitlines()
    return {line for line in lines if line and not line.startswith(("#", " "))}


def all_of(area: str) -> list[Mutant]:
    files = sorted(path for pattern in AREAS[area][0] for path in PACKAGE.glob(pattern))
    return [mutant for path in files for mutant in mutants_of(path)]


def run(area: str, copy: Copy, sample: list[Mutant], until: float) -> dict[str, object]:
    """Prints what nobody noticed; the figures."""
    alike, tried, noticed, equivalent, unseen = equivalents(), 0, 0, 0, []
    for mutant in sample:
        if time.monotonic() > until:
            break
        tried += 1
        if (name := mutant.name(ROOT)) in alike:
            equivalent += 1
        elif copy.notices(mutant):
            noticed += 1
        else:
            unseen.append(name)
            near = len(copy.near(mutant))
            print(f"not noticed by {near} tests, {mutant.kind.removeprefix('core/')}, line {mutant.line()}")
            print(f"  {name}", flush=True)
    share = round(100 * noticed / (tried - equivalent), 1) if tried > equivalent else 0.0
    figures = {"mutants": tried, "noticed": noticed, "equivalent": equivalent, "not_noticed": len(unseen)}
    return {"area": area, **figures, "percent": share}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}; default: all")
    parser.add_argument("--mutants", type=int, default=40, help="of each area")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1800.0, help="for each area, at most")
    parser.add_argument("--only", default="", help="those whose name has this text, all of them")
    given = parser.parse_args()
    areas: list[str] = given.areas or list(AREAS)
    if unknown := set(areas) - set(AREAS):
        parser.error(f"no area {', '.join(sorted(unknown))}; there are {', '.join(AREAS)}")
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder).resolve())
        if not copy.measure(list(dict.fromkeys(tests for area in areas for tests in AREAS[area][1]))):
            sys.exit("the tests fail as it is")
        for area in areas:
            possible = all_of(area)
            sample = random.Random(given.seed).sample(possible, min(given.mutants, len(possible)))
            if given.only:
                sample = [mutant for mutant in possible if given.only in mutant.name(ROOT)]
            figures = run(area, copy, sample, time.monotonic() + given.seconds)
            print(json.dumps({**figures, "seed": given.seed, "possible": len(possible)}), flush=True)


if __name__ == "__main__":
    main()
