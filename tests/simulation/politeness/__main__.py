"""``python -m tests.simulation.politeness``: many seeds, or one of them in detail, or planted mistakes."""

from __future__ import annotations

import argparse
import os
import sys
import time as real_time
from contextlib import nullcontext

from .mistakes import MISTAKES, planted
from .schedule import draw_schedule
from .simulate import Failure, simulate
from .world import install


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.politeness", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, nargs="+", help="these only")
    parser.add_argument("--stop", type=int, default=5, help="failures after which to give up")
    parser.add_argument("--mistake", nargs="*", help="plant these (none named: all) and look whether they are seen")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # a seed is always the same story
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation.politeness", *sys.argv[1:]])
    install()
    clock = real_time.process_time
    seeds = range(options.first, options.first + options.seeds) if options.seed is None else options.seed
    if options.mistake is not None:
        return _look_for_mistakes(options.mistake or list(MISTAKES), seeds)
    began, failures, count = clock(), 0, 0
    for seed in seeds:
        count += 1
        failure = simulate(draw_schedule(seed), print if options.verbose else None)
        if failure is not None:
            print(failure, failure.schedule.to_json() if options.verbose else "")
            failures += 1
            if failures >= options.stop:
                break
    print(f"{count} schedules in {clock() - began:.1f} s of CPU, {failures} failed")
    return 1 if failures else 0


def _look_for_mistakes(names: list[str], seeds: range | list[int]) -> int:
    """Each with the given seeds until one sees it. A name may be ``name=seed``."""
    unseen = 0
    for one in names:
        name, _, seed = one.partition("=")
        failure: Failure | None = None
        for number in [int(seed)] if seed else seeds:
            with planted(name) if name else nullcontext():
                failure = simulate(draw_schedule(number))
            if failure is not None:
                break
        print(f"{name}: {failure or 'NOT SEEN'}", flush=True)
        unseen += failure is None
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
