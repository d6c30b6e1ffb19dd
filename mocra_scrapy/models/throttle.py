"""What crosses the contracts about throttling: limits, what a worker has of a slot, bookings.

A *limit* belongs to a slot (Scrapy's download slot, usually a host) or to a *scope*: a name that
requests of many slots share, such as an account or a proxy gateway. Names of scopes begin with
``@``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

#: Longest interval, hold and delay, in seconds (366 days): what is beyond is a mistake, and would
#: leave the range of the server's clock.
LONGEST = 366 * 86_400.0


def slot_name(key: object) -> str:
    """What Scrapy's download slot *key* is called here. To Scrapy a slot may be anything that can be
    a key: one that is no text (``meta["download_slot"] = ("a", 1)``) is named by its :class:`str`,
    and ``@acc`` is ``download_slot:@acc``, else it would be taken for the scope.
    """
    name = key if isinstance(key, str) else str(key)
    return f"download_slot:{name}" if name.startswith("@") else name


class Quota(NamedTuple):
    """At most *most* departures in any *window* seconds, wherever the window begins."""

    most: int
    window: float


class QuotaState(NamedTuple):
    """How a quota stands.

    Attributes:
        used: departures that count in it now.
        wait: seconds until one more may depart for it; 0: at once.
    """

    quota: Quota
    used: int
    wait: float


@dataclass(frozen=True, slots=True)
class SlotLimit:
    """How the whole cluster may use a slot or scope.

    Attributes:
        interval: seconds between two departures; 0: no limit.
        burst: departures that may come at once after a rest, 1 or more.
        concurrency: requests that may be out at once; 0: any number.
        jitter: each interval is drawn from ``interval * (1 - jitter)`` to
            ``interval * (1 + jitter)``, 0 to 1.
        floor: seconds below which no adaptation takes the interval: what settings ask for.
        quotas: each holds beside the rest; by window, one for each.
    """

    interval: float = 0.0
    burst: int = 1
    concurrency: int = 0
    jitter: float = 0.0
    floor: float = 0.0
    quotas: tuple[Quota, ...] = ()

    @property
    def is_paced(self) -> bool:
        """Whether each departure is booked for an instant of its own."""
        return bool(self.interval or self.quotas)


@dataclass(frozen=True, slots=True)
class LimitChange:
    """What is changed of a limit while the crawl runs; ``None``: left as the settings say. Replaces
    the change before.

    *adapted*: found by the suite itself (AutoThrottle, ``Crawl-delay``), not said by people: the
    limit's ``floor`` holds all the same.
    *lasts*: seconds from now after which the settings are in force again; ``None``: it ends with the
    run.
    *least*: seconds that the site itself asks for between two departures, at least
    (``Crawl-delay``); 0: it asks for nothing (any more), ``None``: as before. No rule, no
    adaptation and no jitter goes below, only an interval that people set while the crawl runs. It
    is kept beside the rest of a change: one with nothing else leaves the rest as it is.
    """

    interval: float | None = None
    burst: int | None = None
    concurrency: int | None = None
    adapted: bool = False
    lasts: float | None = None
    least: float | None = None

    @property
    def tells_least_only(self) -> bool:
        """Whether it leaves all else as it is."""
        return self.least is not None and (self.interval, self.burst, self.concurrency) == (None, None, None)


@dataclass(frozen=True, slots=True)
class Departure:
    """A booked departure, for who gives it back. Instants are of the store, and its own business.

    Attributes:
        names: the slot and the scopes that it counts for.
        at: when it is.
        owned: for each of *names* what it owns of its time, see
            :mod:`mocra_scrapy.backends.embedded.freed`.
        counted: whether quotas count it.
    """

    names: tuple[str, ...]
    at: float
    owned: tuple[tuple[float, float], ...]
    counted: bool = False


@dataclass(frozen=True, slots=True)
class Reservation:
    """A wish to depart.

    Attributes:
        names: the slot and the scopes that it counts for, one or more, all on one shard with the
            first.
        max_wait: seconds; if it would have to wait longer nothing is booked.
        instead: a departure of the same names that is given back before, whether or not another one
            is booked.
    """

    names: tuple[str, ...]
    max_wait: float = LONGEST
    instead: Departure | None = None


@dataclass(frozen=True, slots=True)
class Booking:
    """The answer to a :class:`Reservation`: go in *wait* seconds; not *booked*: ask again then.
    *departure*: to give it back; ``None``: nothing is booked, or none of the names has an interval or a quota.
    """

    wait: float
    booked: bool
    departure: Departure | None = None


@dataclass(frozen=True, slots=True)
class SlotState:
    """A slot or scope as the store knows it.

    Attributes:
        limit: in force now: as set, changed, and slowed down.
        wait: seconds until the next departure may be booked for now; 0: at once.
        paused: whether somebody stopped it until further notice.
        slowed: the interval that failures have brought about, in seconds; 0: none.
        change: what was changed of the settings' limit.
        permits: requests that may be out now, over all workers that have some.
        pending: entries that wait in it (of a scope: 0).
        held: seconds for which it is held: by its site, by people, by its circuit; 0: it is not, or
            it is paused.
        quotas: how those of its limit stand.
    """

    limit: SlotLimit
    wait: float = 0.0
    paused: bool = False
    slowed: float = 0.0
    change: LimitChange = LimitChange()
    permits: int = 0
    pending: int = 0
    held: float = 0.0
    quotas: tuple[QuotaState, ...] = ()
