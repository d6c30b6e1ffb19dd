"""When the clocks of a time zone change. Pure: no I/O but the zone's own data.

Instants are whole seconds since the epoch, UTC. Local times are ``datetime`` without a zone.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1)
_DAY = 86_400


class Change(NamedTuple):
    """From *instant* on the zone is *after* seconds ahead of UTC; just before it was *before*."""

    instant: int
    before: int
    after: int

    @property
    def forward(self) -> bool:
        """Whether clocks jump forward: local times between are left out. Otherwise they come twice."""
        return self.after > self.before

    def gap(self) -> tuple[datetime, datetime]:
        """The local times that are left out, or come twice: from, to (exclusive)."""
        one, two = naive(self.instant + self.before), naive(self.instant + self.after)
        return min(one, two), max(one, two)


def naive(seconds: int) -> datetime:
    """Seconds since the epoch, of whatever clock, as a date and time."""
    return EPOCH + timedelta(seconds=seconds)


def seconds(moment: datetime) -> int:
    """The opposite of :func:`naive`."""
    apart = moment - EPOCH
    return apart.days * _DAY + apart.seconds


def offset(zone: ZoneInfo, instant: int) -> int:
    """Seconds that *zone* is ahead of UTC then."""
    ahead = datetime.fromtimestamp(instant, timezone.utc).astimezone(zone).utcoffset()
    assert ahead is not None
    return ahead.days * _DAY + ahead.seconds


def local(zone: ZoneInfo, instant: int) -> datetime:
    """What the clocks of *zone* show then."""
    return naive(instant + offset(zone, instant))


@lru_cache(maxsize=4096)
def changes(zone: ZoneInfo, year: int) -> tuple[Change, ...]:
    """All changes within *year* (UTC), in order.

    The zone's data can't be asked for them, so days are compared and then halved. A change that is
    undone within a day would be missed; there is none in the time zone database since it covers the
    present.
    """
    start, end = seconds(datetime(year, 1, 1)), seconds(datetime(year + 1, 1, 1))
    found, before = [], offset(zone, start)
    for day in range(start, end, _DAY):
        low, high = day, min(day + _DAY, end)
        after = offset(zone, high)
        if after == before:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset(zone, middle) == before else (low, middle)
        found.append(Change(high, before, after))
        before = after
    return tuple(found)


def next_change(zone: ZoneInfo, after: int, until: int) -> Change | None:
    """The first change in ``(after, until]``."""
    for year in range(naive(after).year, naive(until).year + 1):
        for change in changes(zone, year):
            if after < change.instant <= until:
                return change
    return None


def change_around(zone: ZoneInfo, moment: datetime) -> Change | None:
    """The change that leaves the local time *moment* out, or repeats it; ``None``: an ordinary
    time.
    """
    for year in sorted({(moment + timedelta(days=apart)).year for apart in (-2, 0, 2)}):
        for change in changes(zone, year):
            low, high = change.gap()
            if low <= moment < high:
                return change
    return None
