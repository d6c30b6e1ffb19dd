"""``python -m tests.mutation [AREA …] [--mutants N] [--seed S] [--seconds T] [-v]``: puts N wrong lines, one at
a time, into a copy of each area of the package, and runs the fast tests that reach the line. Prints
those that no test noticed, and a line of JSON for each area. Fails when fewer than 85 % were noticed.

The sample is drawn by its seed, so that another run meets the same lines. ``equivalent.txt`` lists those
that change nothing that a test could notice, and why; they don't count. The area ``lua`` has its wrong
lines in ``lua.txt``, and needs a Redis.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.mutation.copy import ROOT, Copy
from tests.mutation.lua import LuaCopy, LuaMutant, lua_mutants
from tests.mutation.mutants import Mutant, mutants_of

T = TypeVar("T")
PACKAGE = ROOT / "mocra_scrapy"
#: Percent of those that aren't equivalent.
LEAST = 85
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


def run(
    area: str,
    sample: Sequence[T],
    name: Callable[[T], str],
    notices: Callable[[T], bool],
    until: float,
    *,
    each: bool = False,
) -> dict[str, Any]:
    """Prints what nobody noticed, or *each* with its seconds; the figures."""
    alike, tried, noticed, equivalent, unseen = equivalents(), 0, 0, 0, []
    for mutant in sample:
        if time.monotonic() > until:
            break
        tried += 1
        began = time.monotonic()
        if name(mutant) in alike:
            equivalent += 1
        elif notices(mutant):
            noticed += 1
            if each:
                print(f"{time.monotonic() - began:.1f} s: {name(mutant)}", flush=True)
        else:
            unseen.append(mutant)
            print(f"not noticed ({time.monotonic() - began:.1f} s): {name(mutant)}", flush=True)
    share = round(100 * noticed / (tried - equivalent), 1) if tried > equivalent else 0.0
    figures = {"mutants": tried, "noticed": noticed, "equivalent": equivalent, "not_noticed": len(unseen)}
    return {"area": area, **figures, "percent": share}


def drawn(possible: list[T], name: Callable[[T], str], given: argparse.Namespace) -> list[T]:
    if given.only:
        return [mutant for mutant in possible if given.only in name(mutant)]
    return random.Random(given.seed).sample(possible, min(given.mutants, len(possible)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}; default: all")
    parser.add_argument("--mutants", type=int, default=40, help="of each area")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1800.0, help="for each area, at most")
    parser.add_argument("--only", default="", help="those whose name has this text, all of them")
    parser.add_argument("-v", "--verbose", action="store_true", help="print those that were noticed, too")
    given = parser.parse_args()
    areas: list[str] = given.areas or [*AREAS, "lua"]
    if unknown := set(areas) - {*AREAS, "lua"}:
        parser.error(f"no area {', '.join(sorted(unknown))}; there are {', '.join(AREAS)}, lua")
    good = True
    for area in areas:
        with tempfile.TemporaryDirectory() as folder:
            figures = try_lua(Path(folder), given) if area == "lua" else try_area(area, Path(folder), given)
        print(json.dumps({**figures, "seed": given.seed}), flush=True)
        good = good and float(figures["percent"]) >= LEAST
    sys.exit(0 if good else 1)


def try_area(area: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    copy, possible = Copy(folder.resolve()), all_of(area)
    if area == "worker":  # some of what a worker meets happens on servers only
        copy.options = ["-m", "not e2e and not alone and not other_server"]
    if not copy.measure(AREAS[area][1]):
        sys.exit(f"{area}: its tests fail as it is")

    def name(mutant: Mutant) -> str:
        return mutant.name(ROOT)

    until = time.monotonic() + given.seconds
    figures = run(area, drawn(possible, name, given), name, copy.notices, until, each=given.verbose)
    return {**figures, "possible": len(possible)}


def try_lua(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    copy, possible = LuaCopy(folder.resolve()), lua_mutants()
    if not copy.measure_scripts():
        sys.exit("lua: the rules fail as they are")

    def name(mutant: LuaMutant) -> str:
        return mutant.name

    until = time.monotonic() + given.seconds
    figures = run("lua", drawn(possible, name, given), name, copy.notices_lua, until, each=given.verbose)
    return {**figures, "possible": len(possible)}


if __name__ == "__main__":
    main()
