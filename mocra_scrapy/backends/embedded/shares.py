"""Who of several workers may have how many of a name's permits."""

from __future__ import annotations

from collections.abc import Mapping, Set


def share_of(worker: str, holders: Mapping[str, int], asking: Set[str], concurrency: int) -> tuple[int, int, int]:
    """``(permits it has, permits it may have now, its fair share)``. *holders*: worker -> permits;
    *asking*: others that found none.
    """
    mine = holders.get(worker, 0)
    fair = max(1, concurrency // len({worker, *holders, *asking}))
    cap = mine + max(0, concurrency - sum(holders.values()))
    return mine, (max(mine, min(cap, fair)) if asking else cap), fair
