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
``tat`` on by what the new span has more.

A hold moves ``tat`` to its end, so that after it one departs at a time. Whoever lifts it takes that
back, as if it were a booking: what departed before counts, and what was booked behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

from mocra_scrapy.backends.embedded.rows import drop_over
from mocra_scrapy.models import SlotLimit


class Origin(NamedTuple):
    """Of one name, in seconds.

    Attributes:
        span: with which ``tat`` was booked.
        before: ``tat`` as it was before a hold moved it; 0: there was none.
        pushed: where the hold moved it; 0: none did.
    """

    span: float = 0.0
    before: float = 0.0
    pushed: float = 0.0


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


def settle_span(tat: Mapping[str, float], origins: MutableMapping[str, Origin], name: str, span: float) -> float:
    """*name* is booked with *span* now; its ``tat`` by it, which the caller stores; 0: there is none."""
    origin = origins.get(name, NONE)
    if span != origin.span:
        store(origins, name, origin._replace(span=span))
    return grown(origin, tat.get(name, 0.0), span)


def drop_bookings(tat: MutableMapping[str, float], origins: MutableMapping[str, Origin], now: float) -> None:
    """Those that are over."""
    drop_over(tat, now)
    for name in [name for name in origins if name not in tat]:
        del origins[name]
