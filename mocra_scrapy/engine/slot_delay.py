"""Slots of the downloader that show their delay and don't wait for it: the queue has waited
already.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any


def waited_for(slot: Any) -> None:
    """Have *slot* wait for nothing, as long as its ``delay`` is the one that it has now. Whoever
    sets another one (a spider, an AutoThrottle of the project's own) is obeyed.
    """
    if slot.delay:
        slot.__class__ = _waited(type(slot), slot.delay)  # type: ignore[arg-type]  # classes are hashable


@lru_cache(maxsize=256)
def _waited(scrapys: type[Any], queued: float) -> type[Any]:
    class Slot(scrapys):  # type: ignore[misc]
        __slots__ = ()  # the same layout, so that a slot may change its class
        __qualname__ = scrapys.__qualname__

        def download_delay(self) -> float:
            return 0.0 if self.delay == queued else float(super().download_delay())

    return Slot
