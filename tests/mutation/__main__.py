"""``python -m tests.mutation [AREA …] [--mutants N] [--seed S] [--seconds T]``: puts N wrong lines, one at
a time, into a copy of each area of the package and runs the area's fast tests on it. Prints those
that no test noticed, and a line of JSON for each area.

The sample is drawn by its seed, so that another run meets the same lines.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "mocra_scrapy"
#: Area -> its files, and the fast tests that should notice.
AREAS: dict[str, tuple[list[str], list[str]]] = {
    "worker": (["worker/*.py"], ["tests/unit/worker", "tests/integration/worker"]),
    "codec": (["codec/*.py"], ["tests/unit/codec", "tests/integration/codec"]),
    "coordination": (["coordination/*.py"], ["tests/unit/coordination", "tests/conformance"]),
    "cron": (["cron/policy.py", "cron/schedule.py"], ["tests/unit/cron"]),
    "backend": (["backends/memory/*.py", "backends/embedded/*.py"], ["tests/conformance", "tests/unit/backends"]),
}


class Copy:
    """The tree, to be broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("mocra_scrapy", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)

    def passes(self, tests: list[str], seconds: float) -> bool:
        """Whether *tests* pass, within *seconds*."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not redis", *tests]
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                return process.wait(seconds) == 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)  # it hangs: noticed
                return False

    def notices(self, mutant: Mutant, tests: list[str], seconds: float) -> bool:
        """Whether a test fails with it."""
        target = self.folder / mutant.path.relative_to(ROOT)
        source = mutant.source()
        if source is None:
            return True
        try:
            target.write_text(source, encoding="utf-8")
            return not self.passes(tests, seconds)
        finally:
            shutil.copy(mutant.path, target)


def run(area: str, count: int, seed: int, until: float) -> None:
    patterns, tests = AREAS[area]
    files = sorted(path for pattern in patterns for path in PACKAGE.glob(pattern))
    everything = [mutant for path in files for mutant in mutants_of(path)]
    sample = random.Random(seed).sample(everything, min(count, len(everything)))
    tried = noticed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy, began = Copy(Path(folder)), time.monotonic()
        if not copy.passes(tests, 600):
            sys.exit(f"{area}: its tests fail as it is")
        seconds = 3 * (time.monotonic() - began) + 20
        for mutant in sample:
            if time.monotonic() > until:
                break
            tried += 1
            if copy.notices(mutant, tests, seconds):
                noticed += 1
            else:
                print(f"not noticed: {mutant.shown(ROOT)}", flush=True)
    share = round(100 * noticed / tried, 1) if tried else 0.0
    told = {"area": area, "seed": seed, "possible": len(everything), "mutants": tried, "noticed": noticed}
    print(json.dumps({**told, "percent": share}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}; default: all")
    parser.add_argument("--mutants", type=int, default=40, help="of each area")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1800.0, help="for each area, at most")
    given = parser.parse_args()
    if unknown := set(given.areas) - set(AREAS):
        parser.error(f"no area {', '.join(sorted(unknown))}; there are {', '.join(AREAS)}")
    for area in given.areas or AREAS:
        run(area, given.mutants, given.seed, time.monotonic() + given.seconds)


if __name__ == "__main__":
    main()
