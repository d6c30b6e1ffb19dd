"""Workers that sleep until they have a reason to call."""

from __future__ import annotations

import asyncio


class Wakeups:
    """Who is to be woken, and who listens.

    An event belongs to the loop that waits for it, so each wait makes its own: several loops may
    use one crawl, one after another.
    """

    def __init__(self) -> None:
        self._hungry: dict[str, None] = {}  # wanted and got nothing, who waits longest first
        self._woken: set[str] = set()  # was woken while it did not listen
        self._events: dict[str, list[asyncio.Event]] = {}

    def hungry(self, worker: str) -> None:
        """*worker* wanted and got nothing."""
        self._hungry.pop(worker, None)
        self._hungry[worker] = None

    def fed(self, worker: str) -> None:
        """*worker* got something."""
        self._hungry.pop(worker, None)

    def wake_hungry(self, most: int | None = None, *, but: str | None = None) -> None:
        """Wake *most* (``None``: all) of those who got nothing, except *but*."""
        names = [name for name in self._hungry if name != but]
        for name in names[:most]:
            del self._hungry[name]
            self.wake(name)

    def wake(self, worker: str) -> None:
        self._woken.add(worker)
        for event in self._events.get(worker, ()):
            event.set()

    def forget(self, worker: str) -> None:
        """*worker* left or died. If it listens all the same, it goes on listening."""
        self._hungry.pop(worker, None)
        self._woken.discard(worker)

    def clear(self) -> None:
        self._hungry.clear()
        self._woken.clear()

    def listeners(self) -> list[str]:
        return list(self._events)

    def idle(self) -> bool:
        """Whether nobody is remembered."""
        return not (self._hungry or self._woken or self._events)

    async def wait(self, worker: str, timeout: float) -> bool:
        """``True`` as soon as *worker* was woken since the last ``True``, ``False`` after *timeout*
        seconds.
        """
        if worker not in self._woken:
            event = asyncio.Event()
            self._events.setdefault(worker, []).append(event)
            try:
                await asyncio.wait_for(event.wait(), timeout)
            except asyncio.TimeoutError:
                return False
            finally:
                self._events[worker].remove(event)
                if not self._events[worker]:
                    del self._events[worker]
        self._woken.discard(worker)
        return True
