"""A lock that several processes want all the time: each gets its turn."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.redis]

#: Grants in all, and processes.
GRANTS, PROCESSES = 240, 3
#: Asks again as soon as it gave back, which is when whoever waits elsewhere has not woken up yet.
GREEDY = """
import asyncio, sys
from pathlib import Path
from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.locks import Lock

url, name, file, grants, all_there = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5])

async def main():
    backend = open_backend(url)
    await backend.open()
    locks = backend.locks()
    (all_there / name).touch()
    while len(list(all_there.iterdir())) < int(sys.argv[6]):
        await asyncio.sleep(0.01)
    while True:
        async with Lock(locks, "till", name, ttl=30) as lock:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) >= grants:
                break
            with file.open("a") as out:
                out.write(f"{name} {lock.number}\\n")
            await asyncio.sleep(0.005)
    await locks.close()
    await backend.close()

asyncio.run(main())
"""


def test_no_process_starves(redis_url: str, tmp_path: Path) -> None:
    """It was 1,043 grants to one process and 1 to another."""
    file, there = tmp_path / "grants", tmp_path / "there"
    there.mkdir()
    command = [str(file), str(GRANTS), str(there), str(PROCESSES)]
    processes = [
        subprocess.Popen([sys.executable, "-c", GREEDY, redis_url, f"p{i}", *command]) for i in range(PROCESSES)
    ]
    assert [process.wait(150) for process in processes] == [0] * PROCESSES
    lines = [line.split() for line in file.read_text().splitlines()]
    numbers = [int(number) for _, number in lines]
    assert numbers == sorted(set(numbers)), "one at a time"
    counts = Counter(name for name, _ in lines)
    assert min(counts[f"p{i}"] for i in range(PROCESSES)) >= GRANTS / PROCESSES / 2, counts
    in_a_row = sum(one == next_one for (one, _), (next_one, _) in pairwise(lines))
    assert in_a_row <= GRANTS / 8, "others waited: 0 here, 130 without a line"
