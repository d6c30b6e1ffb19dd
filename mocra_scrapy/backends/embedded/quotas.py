"""Departures that quotas count, as ``counted`` of
:class:`~mocra_scrapy.backends.embedded.throttle.Throttle` keeps them.

A quota holds in any window, wherever it begins: a site that counts by the hour of its own clock never
sees more either. To remember each departure would take as many numbers as the quota allows, so they
are counted by hundredths of the window. A departure is over when its whole hundredth has left the
window; so room opens up to a hundredth of the window late, never early.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field

from mocra_scrapy.models import Quota, QuotaState

#: Parts of a window by which departures are counted.
PARTS = 100
#: Seconds by which a departure may leave later than it was booked: it counts as if it did.
LATE = 0.1
#: Names of which departures are counted before those that are over are looked for.
MANY = 10_000

#: ``(part of the time since the clock's zero, departures in it)``, in the order of time.
Counts = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Counted:
    """Of one name: window -> what was counted for it."""

    windows: Mapping[float, Counts] = field(default_factory=dict)

    def for_quotas(self, quotas: Iterable[Quota], now: float) -> dict[float, Counts]:
        """What counts in each of their windows. One that is new (the limit was changed) begins with
        what is known of another one: the shortest that is longer, or else the longest.
        """
        found = {}
        for _, window in quotas:
            counts = self.windows.get(window)
            if counts is None:
                longer = [one for one in self.windows if one > window]
                known = min(longer) if longer else max(self.windows, default=window)
                counts = _in_parts_of(window, known, self.windows.get(known, ()))
            found[window] = tuple(one for one in counts if _over(one[0], window) > now)
        return found


def _part(at: float, window: float) -> int:
    return math.floor((at + LATE) / (window / PARTS))


def _over(part: int, window: float) -> float:
    """When what departed in *part* no longer counts."""
    return (part + 1) * (window / PARTS) + window


def _in_parts_of(window: float, known: float, counts: Counts) -> Counts:
    """*counts* of a window of *known* seconds: all of a part as if it departed at its end."""
    found: dict[int, int] = {}
    for part, n in counts:
        last = math.floor((part + 1) * (known / PARTS) / (window / PARTS))
        found[last] = found.get(last, 0) + n
    return tuple(sorted(found.items()))


def opens(table: Mapping[str, Counted], name: str, quotas: Iterable[Quota], earliest: float, now: float) -> float:
    """When one more of *name* may depart, *earliest* or later."""
    if name not in table:
        return earliest
    counted, at = table[name].for_quotas(quotas, now), earliest
    for count, window in quotas:
        at = max(at, _opening(counted[window], count, window))
    return at


def _opening(counts: Counts, count: int, window: float) -> float:
    """When fewer than *count* are left; 0: now."""
    left, at = sum(n for _, n in counts), 0.0
    for part, n in counts:
        if left < count:
            break
        left, at = left - n, _over(part, window)
    return at


def count(
    table: MutableMapping[str, Counted],
    name: str,
    quotas: Iterable[Quota],
    at: float,
    *,
    now: float,
    n: int = 1,
) -> None:
    """*n* of *name* depart at *at*; negative: they were counted and do not."""
    found: dict[float, Counts] = {}
    for window, counts in table.get(name, Counted()).for_quotas(quotas, now).items():
        part = _part(at, window)
        each = dict(counts)
        each[part] = each.get(part, 0) + n
        found[window] = tuple(sorted(one for one in each.items() if one[1] > 0))
    if any(found.values()):
        table[name] = Counted(found)
        if n > 0 and len(table) > MANY:
            drop_over(table, now)
    else:
        table.pop(name, None)


def drop_over(table: MutableMapping[str, Counted], now: float) -> None:
    """Names whose departures are all over."""
    for name, counted in list(table.items()):
        if all(_over(part, window) <= now for window, counts in counted.windows.items() for part, _ in counts):
            del table[name]


def states(table: Mapping[str, Counted], name: str, quotas: Iterable[Quota], now: float) -> tuple[QuotaState, ...]:
    """For people."""
    counted = table.get(name, Counted()).for_quotas(quotas, now)
    return tuple(
        QuotaState(
            quota,
            sum(n for _, n in counted[quota.window]),
            max(0.0, _opening(counted[quota.window], quota.most, quota.window) - now),
        )
        for quota in quotas
    )
