"""A virtual-clock simulator for cron and election: real runners (`Runner`, `Candidate`, the policy, the
store, alerts) and real launchers against an in-process server behind a network that loses requests and
answers. Crawls are spans of time; processes are frozen, killed, and told to stop.

``python -m tests.simulation.cron_simulation --schedules 10000`` runs so many random schedules of
crashes, pauses longer than the lease, lost answers, steps of clocks and restarts of the server. A
schedule is its seed: ``--seed N`` runs one and tells what happened.

==================  ==============================================================================
``cron_world.py``   one schedule: processes, and what befalls them
``cron_parts.py``   what stands around the real code: network, crawls, runners without files
``cron_witness.py`` what must hold
``virtual_time.py`` an event loop whose clock jumps, and processes on it
==================  ==============================================================================
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.cron_world import World


def simulate(seed: int) -> tuple[int, list[str]]:
    """One schedule: its seed, and what was wrong."""
    logging.disable(logging.CRITICAL)
    return seed, World(seed).run()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--schedules", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--processes", type=int, help="that share the work (default: one for each processor)")
    parser.add_argument("--seed", type=int, help="one schedule, and its story")
    options = parser.parse_args()
    if options.seed is not None:
        logging.disable(logging.CRITICAL)
        world = World(options.seed)
        faults = world.run()
        print(world.job, *world.story, sep="\n")
        return bool(faults)
    seeds, began = range(options.first, options.first + options.schedules), time.monotonic()
    with ProcessPoolExecutor(options.processes) as pool:
        bad = [(seed, faults) for seed, faults in pool.map(simulate, seeds, chunksize=50) if faults]
    for seed, faults in bad[:20]:
        print(f"seed {seed}: {'; '.join(faults[:3])}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {"schedules": len(seeds), "with_faults": len(bad), "seconds": round(time.monotonic() - began, 1)}
    print(json.dumps({**figures, "cpu_seconds": round(used.ru_utime + used.ru_stime, 1)}))
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
