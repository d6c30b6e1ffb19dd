"""Limits, departures and permits of one crawl's slots and scopes. ``now`` is the backend's clock, in
seconds.

============  ==================================================================================
``rules``     what the settings say, see ``rules.py``
``changes``   name -> as somebody changed it, and until when
``slowed``    name -> what failures brought about
``probing``   name -> opened by the breaker: one at a time, until then at the latest
``ramps``     name -> since when, and for how long, its rate grows to the whole again
``held``      name -> nobody departs before; infinite: paused
``tat``       name -> theoretical arrival time of GCRA: when a departure without any burst would
              be on time
``origins``   name -> what that was made with, see :mod:`~mocra_scrapy.backends.embedded.origins`
``freed``     name -> bookings that were not used, see :mod:`~mocra_scrapy.backends.embedded.freed`
``counted``   name -> departures that quotas count, see
              :mod:`~mocra_scrapy.backends.embedded.quotas`
``quotas``    name -> quotas that somebody set in place of the rules'
``permits``   name -> worker -> requests that this worker may have in flight
``asking``    name -> worker -> since when it found no permit, or fewer than its share
``notes``     worker -> name -> permits that it is asked to come down to
``holds``     worker -> name -> until when nobody departs, not told yet
============  ==================================================================================

But for the rules they are mappings of any kind, of rows, for instance. So a value is never changed
in place: what changes is stored anew.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field, replace

from mocra_scrapy.backends.embedded.anew import keep_distance, next_probe, push, take_back_push
from mocra_scrapy.backends.embedded.changed import Changed
from mocra_scrapy.backends.embedded.freed import Freed, book, latest, take_back
from mocra_scrapy.backends.embedded.origins import Origin, drop_bookings
from mocra_scrapy.backends.embedded.permit_tables import PermitTables
from mocra_scrapy.backends.embedded.quotas import Counted, count, states
from mocra_scrapy.backends.embedded.quotas import drop_over as drop_uncounted
from mocra_scrapy.backends.embedded.rows import drop_over, put
from mocra_scrapy.backends.embedded.rules import Rules
from mocra_scrapy.backends.embedded.slowed import Slowed, ramped
from mocra_scrapy.models import Booking, Departure, LimitChange, Quota, QuotaState, Reservation, SlotLimit, SlotState

#: Seconds after which a probe of which nothing was heard is followed by another one: longer than Scrapy's
#: own time-out of a download.
PROBE = 200.0
#: Seconds of the longest wait that a booking is told: who is paused asks again after it.
LONGEST_WAIT = 3600.0
#: Names of which a booking is remembered before those that are over are looked for.
MANY_BOOKINGS = 10_000


@dataclass(slots=True)
class Throttle(PermitTables):
    """See the table above. Nothing here knows of entries.

    Attributes:
        random: for jitter.
    """

    rules: Rules
    changes: MutableMapping[str, Changed]
    slowed: MutableMapping[str, Slowed]
    probing: MutableMapping[str, float]
    held: MutableMapping[str, float]
    tat: MutableMapping[str, float]
    ramps: MutableMapping[str, tuple[float, float]] = field(default_factory=dict)
    freed: MutableMapping[str, Freed] = field(default_factory=dict)
    origins: MutableMapping[str, Origin] = field(default_factory=dict)
    counted: MutableMapping[str, Counted] = field(default_factory=dict)
    quotas: MutableMapping[str, tuple[Quota, ...]] = field(default_factory=dict)
    random: random.Random = field(default_factory=random.Random)

    @classmethod
    def in_memory(cls) -> Throttle:
        return cls({}, {}, {}, {}, Rules({}), {}, {}, {}, {}, {})

    # ------------------------------------------------------------------ limits

    def limit_of(self, name: str, now: float) -> SlotLimit:
        """What is in force: a change goes before the rules."""
        limit = self.usual_limit_of(name, now)
        if self.probing.get(name, now) > now:
            return replace(limit, burst=1, concurrency=1, interval=max(limit.interval, PROBE))
        return limit

    def usual_limit_of(self, name: str, now: float) -> SlotLimit:
        """What would be, if the breaker had not opened it."""
        limit = self.rules.limit_of(name)
        if name in self.quotas:
            limit = replace(limit, quotas=self.quotas[name])
        if name in self.changes:
            limit = self.changes[name].over(limit, now)
        slowed = self.slowed.get(name)
        if slowed is not None:
            left = slowed.now(now, limit.interval)
            if left:
                limit = replace(limit, interval=left, burst=1)
            else:
                del self.slowed[name]
        return ramped(limit, now, *self.ramps[name]) if name in self.ramps else limit

    def slow_down(self, name: str, now: float, rule: tuple[float, float, float, float], rate: float = 0.0) -> float:
        """Double the interval; *rule*: floor, recovery, most, calm. *rate*: departures a second, as
        measured.
        """
        floor, recovery, most, calm = rule
        interval = self.usual_limit_of(name, now).interval
        slowed = self.slowed.get(name)
        if slowed is not None and now - slowed.since < calm:
            return interval
        interval = min(most, 2 * max(interval, 1 / rate if rate else 0.0) or floor)
        self.slowed[name] = Slowed(interval, now, recovery, min(floor, interval))
        return interval

    # ------------------------------------------------------------------ departures

    def departure(self, names: Iterable[str], now: float) -> float:
        """The earliest instant at which one more may depart; infinite while one of *names* is
        paused.
        """
        return self.latest(names, now)[0]

    def latest(self, names: Iterable[str], now: float) -> tuple[float, str]:
        """As :meth:`departure`, and the name that it has to wait for; ``""``: none."""
        counted = self.counted if self.quotas or self.rules.has_quotas else None
        tables = (self.tat, self.freed, self.origins, self.held)
        return latest(*tables, tuple(names), limit_of=self.limit_of, now=now, counted=counted)

    def book(self, names: Iterable[str], at: float, now: float) -> Departure | None:
        """One departs at *at*; ``None``: none of *names* has an interval or a quota."""
        limits = {name: self.limit_of(name, now) for name in names}
        for name, limit in limits.items():
            if limit.quotas:
                count(self.counted, name, limit.quotas, at, now=now)
        if len(self.tat) > MANY_BOOKINGS:
            drop_bookings(self.tat, self.origins, now)
        factor = self.random.uniform(-1, 1)
        return book(self.tat, self.freed, self.origins, limits, at, factor=factor, now=now)

    def take_back(self, unused: Departure, now: float) -> None:
        """It did not depart: others may, in its place."""
        take_back(self.tat, self.freed, unused, now)
        for name in unused.names if unused.counted else ():
            quotas = self.limit_of(name, now).quotas
            if quotas:
                count(self.counted, name, quotas, unused.at, now=now, n=-1)

    def reserve(self, wishes: Iterable[Reservation], now: float) -> list[Booking]:
        """Book departures, in order, but for those that would wait for too long."""
        answers = []
        for wish in wishes:
            if wish.instead is not None:
                self.take_back(wish.instead, now)
            due = self.departure(wish.names, now)
            booked = due - now <= wish.max_wait
            departure = self.book(wish.names, due, now) if booked else None
            answers.append(Booking(min(due - now, LONGEST_WAIT), booked, departure))
        return answers

    def hold(self, name: str, until: float, now: float) -> None:
        """Nobody departs before *until* (infinite: before :meth:`lift`); after that one at a time,
        without a burst.
        """
        drop_over(self.held, now)
        self.held[name] = max(self.held.get(name, now), until)
        if not math.isinf(until):
            push(self.tat, self.origins, name, until, self.limit_of(name, now))
        self._tell(name, self.held[name])

    def probe(self, name: str, until: float) -> None:
        """One at a time for now, each not before the one before was judged
        (:meth:`next_probe`): those that have more permits than one are asked for them.
        """
        self.probing[name] = until
        for worker, permits in self.permits.get(name, {}).items():
            if permits > 1:
                put(self.notes, worker, name, 1)

    def next_probe(self, name: str, now: float) -> None:
        """The last probe was judged: the next one may go as soon as the usual interval allows."""
        next_probe(self.tat, self.freed, name, self.usual_limit_of(name, now), now)

    def lift(self, name: str, now: float) -> None:
        """End a hold. What departed before, and what is booked, counts."""
        self.held.pop(name, None)
        take_back_push(self.tat, self.freed, self.origins, name, now)
        self._tell(name, now)

    def _tell(self, name: str, until: float) -> None:
        for worker in self.permits.get(name, ()):
            put(self.holds, worker, name, until)

    def change(self, name: str, change: LimitChange, now: float) -> None:
        """Set (or with an empty one take back) what differs from the settings."""
        old = self.limit_of(name, now)
        self.changes[name] = Changed.after(self.changes.get(name), change, now)
        if change == LimitChange() or self.changes[name] == Changed(LimitChange()):
            del self.changes[name]
        self._is_changed(name, old, now)

    def set_quotas(self, name: str, quotas: tuple[Quota, ...] | None) -> None:
        """These hold in place of the rules'; ``None``: the rules' do again."""
        if quotas is None:
            self.quotas.pop(name, None)
        else:
            self.quotas[name] = quotas

    def reset(self, name: str, now: float) -> None:
        """The rules are left, and what was found by adapting; holds are the caller's."""
        self.quotas.pop(name, None)
        old, known = self.limit_of(name, now), self.changes.pop(name, None)
        self.slowed.pop(name, None)
        self.ramps.pop(name, None)
        if known is not None and (found := known.without_people()) is not None:
            self.changes[name] = found
        self._is_changed(name, old, now)

    def _is_changed(self, name: str, old: SlotLimit, now: float) -> None:
        limits = (self.limit_of(name, now), old)
        keep_distance(self.tat, self.freed, self.origins, self.held, name, limits=limits, now=now)

    # ------------------------------------------------------------------ ends

    def forget(self, worker: str) -> None:
        """*worker* left or died."""
        self.forget_permits(worker)
        self.rules.forget(worker)

    def end_run(self, now: float) -> None:
        """Changes and pauses end with the run; what a site asked us to wait for does not, nor what
        quotas have counted.
        """
        self.changes.clear()
        self.quotas.clear()
        self.slowed.clear()
        self.probing.clear()
        self.ramps.clear()
        drop_over(self.held, now)
        for name in [name for name, until in self.held.items() if math.isinf(until)]:
            del self.held[name]
        drop_bookings(self.tat, self.origins, now)
        drop_uncounted(self.counted, now)

    # ------------------------------------------------------------------ looks

    def quota_states(self, name: str, now: float) -> tuple[QuotaState, ...]:
        """How the quotas of *name* stand."""
        return states(self.counted, name, self.limit_of(name, now).quotas, now)

    def look(self, name: str, now: float, pending: int) -> SlotState:
        interval = self.usual_limit_of(name, now).interval
        limit = replace(self.limit_of(name, now), interval=interval)
        due = self.departure([name], now)
        slowed = self.slowed.get(name)
        return SlotState(
            limit,
            0.0 if math.isinf(due) else due - now,
            math.isinf(due),
            0.0 if slowed is None else interval,
            self.changes[name].left(now) if name in self.changes else LimitChange(),
            sum(self.permits.get(name, {}).values()),
            pending,
            max(0.0, self.held.get(name, now) - now) if math.isfinite(due) else 0.0,
            self.quota_states(name, now),
        )
