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
        scrapys: Any = type(slot)
        slot.__class__ = _waited(scrapys, slot.delay)


@lru_cache(maxsize=256)
def _waited(scrapys: type[Any], queued: float) -> type[Any]:
    def download_delay(slot: Any) -> float:
        return 0.0 if slot.delay == queued else float(scrapys.download_delay(slot))

    # The same layout (no slots of its own), so that a slot may change its class.
    return type(scrapys.__name__, (scrapys,), {"__slots__": (), "download_delay": download_delay})
