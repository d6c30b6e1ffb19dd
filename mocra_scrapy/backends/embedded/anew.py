"""What sets the ``tat`` of a name anew, beside bookings: a hold and its end, another limit, a probe.

What departed, and what is booked and has not departed, counts all the same: nobody gets a fresh burst
by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping

from mocra_scrapy.backends.embedded.freed import Freed, Stretch, free, set_anew
from mocra_scrapy.backends.embedded.origins import NONE, Origin, grown, settle_span, span_of, store
from mocra_scrapy.models import SlotLimit


def push(
    tat: MutableMapping[str, float], origins: MutableMapping[str, Origin], name: str, until: float, limit: SlotLimit
) -> None:
    """A hold: one of *name* at a time after *until*, without a burst."""
    origin, last, span = origins.get(name, NONE), tat.get(name, 0.0), span_of(limit)
    before, pushed = settle_span(tat, origins, name, span), until + span
    if pushed > before:
        if last and origin.pushed == last:  # nothing is booked behind the hold before
            before = grown(origin, origin.before, span)
        store(origins, name, Origin(span, before, pushed))
    tat[name] = max(before, pushed)


def take_back_push(
    tat: MutableMapping[str, float],
    freed: MutableMapping[str, Freed],
    origins: MutableMapping[str, Origin],
    name: str,
    now: float,
) -> None:
    """The hold is lifted."""
    span, before, pushed = origins.get(name, NONE)
    store(origins, name, Origin(span))
    if pushed and pushed <= tat.get(name, 0.0):
        free(tat, freed, name, Stretch(0.0, before, pushed), now)


def keep_distance(
    tat: MutableMapping[str, float],
    freed: MutableMapping[str, Freed],
    origins: MutableMapping[str, Origin],
    held: Mapping[str, float],
    name: str,
    *,
    limits: tuple[SlotLimit, SlotLimit],
    now: float,
) -> None:
    """The limit of *name* is another one; *limits*: the new one and the old one. What a longer interval
    booked must not outlast its change, but what is booked and has not departed keeps its distance.
    """
    limit, old = limits
    origin, last, span = origins.get(name, NONE), tat.get(name), span_of(limit)
    if last is None:
        return

    def shortened(instant: float, start: float) -> float:
        if limit.interval:
            start = max(start, instant - old.interval * (1 - old.jitter))
        return min(grown(origin, instant, span), start + limit.burst * limit.interval)

    start = max(now, held.get(name, now))
    anew = shortened(last, now if math.isinf(start) else start)
    if anew >= last:
        return
    tat[name] = anew
    set_anew(freed, name, last, now)
    is_pushed = origin.pushed == last  # nothing is booked behind the hold
    before = shortened(origin.before, now) if is_pushed and origin.before else 0.0
    store(origins, name, Origin(span, before, anew if is_pushed else 0.0))


def next_probe(
    tat: MutableMapping[str, float], freed: MutableMapping[str, Freed], name: str, limit: SlotLimit, now: float
) -> None:
    """The last one was judged: the next one may go as soon as *limit* allows."""
    last = tat.get(name)
    if last is not None and last > now + limit.interval:
        tat[name] = now + limit.interval
        set_anew(freed, name, last, now)
