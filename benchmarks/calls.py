"""How much code a request passes: ``python -m benchmarks calls``.

One lone request on Redis, from the moment in which a callback yields it until it is acknowledged:
calls of Python functions of the package, by ``sys.setprofile``. The figures don't depend on the
machine.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

from scrapy import Request, Spider
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.http import Response

from benchmarks.servers import redis_server, site

PACKAGE = "mocra_scrapy"


class Traced(Spider):
    """Fetches one page, then another one, whose way is counted."""

    name = "traced"
    base = ""
    calls: ClassVar[Counter[tuple[str, str]]] = Counter()
    exchanges = (0, 0)

    async def start(self) -> AsyncIterator[Request]:
        yield Request(f"{self.base}/page/0", self.parse)

    async def parse(self, response: Response) -> AsyncIterator[Request]:
        # The first request is acknowledged after this; what the second one causes is told apart by
        # waiting until nothing else is left to say.
        yield Request(f"{self.base}/page/1", self.last, cb_kwargs={"before": self._acked()})

    def _acked(self) -> int:
        return int(self.crawler.stats.get_value("mocra/queue/acked", 0))  # type: ignore[union-attr]

    async def last(self, response: Response, before: int) -> AsyncIterator[Request]:
        while self._acked() < before + 1:
            await asyncio.sleep(0.01)
        task = asyncio.ensure_future(self._watch(self._acked() + 1))
        sys.setprofile(self._count)
        yield Request(f"{self.base}/page/2", self.end)
        self._watching = task

    def end(self, response: Response) -> Iterator[Request]:
        return iter(())

    def _count(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            path = frame.f_code.co_filename
            at = path.find(f"/{PACKAGE}/")
            if at >= 0:
                self.calls[path[at + len(PACKAGE) + 2 :], frame.f_code.co_qualname] += 1

    async def _watch(self, acked: int) -> None:
        while self._acked() < acked + 1:  # the page that yielded it, and itself
            await asyncio.sleep(0.005)
        sys.setprofile(None)


def measure() -> dict[str, int]:
    """``calls``, ``functions``, ``files``."""
    with redis_server() as port, site(10) as base:
        settings = {
            "ADDONS": {f"{PACKAGE}.Addon": 300},
            "MOCRA_BACKEND": f"redis://127.0.0.1:{port}/0",
            "LOG_LEVEL": "ERROR",
            "TELNETCONSOLE_ENABLED": False,
        }
        process = AsyncCrawlerProcess(settings)
        Traced.base = base
        process.crawl(Traced)
        process.start()
    calls = Traced.calls
    return {"calls": sum(calls.values()), "functions": len(calls), "files": len({path for path, _ in calls})}


if __name__ == "__main__":
    print(measure())
    if "-v" in sys.argv:
        for (path, name), n in sorted(Traced.calls.items(), key=lambda pair: -pair[1])[:60]:
            print(f"{n:5} {Path(path).as_posix()} {name}")
