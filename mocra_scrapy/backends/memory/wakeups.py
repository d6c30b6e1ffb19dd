"""Workers of this process that sleep until they have a reason to call."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from mocra_scrapy.backends.embedded.wakeups import Wakeups


class EventWakeups(Wakeups):
    """Sleep in events.

    An event belongs to the loop that waits for it, so each wait makes its own: several loops may
    use one crawl, one after another.
    """

    def __init__(self) -> None:
        super().__init__()
        self._woken: set[str] = set()  # was woken while it did not listen
        self._events: dict[str, list[asyncio.Event]] = {}

    def wake(self, worker: str) -> None:
        self._woken.add(worker)
        for event in self._events.get(worker, ()):
            event.set()

    def listeners(self) -> Iterable[str]:
        return list(self._events)

    def forget(self, worker: str) -> None:
        super().forget(worker)
        self._woken.discard(worker)

    def clear(self) -> None:
        super().clear()
        self._woken.clear()

    def idle(self) -> bool:
        return super().idle() and not (self._woken or self._events)

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
