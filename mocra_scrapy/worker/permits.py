"""What this worker may have in flight of each slot and scope, and what it has: the client side of
"Throttling" in :class:`~mocra_scrapy.interfaces.IRequestQueue`.

A *name* is a slot or a scope. A request is *in flight* from its hand-out to the engine until it left the
downloader; *waiting* while it is in the inbox. Instants are :func:`time.monotonic`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from mocra_scrapy.models import Exchange, Lease

#: Seconds for which a hold is believed here without being told again: it may be lifted when this
#: worker has nothing of the name any more, and is not told. Leases are held by the queue; what
#: can't be stored asks again before it departs.
BELIEVED = 30.0


def names_of(lease: Lease) -> tuple[str, ...]:
    """The slot and the scopes that a leased request counts for."""
    return (lease.slot, *lease.scopes)


class SlotPermits:
    """See above.

    Attributes:
        freed: set when a request left the downloader while one beside the queue waits.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._permits: dict[str, int] = {}
        self._target: dict[str, int] = {}  # others ask for some: come down to so many
        self._in_flight: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._held: dict[str, float] = {}
        self._wanted: Counter[str] = Counter()
        self.freed = asyncio.Event()

    # ------------------------------------------------------------------ what the worker does

    def on_leased(self, lease: Lease) -> None:
        """*lease* waits in the inbox: the queue lets it go, so no hold that was told before stands
        any more.
        """
        names = names_of(lease)
        self._waiting.update(names)
        if self._held:
            for name in names:
                self._held.pop(name, None)

    def on_returned(self, leases: Iterable[Lease]) -> None:
        """These were taken out of the inbox without being started."""
        for lease in leases:
            self._sink(self._waiting, names_of(lease))

    def on_started(self, lease: Lease) -> None:
        names = names_of(lease)
        self._sink(self._waiting, names)
        self._in_flight.update(names)

    def on_wanted(self, names: Iterable[str]) -> None:
        """A request of *names* that does not come from the queue wants to go out."""
        self._waiting.update(names)
        self._wanted.update(names)

    def on_unwanted(self, names: Iterable[str], *, started: bool) -> None:
        """It does so no more, for it was *started*, or gave up."""
        self._sink(self._waiting, names)
        self._sink(self._wanted, names)
        if started:
            self._in_flight.update(names)

    def on_downloaded(self, names: Iterable[str]) -> None:
        """A request left the downloader."""
        self._sink(self._in_flight, names)
        if self._wanted:
            self.freed.set()

    @staticmethod
    def _sink(counter: Counter[str], names: Iterable[str]) -> None:
        for name in names:
            if counter[name] > 1:
                counter[name] -= 1
            else:
                del counter[name]

    def may_start(self, names: Iterable[str]) -> bool:
        """Whether one more request of all *names* may go out now."""
        return all(
            self._in_flight[name] < min(self._permits.get(name, 0), self._target.get(name, 1 << 30)) for name in names
        ) and not self.any_held(names)

    def may_pass(self, names: Iterable[str], before_the_wire: Callable[[str], int], *, leased: bool) -> bool:
        """Whether the site would have no more requests of *names* than there are permits, if one more went
        there now. What was handed out and has not left yet may have to wait for just that one: pages
        wait for robots.txt. *leased*: it has a permit, which others asking for some take from nobody.
        """
        return all(
            self._in_flight[name] - before_the_wire(name)
            < min(self._permits.get(name, 0), 1 << 30 if leased else self._target.get(name, 1 << 30))
            for name in names
        )

    def held(self, name: str) -> float:
        """Seconds for which nothing of *name* may depart; 0: it may."""
        until = self._held.get(name)
        if until is None:
            return 0.0
        left = until - self._clock()
        if left <= 0:
            del self._held[name]
        return max(0.0, left)

    def any_held(self, names: Iterable[str]) -> bool:
        """Whether nothing of one of *names* may depart now."""
        return bool(self._held) and any(self.held(name) for name in names)

    def waits_here(self, name: str) -> bool:
        """Whether a leased request of *name* waits in the inbox."""
        return self._waiting[name] > self._wanted[name]

    def in_flight(self, name: str) -> int:
        """Requests of *name* that are out."""
        return self._in_flight[name]

    def permits(self, name: str) -> int:
        return self._permits.get(name, 0)

    # ------------------------------------------------------------------ what an exchange says

    def loads(self) -> dict[str, int]:
        return dict(self._in_flight + self._waiting)

    def wanted(self) -> list[str]:
        """Names of which a request beside the queue has no permit yet."""
        return [name for name in self._wanted if self._in_flight[name] >= self._permits.get(name, 0)]

    def keep_permits(self) -> dict[str, int]:
        """What is given back: all of what nothing is left of, and what others ask for as far as it
        is free.
        """
        keep = {name: 0 for name in self._permits if not self._in_flight[name] and not self._waiting[name]}
        for name, target in self._target.items():
            if name in self._permits and name not in keep:
                keep[name] = max(self._in_flight[name], target)
        for name, permits in keep.items():
            if permits:
                self._permits[name] = min(self._permits[name], permits)
            else:
                del self._permits[name]  # not only when it is confirmed: nothing may start on it meanwhile
                self._target.pop(name, None)
        return keep

    def on_answered(self, exchange: Exchange, kept: Mapping[str, int]) -> None:
        """Take in what the store said to a call that gave back all but *kept*."""
        now = self._clock()
        for name, permits in exchange.permits.items():
            have = self._permits.get(name, 0)
            if permits >= have:
                self._permits[name] = permits
                self._target.pop(name, None)
            else:
                self._target[name] = permits
        for name, permits in kept.items():
            if name in self._target and name not in exchange.permits and permits <= self._target[name]:
                del self._target[name]
        for name, seconds in exchange.held.items():
            if seconds > 0:
                self._held[name] = now + min(seconds, BELIEVED)
            else:
                self._held.pop(name, None)

    def on_lost(self) -> None:
        """This worker was declared dead: its permits went to others."""
        self._permits.clear()
        self._target.clear()
