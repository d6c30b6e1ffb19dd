"""What a name's ``tat`` was made with, as ``origins`` of
:class:`~mocra_scrapy.backends.embedded.throttle.Throttle` keeps it.

``tat`` alone says when the next one may depart only together with the limit by which it was booked:
up to ``(burst - 1) * interval`` before it, the *span*. Limits change while departures are booked, by
people, by workers that join or leave, by what failures brought about. A longer span must not open
departures that the old one did not allow:

.. code-block:: text

    burst 4, interval 1, all four departed at 0: tat is 4, the span 3, the next may depart at 1
    the interval becomes 100: 4 - 3 * 100 is long past, four more would depart at once

So nobody departs before ``tat`` minus the shorter one of both spans, and the next booking moves
``tat`` on by what the new span has more. The other way round, nobody waits for the rest of intervals
that are no longer in force: from the last departure on, or from when the rules became what they are,
the new limit allows one more an interval, whatever ``tat`` says.

A hold moves ``tat`` to its end, so that after it one departs at a time. Whoever lifts it takes that
back, as if it were a booking: what departed before counts, and what was booked behind it.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import NamedTuple

from mocra_scrapy.backends.embedded.rows import drop_over
from mocra_scrapy.models import SlotLimit


class Origin(NamedTuple):
    """Of one name, in seconds.

    Attributes:
        span: with which ``tat`` was booked.
        before: ``tat`` as it was before a hold moved it; 0: there was none.
        pushed: where the hold moved it; 0: none did.
        last: nobody who is booked departs later; 0: nobody knows. Only where there is a burst, or the
            interval has become longer since: a row for each slot would be dear, and ``tat`` tells it.
    """

    span: float = 0.0
    before: float = 0.0
    pushed: float = 0.0
    last: float = 0.0


NONE = Origin()


def span_of(limit: SlotLimit) -> float:
    """By how much a departure may be early."""
    return (limit.burst - 1) * limit.interval


def store(origins: MutableMapping[str, Origin], name: str, origin: Origin) -> None:
    """A row that says nothing is deleted."""
    if origin == NONE:
        origins.pop(name, None)
    else:
        origins[name] = origin


def grown(origin: Origin, last: float, span: float) -> float:
    """``tat``, which is *last* by the span of *origin*, by *span*; 0: there is none."""
    return last + max(0.0, span - origin.span) if last else 0.0


def tat_by(origin: Origin, tat: float, limit: SlotLimit, since: float) -> float:
    """*tat*, which was made with *origin*, by *limit*, in force *since*; 0: there is none."""
    anew = grown(origin, tat, span_of(limit))
    if anew and origin.last:
        anew = min(anew, max(since, origin.last) + span_of(limit) + limit.interval * (1 + limit.jitter))
    return anew


def booked_with(origin: Origin, tat: float, at: float, limit: SlotLimit) -> Origin:
    """The origin after a booking at *at* by *limit*; *tat*: what it was before."""
    last = max(at, origin.last or tat) if limit.burst > 1 else 0.0
    return origin._replace(span=span_of(limit), last=last)


def drop_bookings(tat: MutableMapping[str, float], origins: MutableMapping[str, Origin], now: float) -> None:
    """Those that are over."""
    drop_over(tat, now)
    for name in [name for name in origins if name not in tat]:
        del origins[name]
