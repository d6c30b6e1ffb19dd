"""The harness of the memory backend."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.interfaces import (
    IBackend,
)
from mocra_scrapy.models import Seeding
from tests.conformance.harness import CRAWL, Harness


class MemoryHarness(Harness):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.url = f"memory://{secrets.token_hex(8)}"

    def make_backend(self) -> IBackend:
        return MemoryBackend(self.url, clock=lambda: self.now)

    second_backend = make_backend

    @property
    def store(self) -> Any:
        return self.backends[0]._store  # type: ignore[attr-defined]

    async def advance(self, seconds: float) -> None:
        self.now += seconds
        for crawl in self.store.values():
            crawl.heard += seconds if crawl.heard else 0.0

    async def turn_clock(self, seconds: float) -> None:
        self.now += max(0.0, seconds)  # the clock of a process never goes back

    async def residue(self, *, keep_seen: bool = False) -> set[str]:
        left = set()
        for crawl in self.store.values():
            parts = {"slots", "suspects", "delayed", "workers", "seen"} - ({"seen"} if keep_seen else set())
            left |= {part for part in parts if len(getattr(crawl, part))}
            left |= {f"slot {name}" for name in crawl.slots._lists}
            if not crawl.wakeups.idle():
                left.add("wakeups")
        return left

    answers_lost = Harness.whole_answers_lost

    async def refuse(self, slot: str) -> bool:
        return False

    async def wipe(self) -> None:
        store = self.store
        for part in (store.roles, store.locks, store.namespaces, store.workers, store.caches):
            part.clear()

    async def lose_record(self) -> None:
        stored: Any = self.store[CRAWL]
        stored.run, stored.seeding, stored.seeder = 0, Seeding.OPEN, ""

    @contextlib.contextmanager
    def standing_clock(self) -> Iterator[Callable[[int], None]]:
        began, moved = self.now, 0

        def move(ms: int) -> None:
            nonlocal moved
            moved += ms
            self.now = began + moved / 1000

        yield move

    async def cut_off(self) -> None:
        """Nothing can be cut in one process."""
