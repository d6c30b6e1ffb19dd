"""One process that wants to lead, or to hold a lock, and makes effects with the number it had last:
the most careless leader there can be.

``python -m tests.e2e.contender leader|lock URL NAME FILE``. One line of JSON an event:

* ``believes``: at this time (taken before it looked) it believed that it leads, with this number;
* ``effect``: a fenced write, with its number, whether it was accepted, and the version that the
  server gave it.

It goes on writing with its last number when it has lost the role: a fence has to refuse that.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from mocra_scrapy.backends import open_backend
from mocra_scrapy.coordination.leadership import Candidate
from mocra_scrapy.coordination.locks import Lock
from mocra_scrapy.exceptions import BackendError, LockLost

TIMES = {"lease": 1.0, "renew": 0.2, "deadline": 0.6, "retry": 0.2}
TICK = 0.02


class Contender:
    def __init__(self, kind: str, url: str, name: str, file: Path) -> None:
        self.kind, self.name, self.file = kind, name, file
        self.backend = open_backend(url, options={"socket_timeout": 0.4, "socket_connect_timeout": 0.4})
        self.values = self.backend.shared_values("effects")
        self.last = 0
        self.held: Lock | None = None

    def tell(self, event: str, **facts: Any) -> None:
        line = json.dumps({"event": event, "name": self.name, "at": time.monotonic(), **facts})
        with self.file.open("a") as file:
            file.write(line + "\n")

    async def run(self) -> None:
        if self.kind == "leader":
            async with Candidate(self.backend.election("boss"), self.name, **TIMES) as candidate:
                await self.effects(lambda: candidate.number)
        await asyncio.gather(self.effects(self.number_of_lock), self.hold())

    def number_of_lock(self) -> int | None:
        return None if self.held is None or self.held.lost else self.held.number

    async def hold(self) -> None:
        locks = self.backend.locks()
        while True:
            try:
                async with Lock(locks, "boss", self.name, ttl=TIMES["lease"]) as self.held:
                    await asyncio.sleep(3600)
            except LockLost:
                self.tell("lost")

    async def effects(self, number: Any) -> None:
        while True:
            before = time.monotonic()
            now = number()
            if now is not None:
                self.last = now
                self.tell("believes", number=now, at=before)
            if self.last:
                try:
                    stored = await self.values.put("x", self.name.encode(), fence=self.last)
                except BackendError:
                    pass  # unknown: it counts as nothing
                else:
                    self.tell("effect", number=self.last, accepted=bool(stored), version=stored and stored.version)
            await asyncio.sleep(TICK)


if __name__ == "__main__":
    kind, url, name, file = sys.argv[1:]
    asyncio.run(Contender(kind, url, name, Path(file)).run())
