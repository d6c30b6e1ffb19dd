"""What sets the ``tat`` of a name anew, beside bookings: a hold and its end, another limit, a probe.

What departed, and what is booked and has not departed, counts all the same: nobody gets a fresh burst
by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping

from mocra_scrapy.backends.embedded.freed import Freed, Stretch, free, set_anew
from mocra_scrapy.backends.embedded.origins import NONE, Origin, grown, span_of, store
from mocra_scrapy.models import SlotLimit


def push(
    tat: MutableMapping[str, float], origins: MutableMapping[str, Origin], name: str, until: float, limit: SlotLimit
) -> None:
    """A hold: one of *name* at a time after *until*, without a burst."""
    origin, last, span = origins.get(name, NONE), tat.get(name, 0.0), span_of(limit)
    before, pushed = grown(origin, last, span), until + span
    if pushed > before:
        if last and origin.pushed == last:  # nothing is booked behind the hold before
            before = grown(origin, origin.before, span)
        store(origins, name, Origin(span, before, pushed, until if limit.burst > 1 else 0.0))
        tat[name] = pushed


def take_back_push(
    tat: MutableMapping[str, float],
    freed: MutableMapping[str, Freed],
    origins: MutableMapping[str, Origin],
    name: str,
    now: float,
) -> None:
    """The hold is lifted."""
    origin = origins.get(name, NONE)
    span, before, pushed, _ = origin
    store(origins, name, Origin(span) if pushed else origin)
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

    def departs(instant: float, known: float) -> float:
        """Nobody who is booked before *instant* departs later."""
        return max(now, known or instant - old.interval * (1 - old.jitter))

    def shortened(instant: float, start: float) -> float:
        return min(grown(origin, instant, span), start + limit.burst * limit.interval)

    start, departed = max(now, held.get(name, now)), departs(last, origin.last)
    start = now if math.isinf(start) else start
    anew = shortened(last, max(start, departed) if limit.interval else start)
    # By a longer interval than it was booked with, the last one would seem to depart earlier than it does.
    is_longer = limit.interval * (1 - limit.jitter) > old.interval * (1 - old.jitter)
    known = departed if limit.burst > 1 or (anew >= last and (is_longer or origin.last)) else 0.0
    if anew >= last:
        store(origins, name, origin._replace(last=known))
        return
    tat[name] = anew
    set_anew(freed, name, last, now)
    is_pushed = origin.pushed == last  # nothing is booked behind the hold
    before = shortened(origin.before, departs(origin.before, 0.0)) if is_pushed and origin.before else 0.0
    store(origins, name, Origin(span, before, anew if is_pushed else 0.0, known))


def next_probe(
    tat: MutableMapping[str, float], freed: MutableMapping[str, Freed], name: str, limit: SlotLimit, now: float
) -> None:
    """The last one was judged: the next one may go as soon as *limit* allows."""
    last = tat.get(name)
    if last is not None and last > now + limit.interval:
        tat[name] = now + limit.interval
        set_anew(freed, name, last, now)
