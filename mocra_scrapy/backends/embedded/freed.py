"""Departures that were booked and not used, as ``freed`` of
:class:`~mocra_scrapy.backends.embedded.throttle.Throttle` keeps them.

A booking owns a stretch of the time of each of its names: from ``max(at, tat)`` to what ``tat``
became by it. No two bookings ever own the same, and each departs within ``burst - 1`` intervals
before its stretch begins; so no more than ``burst + time / interval`` depart in any time. A plain
``tat -= interval`` would let two of them share one:

.. code-block:: text

    booked at 0, 1, 2, 3; tat is 4; the one at 0 is given back
    tat = 3: the next booking departs at 3, together with that of 3

So only the last stretch moves ``tat`` back, and those given back before that then end at it. The
others are kept while they are ahead, and given to a later booking whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import NamedTuple

from mocra_scrapy.backends.embedded.origins import NONE, Origin, settle_span, span_of
from mocra_scrapy.backends.embedded.quotas import Counted
from mocra_scrapy.backends.embedded.quotas import opens as quotas_open
from mocra_scrapy.models import Departure, SlotLimit

#: Stretches that are kept of one name; the earliest go first.
MOST_KEPT = 16
#: Seconds by which a stretch may be shorter than it should: sums of floats.
ROUNDING = 1e-6


class Stretch(NamedTuple):
    """What a booking owned: from ``begins`` to ``end``. *before*: ``tat`` as it was before it; 0:
    there was none.
    """

    at: float
    before: float
    end: float

    @property
    def begins(self) -> float:
        return max(self.at, self.before)

    def opens(self, earliest: float, limit: SlotLimit) -> float | None:
        """When one may depart with it, *earliest* or later; ``None``: it is gone by, or too short
        for *limit*, which was changed since.
        """
        at = max(earliest, self.begins - (limit.burst - 1) * limit.interval)
        fits = self.end - self.begins >= limit.interval * (1 - limit.jitter) - ROUNDING
        return at if at <= self.begins and fits else None


@dataclass(frozen=True, slots=True)
class Freed:
    """Of one name.

    Attributes:
        floor: what was booked to depart before is not taken back: ``tat`` was set anew since, and
            later bookings may own that time.
        stretches: in the order of time.
    """

    floor: float = 0.0
    stretches: tuple[Stretch, ...] = ()

    def __iter__(self) -> Iterator[Stretch]:
        return iter(self.stretches)

    def without(self, stretch: Stretch) -> Freed:
        return Freed(self.floor, tuple(one for one in self.stretches if one != stretch))

    def with_one(self, stretch: Stretch, now: float) -> Freed:
        """One more, without those that are over."""
        kept = sorted({*(one for one in self.stretches if one.end > now), stretch})
        return Freed(self.floor, tuple(kept[-MOST_KEPT:]))


def store(table: MutableMapping[str, Freed], name: str, freed: Freed, now: float) -> None:
    """A row that says nothing any more is deleted."""
    if freed.stretches or freed.floor > now:
        table[name] = freed
    else:
        table.pop(name, None)


def _opens(
    tat: Mapping[str, float],
    table: Mapping[str, Freed],
    origins: Mapping[str, Origin],
    name: str,
    earliest: float,
    *,
    limit: SlotLimit,
) -> float:
    """When one more of *name* may depart, *earliest* or later."""
    at = max(earliest, tat[name] - min(span_of(limit), origins.get(name, NONE).span))
    for stretch in table.get(name, ()):
        with_it = stretch.opens(earliest, limit)
        if with_it is not None:
            at = min(at, with_it)
    return at


def _own(
    tat: MutableMapping[str, float],
    table: MutableMapping[str, Freed],
    origins: MutableMapping[str, Origin],
    name: str,
    at: float,
    *,
    limit: SlotLimit,
    factor: float,
    now: float,
) -> tuple[float, float]:
    """One of *name* departs at *at*: ``before`` and ``end`` of what it owns. *factor*: -1 to 1, where
    its interval is in what *limit* allows.
    """
    freed = table.get(name, Freed())
    for stretch in freed:
        if stretch.opens(at, limit) == at:
            store(table, name, freed.without(stretch), now)
            return stretch.before, stretch.end
    before = settle_span(tat, origins, name, span_of(limit))
    tat[name] = end = max(at, before) + limit.interval * (1 + limit.jitter * factor)
    return before, end


def _take_back(
    tat: MutableMapping[str, float], table: MutableMapping[str, Freed], name: str, stretch: Stretch, now: float
) -> None:
    """*stretch* of *name* was not used."""
    last, freed = tat.get(name), table.get(name, Freed())
    if last is None or stretch.end > last or stretch.begins < freed.floor:
        return  # tat was set anew since
    free(tat, table, name, stretch, now)


def free(
    tat: MutableMapping[str, float], table: MutableMapping[str, Freed], name: str, stretch: Stretch, now: float
) -> None:
    """*stretch* of *name*, which ends at its ``tat`` or before, is nobody's."""
    last, freed = tat[name], table.get(name, Freed())
    if stretch.end < last:
        if stretch.end > now:
            store(table, name, freed.with_one(stretch, now), now)
        return
    last_one: Stretch | None = stretch
    while last_one is not None:
        freed, last = freed.without(last_one), last_one.before
        last_one = next((one for one in freed if one.end == last), None)
    if last > now:
        tat[name] = last
    else:
        tat.pop(name, None)
    store(table, name, freed, now)


