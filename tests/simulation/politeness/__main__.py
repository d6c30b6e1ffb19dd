"""``python -m tests.simulation.politeness``: many seeds, or one of them in detail, or planted mistakes."""

from __future__ import annotations

import argparse
import os
import sys
import time as real_time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from tests.simulation.__main__ import server
from tests.simulation.shrink import shrink

from .crawl_delay import draw_robots
from .mistakes import BY_ROBOTS, MISTAKES, planted
from .schedule import Schedule, draw_schedule
from .simulate import Failure, simulate
from .smaller import smaller_than
from .world import install

CPU = real_time.process_time


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.politeness", description=__doc__)
    parser.add_argument("--backend", choices=["memory", "redis"], default="memory")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, nargs="+", help="these only")
    parser.add_argument("--robots", action="store_true", help="sites with a Crawl-delay that workers learn of")
    parser.add_argument("--file", type=Path, help="a schedule that was written")
    parser.add_argument("--stop", type=int, default=5, help="failures after which to give up")
    parser.add_argument("--shrink", action="store_true", help="take away from what failed as long as it fails")
    parser.add_argument("--mistake", nargs="*", help="plant these (none named: all) and look whether they are seen")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":  # a seed is always the same story
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation.politeness", *sys.argv[1:]])
    with server(options.backend) as url:  # before time is virtual
        install()
        seeds = range(options.first, options.first + options.seeds) if options.seed is None else options.seed
        if options.mistake is not None:
            return _look_for_mistakes(options.mistake or list(MISTAKES), seeds, url)
        if options.file is not None:
            schedules: Iterator[Schedule] = iter([Schedule.from_json(options.file.read_text("utf-8"))])
        else:
            schedules = map(draw_robots if options.robots else draw_schedule, seeds)
        return 1 if _run(schedules, url, options) else 0


def _run(schedules: Iterator[Schedule], url: str | None, options: argparse.Namespace) -> int:
    """How many failed."""
    began, failures, count = CPU(), 0, 0
    tell = print if options.verbose else None
    for schedule in schedules:
        count += 1
        failure = simulate(schedule, url, tell)
        if failure is None:
            continue
        print(failure, flush=True)
        if options.shrink:
            failure = shrink(failure, lambda smaller: simulate(smaller, url), smaller_than=smaller_than)
            print(f"shrunk: {failure}")
        if options.shrink or options.verbose:
            print(failure.schedule.to_json(), flush=True)
        failures += 1
        if failures >= options.stop:
            break
    print(f"{count} schedules in {CPU() - began:.1f} s of CPU, {failures} failed")
    return failures


def _look_for_mistakes(names: list[str], seeds: range | list[int], url: str | None) -> int:
    """Each with the given seeds until one sees it. A name may be ``name=seed``."""
    unseen = 0
    for one in names:
        name, _, seed = one.partition("=")
        failure: Failure | None = None
        for number in [int(seed)] if seed else seeds:
            with planted(name) if name else nullcontext():
                failure = simulate((draw_robots if name in BY_ROBOTS else draw_schedule)(number), url)
            if failure is not None:
                break
        print(f"{name}: {failure or 'NOT SEEN'}", flush=True)
        unseen += failure is None
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
