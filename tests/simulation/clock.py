"""Virtual time: a loop that never sleeps, but lets its clock jump to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Real seconds for which a server may let us wait.
PATIENCE = 20.0


class Stalled(RuntimeError):
    """Nothing is left that could go on."""


class VirtualSelector(selectors.DefaultSelector):
    """Answers at once, as if the time to wait had passed; but while the real world is busy for us
    the clock stands.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.busy = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if self.busy:
            ready = super().select(PATIENCE if timeout is None or timeout > 0 else 0)
            if not ready and timeout != 0:
                raise Stalled(f"the server gave no answer for {PATIENCE:g} s")
            return ready
        if timeout is None:
            raise Stalled("every task waits for another one")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual = VirtualSelector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now

    @contextmanager
    def real_world(self) -> Iterator[None]:
        """While this lasts real I/O is under way, and takes no virtual time."""
        self.virtual.busy += 1
        try:
            yield
        finally:
            self.virtual.busy -= 1