def latest(
    tat: Mapping[str, float],
    table: Mapping[str, Freed],
    origins: Mapping[str, Origin],
    held: Mapping[str, float],
    names: tuple[str, ...],
    *,
    limit_of: Callable[[str, float], SlotLimit],
    now: float,
    counted: Mapping[str, Counted] | None,
) -> tuple[float, str]:
    """When one more of all *names* may depart, and the name that it has to wait for; ``""``: none.
    *counted*: for quotas; ``None``: there are none.
    """
    earliest, last = now, ""
    while True:
        at, waits = earliest, ""
        for name in names:
            due = max(at, held.get(name, now))
            if name in tat:
                due = _opens(tat, table, origins, name, due, limit=limit_of(name, now))
            if counted is not None:
                due = quotas_open(counted, name, limit_of(name, now).quotas, due, now)
            if due > at:
                at, waits = due, name
        # With a stretch that another name does not have, all are looked at once more.
        if at == earliest or not table:
            return at, waits or last
        earliest, last = at, waits


def book(
    tat: MutableMapping[str, float],
    table: MutableMapping[str, Freed],
    origins: MutableMapping[str, Origin],
    limits: Mapping[str, SlotLimit],
    at: float,
    *,
    factor: float,
    now: float,
) -> Departure | None:
    """One departs at *at*; ``None``: none of the names in *limits* has an interval or a quota."""
    owned = tuple(
        _own(tat, table, origins, name, at, limit=limit, factor=factor, now=now) if limit.interval else (0.0, 0.0)
        for name, limit in limits.items()
    )
    counted = any(limit.quotas for limit in limits.values())
    return Departure(tuple(limits), at, owned, counted) if counted or any(end for _, end in owned) else None


def take_back(
    tat: MutableMapping[str, float], table: MutableMapping[str, Freed], unused: Departure, now: float
) -> None:
    """*unused* did not depart."""
    for name, (before, end) in zip(unused.names, unused.owned, strict=True):
        if end:
            _take_back(tat, table, name, Stretch(unused.at, before, end), now)


def set_anew(table: MutableMapping[str, Freed], name: str, last: float | None, now: float) -> None:
    """``tat``, which was *last*, is set to something earlier: what was booked until then is not
    taken back any more.
    """
    floor = max(table.get(name, Freed()).floor, last or 0.0)
    store(table, name, Freed(floor), now)
