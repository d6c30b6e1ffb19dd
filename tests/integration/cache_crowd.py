"""Four processes that use one namespace: ``python -m tests.integration.cache_crowd URL FOLDER``.

Each adds 1,000 times to one number, asks five times for a value that takes a while to compute, and five
times for one whose first computation kills its process. What it found is in ``FOLDER/<n>.json``, a line
for each computation in ``FOLDER/once`` and ``FOLDER/fatal``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from mocra_scrapy.backends import open_backend
from mocra_scrapy.cache.options import cache_options
from mocra_scrapy.cache.shared_cache import SharedCache

PROCESSES, CALLERS, TIMES, TASKS = 4, 5, 1000, 20


def computing(file: Path, number: int, *, kills: bool) -> Callable[[], Awaitable[int]]:
    async def compute() -> int:
        with file.open("a") as out:
            out.write(f"{number}\n")
        if kills and len(file.read_text().splitlines()) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.05)  # time for the others to come
        return number

    return compute


async def work(url: str, folder: Path, number: int) -> None:
    backend = open_backend(url)
    await backend.open(60)
    options, locks = cache_options("crowd", {}), backend.locks()
    cache = SharedCache(
        "crowd", backend.cache("crowd", options.bounds), backend.shared_values("cache:crowd"), locks, options
    )
    await cache.increment("there")
    while await cache.get("there") < PROCESSES:
        await asyncio.sleep(0.005)

    async def add() -> None:
        for _ in range(TIMES // TASKS):
            await cache.increment("n")

    async def ask(name: str, *, kills: bool, lease: float) -> list[int]:
        compute = computing(folder / name, number, kills=kills)
        asked = (cache.get_or_compute(name, compute, wait=120, lease=lease) for _ in range(CALLERS))
        return list(await asyncio.gather(*asked))

    await asyncio.gather(*(add() for _ in range(TASKS)))
    once = await ask("once", kills=False, lease=30)
    found = {"once": once, "fatal": await ask("fatal", kills=True, lease=3), "n": await cache.get("n")}
    (folder / f"{number}.json").write_text(json.dumps(found))
    await cache.close()
    await locks.close()
    await backend.close()


def main(url: str, folder: Path) -> int:
    children = []
    for number in range(PROCESSES):
        child = os.fork()  # nothing runs here yet: no loop, no thread
        if child == 0:
            asyncio.run(work(url, folder, number))
            os._exit(0)
        children.append(child)
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    return 0 if codes == [-signal.SIGKILL, 0, 0, 0] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
