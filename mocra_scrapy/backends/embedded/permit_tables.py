"""Who may have how many requests in flight: the part of
:class:`~mocra_scrapy.backends.embedded.throttle.Throttle` that gives out permits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

from mocra_scrapy.backends.embedded.rows import put, take_out
from mocra_scrapy.backends.embedded.shares import share_of
from mocra_scrapy.backends.embedded.workers import Kept
from mocra_scrapy.models import SlotLimit

#: Permits of a slot without a limit of concurrency.
MANY = 1_000_000
#: Seconds after which a worker that found no permit is no longer taken into account, unless it
#: comes again.
ASKED = 5.0


@dataclass(slots=True)
class PermitTables:
    """The tables are explained in ``throttle.py``."""

    permits: MutableMapping[str, Mapping[str, int]]
    asking: MutableMapping[str, Mapping[str, float]]
    notes: MutableMapping[str, Mapping[str, int]]
    holds: MutableMapping[str, Mapping[str, float]]

    @abstractmethod
    def limit_of(self, name: str, now: float) -> SlotLimit:
        """What is in force of *name*."""

    def part_of(self, name: str, worker: str) -> float:
        """How large a part of the permits *worker* has; 1 where it has none: nobody knows."""
        holders = self.permits.get(name, {})
        return holders[worker] / sum(holders.values()) if holders.get(worker) else 1.0

    def _share(self, name: str, worker: str, concurrency: int, now: float) -> tuple[int, int, int]:
        asking = {w for w, at in self.asking.get(name, {}).items() if w != worker and now - at < ASKED}
        return share_of(worker, self.permits.get(name, {}), asking, concurrency)

    def room(
        self,
        worker: str,
        names: Sequence[str],
        loads: Mapping[str, int],
        now: float,
        *,
        silently: bool = False,
    ) -> tuple[int, str, str]:
        """How many entries *worker* may have more. Where that is none: the name of which it has less
        than its share, for which it asks unless *silently*, and the name of which nobody can have
        more (``""``: none).
        """
        limits = [self.limit_of(name, now) for name in names]
        each = 1 if any(limit.is_paced for limit in limits) else 2
        room = MANY
        for name, limit in zip(names, limits, strict=True):
            concurrency = limit.concurrency or MANY
            _, cap, fair = self._share(name, worker, concurrency, now)
            here = each * cap - loads.get(name, 0)
            if here <= 0:
                taken = name if self.is_taken(name, now) else ""
                if cap >= fair:
                    return 0, "", taken
                if not silently:
                    self._ask(name, worker, fair, now)
                return 0, name, taken
            room = min(room, here)
        return room, "", ""

    def is_taken(self, name: str, now: float) -> bool:
        """Whether no permit of *name* is left."""
        concurrency = self.limit_of(name, now).concurrency
        return 0 < concurrency <= sum(self.permits.get(name, {}).values())

    def _ask(self, name: str, worker: str, fair: int, now: float) -> None:
        holders = [h for h, permits in self.permits.get(name, {}).items() if h != worker and permits > fair]
        if holders:
            put(self.asking, name, worker, now)
        for holder in holders:
            put(self.notes, holder, name, fair)

    def grant(self, worker: str, names: Iterable[str], loads: Mapping[str, int], now: float) -> None:
        """Give *worker* permits for what it has now, as far as there are any."""
        for name in names:
            concurrency = self.limit_of(name, now).concurrency or MANY
            mine, cap, _ = self._share(name, worker, concurrency, now)
            wanted = min(cap, loads.get(name, 0))
            if wanted > mine:
                put(self.permits, name, worker, wanted)
                take_out(self.asking, name, worker)

    def keep_permits(self, worker: str, keep: Mapping[str, int]) -> Kept:
        """*worker* gives back all but so many permits."""
        kept = Kept()
        for name, permits in keep.items():
            if permits < self.permits.get(name, {}).get(worker, 0):
                if permits > 0:
                    put(self.permits, name, worker, permits)
                else:
                    take_out(self.permits, name, worker)
                kept.freed.append(name)
                if self.asking.get(name):
                    kept.missed.add(name)
            asked = self.notes.get(worker, {}).get(name)
            if asked is not None and permits <= asked:
                take_out(self.notes, worker, name)
                kept.yielded.append(name)
        return kept

    def forget_permits(self, worker: str) -> None:
        """*worker* left or died: it has none any more."""
        tables: tuple[MutableMapping[str, Mapping[str, Any]], ...] = (self.permits, self.asking)
        for table in tables:
            for name in [name for name, workers in table.items() if worker in workers]:
                take_out(table, name, worker)
        self.notes.pop(worker, None)
        self.holds.pop(worker, None)
