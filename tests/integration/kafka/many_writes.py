"""Requests that are written a few at a time while a reader runs, so that it meets the end of each partition again and
again: whether each of them is read, once.

    python -m tests.integration.kafka.many_writes --seconds 110 --processes 6

Each process writes into a log of its own and reads it, on one broker. A line of JSON for each; exit code 1 if one of
them missed something, or looked for what was not missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mocra_scrapy.backends.kafka.reader_thread import ReaderThread
from tests.integration.kafka.stage import fill, log_on, reading, writing
from tests.services.kafka_broker import KafkaBroker

PROTOCOLS = ("consumer", "classic")
#: Requests that are written at once.
SIZES = (1, 1, 2, 3, 5, 40, 300)


class Counted(ReaderThread):
    """Counts how often something seemed to be missing."""

    sought = 0

    def _seek_again(self, *args: Any) -> None:
        type(self).sought += 1
        super()._seek_again(*args)


async def write_and_read(bootstrap: str, protocol: str, seed: int, *, writes: int, seconds: float) -> dict[str, Any]:
    """At most so many *writes*, for so many *seconds*."""
    rng, total, end = random.Random(seed), 0, time.monotonic() + seconds
    log = log_on(bootstrap, protocol=protocol, partitions=4)
    async with writing(log) as writer, reading(log) as member:
        for _ in range(writes):
            if time.monotonic() > end:
                break
            size = rng.choice(SIZES)
            await fill(writer, size, total, priority=rng.choice([1, 0, -1]))
            total += size
            if rng.random() < 0.4:
                await member.until_it_has(total)
            else:
                await member.look()
        await member.until_it_has(total)
        once = member.numbers == list(range(total))
    return {"protocol": protocol, "seed": seed, "written": total, "each_once": once}


def one_process(bootstrap: str, number: int, seconds: float) -> None:
    import mocra_scrapy.backends.kafka.log_reader as log_reader

    log_reader.ReaderThread = Counted  # type: ignore[misc]
    protocol = PROTOCOLS[number % 2]
    found = asyncio.run(write_and_read(bootstrap, protocol, number, writes=sys.maxsize, seconds=seconds))
    print(json.dumps({**found, "sought": Counted.sought}), flush=True)
    sys.exit(0 if found["each_once"] and not Counted.sought else 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=110)
    parser.add_argument("--processes", type=int, default=6)
    given = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        broker = KafkaBroker(Path(folder) / "kafka")
        broker.join()
        try:
            numbers = range(given.processes)
            some = [spawn.Process(target=one_process, args=(broker.bootstrap, n, given.seconds)) for n in numbers]
            for process in some:
                process.start()
            for process in some:
                process.join()
        finally:
            broker.leave()
    return int(any(process.exitcode for process in some))


if __name__ == "__main__":
    sys.exit(main())
