"""Locks whose server can be made to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination.locks import Lock
from mocra_scrapy.exceptions import BackendUnavailable
from tests.unit.coordination.test_leadership import Clock


class Locks:
    """Locks whose server can be made to fail."""

    def __init__(self, clock: Clock) -> None:
        self.real = MemoryBackend(clock=clock).locks()
        self.away = False
        self.calls: list[str] = []
        self.after: Callable[[str], None] = lambda verb: None

    def __getattr__(self, verb: str) -> Any:
        async def call(*args: Any, **more: Any) -> Any:
            self.calls.append(verb)
            if self.away and verb != "wait":
                raise BackendUnavailable("away")
            answer = await getattr(self.real, verb)(*args, **more)
            self.after(verb)
            return answer

        return call


def lock(locks: Locks, clock: Clock, **more: Any) -> Lock:
    return Lock(locks, "door", "me", clock=clock, **more)  # type: ignore[arg-type]
