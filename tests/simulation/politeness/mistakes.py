"""Mistakes that the simulation must see. Each is planted in the code for as long as a schedule runs.
``test_politeness_simulation.py`` says which seed shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from mocra_scrapy.backends.embedded import freed, rules, throttle
from mocra_scrapy.backends.embedded.origins import Origin
from mocra_scrapy.models import UNLIMITED, Booking
from mocra_scrapy.worker import bypass, deliveries, departures, inbox, intake, store_clock

#: Name -> where it is planted, the attribute, and what makes the wrong one from the right one.
MISTAKES: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {}

#: Those of them that are seen where sites have a Crawl-delay.
BY_ROBOTS = frozenset({"what_waited_keeps_its_booking", "what_is_leased_keeps_its_booking"})


def mistake(place: Any, attribute: str) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    def plant(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
        MISTAKES[make.__name__] = place, attribute, make
        return make

    return plant


@contextmanager
def planted(name: str) -> Iterator[None]:
    place, attribute, make = MISTAKES[name]
    right = getattr(place, attribute)
    setattr(place, attribute, make(right))
    try:
        yield
    finally:
        setattr(place, attribute, right)


@mistake(departures.Departures, "check")
def nobody_looks_at_the_wire(right: Any) -> Any:
    return lambda self, request, delivery: setattr(delivery, "sent", True)


@mistake(departures.Departures, "_late")
def late_ones_go_at_once(right: Any) -> Any:
    async def late(self: Any, request: Any, delivery: Any) -> None:
        delivery.departs, delivery.sent = None, True

    return late


@mistake(departures.Unused, "give_away")
def unused_departures_are_lost(right: Any) -> Any:
    return lambda self, names, instant: None


@mistake(inbox.Inbox, "hand_on")
def an_unused_departure_is_used_twice(right: Any) -> Any:
    def hand_on(self: Any, key: Any, instant: Any) -> Any:
        right(self, key, instant)
        return instant  # what it gave away, in place of what is left over

    return hand_on


@mistake(store_clock.StoreClock, "instant")
def answers_count_from_when_they_are_read(right: Any) -> Any:
    return lambda self, wait, *_: self._clock() + wait


@mistake(bypass.Bypass, "_book")
def what_bypasses_the_queue_books_nothing(right: Any) -> Any:
    async def book(self: Any, names: Any) -> Booking:
        return Booking(0.0, True)

    return book


@mistake(bypass.Bypass, "depart")
def what_bypasses_the_queue_is_not_looked_at(right: Any) -> Any:
    async def depart(self: Any, request: Any, *, bounded: bool) -> None: ...

    return depart


@mistake(intake, "assigned_slot_dropped")
def the_slot_of_the_first_host_stays(right: Any) -> Any:
    return lambda request: None


@mistake(throttle.Throttle, "_share")
def each_worker_has_all_permits(right: Any) -> Any:
    def share(self: Any, name: str, worker: str, concurrency: int, now: float) -> Any:
        mine = self.permits.get(name, {}).get(worker, 0)
        return mine, concurrency, concurrency

    return share


@mistake(rules, "strictest")
def the_loosest_rules_hold(right: Any) -> Any:
    return lambda limits: min(limits, key=lambda limit: limit.interval)


@mistake(rules.Rules, "forget")
def rules_outlast_their_workers(right: Any) -> Any:
    return lambda self, worker: None


@mistake(rules.Rules, "know")
def a_join_takes_the_rules_of_others_away(right: Any) -> Any:
    def know(self: Any, worker: str, own: Any) -> None:
        if worker not in self._of:
            self._of.clear()
        right(self, worker, own)

    return know


@mistake(throttle.Throttle, "hold")
def a_hold_is_forgotten(right: Any) -> Any:
    return lambda self, name, until, now: None


@mistake(throttle.Throttle, "lift")
def a_pause_never_ends(right: Any) -> Any:
    return lambda self, name, now: None


@mistake(throttle.Throttle, "change")
def a_change_is_forgotten(right: Any) -> Any:
    return lambda self, name, change, now: None


@mistake(throttle, "take_back")
def two_bookings_share_an_instant(right: Any) -> Any:
    def take_back(tat: Any, table: Any, unused: Any, now: float) -> None:
        for name, (before, end) in zip(unused.names, unused.owned, strict=True):
            if end and name in tat:
                tat[name] -= end - max(unused.at, before)

    return take_back


class AnySpan(dict[str, Origin]):
    """Nobody knows by which limit something was booked."""

    def get(self, name: str, default: Any = None) -> Origin:
        return Origin(math.inf)


@mistake(freed, "_opens")
def a_burst_is_one_too_many(right: Any) -> Any:
    return lambda tat, table, origins, name, earliest, *, limit, since: right(
        tat, table, AnySpan(), name, earliest, limit=replace(limit, burst=limit.burst + 1), since=since
    )


@mistake(freed, "_opens")
def a_longer_interval_is_a_burst(right: Any) -> Any:
    return lambda tat, table, origins, *where, **limit: right(tat, table, AnySpan(), *where, **limit)


@mistake(throttle, "take_back_push")
def a_resumption_is_a_burst(right: Any) -> Any:
    return lambda tat, freed, origins, name, now: tat.pop(name, None)


@mistake(rules.Rules, "limit_of")
def scopes_do_not_count(right: Any) -> Any:
    return lambda self, name: UNLIMITED if name.startswith("@") else right(self, name)


@mistake(deliveries.Deliveries, "book_anew")
def what_waited_keeps_its_booking(right: Any) -> Any:
    return lambda self, slot: None


@mistake(inbox.Inbox, "has_interval")
def what_is_leased_keeps_its_booking(right: Any) -> Any:
    return lambda self, slot, *, longer: right(self, slot, longer=False)
