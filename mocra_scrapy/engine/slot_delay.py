"""Slots of the downloader: they show their delay and don't wait for it, for the queue has waited
already; and what the downloader calls a request's slot is told from what the project called it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy import Request


class AssignedSlot(str):
    """``meta["download_slot"]`` as the downloader wrote it, and not the project. It is written into
    each request, and a copy of the meta (a redirect, ``meta=response.meta``) would take it along to
    another host, which would then be judged as the first one.
    """

    __slots__ = ()


def assigned_slot_dropped(request: Request) -> None:
    """Let the URL of *request* say which slot it has, unless the project has named one."""
    if type(request.meta.get("download_slot")) is AssignedSlot:
        del request.meta["download_slot"]


def watch_slots(downloader: Any, *, without_delay: bool) -> None:
    """Mark the slots that *downloader* works out; *without_delay*: those that it makes from now on
    show their delay and wait for nothing.
    """
    get_slot, slots = getattr(downloader, "_get_slot", None), getattr(downloader, "slots", {})
    if get_slot is None:
        return

    def watched(request: Request, *args: Any) -> tuple[Any, Any]:
        known = len(slots)
        key, slot = get_slot(request, *args)
        if without_delay and len(slots) != known:
            waited_for(slot)
        assigned = type(key) is str and request.meta.get("download_slot") is None
        return (AssignedSlot(key) if assigned else key), slot

    downloader._get_slot = watched


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
