"""``python -m tests.simulation``: many seeds, or one of them in detail."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.redis_server import RedisServer

from .schedule import DRASTIC, Schedule, draw_schedule
from .shrink import shrink
from .simulate import Failure, simulate

KEPT = Path(__file__).parent / "kept"
#: Shards that schedules for a server are spread over at most.
SHARDS = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--backend", choices=["memory", "redis"], default="memory")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--file", type=Path, help="a schedule that was kept")
    parser.add_argument("--with", dest="drastic", default="", help=f"more of these faults: {', '.join(DRASTIC)}")
    parser.add_argument("--keep", action="store_true", help="write what failed, shrunk, to kept/")
    parser.add_argument("--stop", type=int, default=5, help="failures after which to give up")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell what happens")
    options = parser.parse_args()
    tell = print if options.verbose else None
    with server(options.backend) as url:
        if options.file is not None:
            schedules: Iterator[Schedule] = iter([Schedule.from_json(options.file.read_text("utf-8"))])
        else:
            seeds = range(options.first, options.first + options.seeds) if options.seed is None else [options.seed]
            drastic = tuple(filter(None, options.drastic.split(",")))
            schedules = (draw_schedule(n, shards=SHARDS if url else 1, drastic=drastic) for n in seeds)
        failures = _run(schedules, lambda schedule: simulate(schedule, url, tell), options)
    return 1 if failures else 0


def _run(
    schedules: Iterator[Schedule], run: Callable[[Schedule], Failure | None], options: argparse.Namespace
) -> list[Failure]:
    failures: list[Failure] = []
    began, count = time.monotonic(), 0
    for schedule in schedules:
        count += 1
        failure = run(schedule)
        if failure is None:
            continue
        print(failure)
        failures.append(failure if options.verbose else shrink(failure, run))
        _tell(failures[-1], options.keep)
        if len(failures) >= options.stop:
            break
    took = time.monotonic() - began
    print(f"{count} schedules in {took:.1f} s ({60 * count / took:.0f} a minute), {len(failures)} failed")
    return failures


def _tell(failure: Failure, keep: bool) -> None:
    setup = failure.schedule.setup
    print(f"  shrunk: {failure.what}\n  {setup}")
    for event in failure.schedule.events:
        print(f"    {event}")
    if keep:
        path = KEPT / f"{failure.rule}_{failure.schedule.seed}.json"
        path.write_text(failure.schedule.to_json(), "utf-8")
        print(f"  kept: {path.name}")


@contextmanager
def server(backend: str) -> Iterator[str | None]:
    """The URL of a Redis of one's own, or ``None`` for ``memory``."""
    if backend == "memory":
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server.url
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
