"""What bounds how much of a slot a worker leases and starts: permits of the whole cluster, or the
downloader's own slots where each worker is polite for itself (``MOCRA_THROTTLE_SCOPE``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mocra_scrapy.models import Bounds, Departure, Exchange, Lease
from mocra_scrapy.worker.permits import SlotPermits

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.settings.throttle import Limits
    from mocra_scrapy.worker.queue_status import QueueStatus

Key = tuple[str, ...]

#: Slots that an exchange names as those of which nothing is leased, at most.
MOST_SHUT = 100


class Instant(NamedTuple):
    """When a leased request departs (monotonic), and what is booked for it in the store; ``None``:
    it only has to wait, and has no interval to keep.
    """

    at: float
    departure: Departure | None


class WaitingRequests(Protocol):
    """The inbox, as far as a policy looks at it."""

    leased: int

    @property
    def paced(self) -> Mapping[str, float]: ...

    @property
    def slots(self) -> Iterable[str]: ...

    def held_in(self, slot: str) -> int: ...

    def timed(self) -> int: ...


class SlotPolicy(Protocol):
    """Hears of each lease's way, and says what may be leased and started.

    Attributes:
        permits: of the cluster; none are, where each worker is polite for itself.
    """

    permits: SlotPermits

    def scopes_of(self, slot: str, request: Request) -> tuple[str, ...]:
        """The scopes that *request*, which is about to be stored, counts for.

        Raises:
            ConfigurationError: it names a scope that no setting knows.
        """

    def has_room(self, key: Key, leased: bool) -> bool:
        """Whether one more request of *key* (slot and scopes) may start now. *leased*: of the
        queue's; else one that only this process holds.
        """

    def fetchable(self, inbox: WaitingRequests) -> int:
        """Leased requests in *inbox* for which the downloader has room."""

    def bounds(self, want: int, inbox: WaitingRequests) -> Bounds:
        """What bounds the leases of the next exchange."""

    def is_paced(self, lease: Lease) -> bool:
        """Whether *lease* must not depart after its instant has gone by."""

    def on_leased(self, lease: Lease) -> None:
        """It waits in the inbox now."""

    def on_returned(self, leases: Iterable[Lease]) -> None:
        """They went from the inbox back to the queue."""

    def on_started(self, lease: Lease) -> None:
        """It went from the inbox to the engine."""

    def on_downloaded(self, names: Iterable[str]) -> None:
        """A request of these left the downloader, or never reached it."""

    def on_unused(self, departure: Departure) -> None:
        """It was booked, and did not happen: the queue hears of it."""

    def on_answered(self, exchange: Exchange, bounds: Bounds) -> None:
        """The queue answered a call with *bounds*."""

    def on_lost(self) -> None:
        """This worker was declared dead."""


class Gate(Protocol):
    """See :class:`mocra_scrapy.runtime.slot_gate.SlotGate`."""

    watched: bool

    @property
    def shut(self) -> Mapping[str, float]: ...

    def admits(self, slot: str, out: int) -> bool: ...

    def passed(self, slot: str) -> bool: ...


class ClusterPolicy:
    """The cluster's limits hold: the queue grants permits and books departures. *gate*: lets one
    request of a slot out before the others.
    """

    def __init__(self, permits: SlotPermits, limits: Limits, engine: EngineHooks, gate: Gate) -> None:
        self.permits = permits
        self._gate = gate
        self._limits = limits
        self._engine = engine
        self.on_leased = permits.on_leased
        self.on_returned = permits.on_returned
        self.on_started = permits.on_started
        self.on_lost = permits.on_lost
        self._unused: list[Departure] = []
        self.on_unused = self._unused.append

    def scopes_of(self, slot: str, request: Request) -> tuple[str, ...]:
        return self._limits.scopes_of(slot, request)

    def has_room(self, key: Key, leased: bool) -> bool:
        if leased:
            if self._gate.watched and not self._gate.admits(key[0], self.permits.in_flight(key[0])):
                return False
            return self.permits.may_start(key)
        return not self.permits.held(key[0]) and room_in(self._engine, key[0])

    def fetchable(self, inbox: WaitingRequests) -> int:
        shut = self._gate.shut
        behind = sum(inbox.held_in(slot) for slot in shut) if shut else 0
        return max(0, inbox.leased - inbox.timed() - behind)  # what was leased has a permit, or will have one soon

    def bounds(self, want: int, inbox: WaitingRequests) -> Bounds:
        wanted, unused = self.permits.wanted(), self._unused[:]
        self._unused.clear()
        return Bounds(
            loads=self.permits.loads() if want or wanted else {},
            keep_permits=self.permits.keep_permits(),
            full=self._shut(inbox) if want and self._gate.shut else (),
            unused=unused,
            wanted=wanted,
        )

    def _shut(self, inbox: WaitingRequests) -> list[str]:
        """Slots of which one waits for what comes first: others would be booked, and miss their instants."""
        shut, out, paced = self._gate.shut, self.permits.in_flight, inbox.paced
        return list(islice((slot for slot in shut if slot in paced and out(slot)), MOST_SHUT))

    def is_paced(self, lease: Lease) -> bool:
        return lease.wait > 0 or lease.departure is not None

    def on_downloaded(self, names: Iterable[str]) -> None:
        self.permits.on_downloaded(names)
        if self._gate.watched:
            self._gate.passed(next(iter(names)))

    def on_answered(self, exchange: Exchange, bounds: Bounds) -> None:
        self.permits.on_answered(exchange, bounds.keep_permits)
        for name, count in exchange.permits.items():
            if not name.startswith("@"):
                self._engine.widen(name, count)


class WorkerPolicy:
    """Each worker is polite for itself: the downloader's own slots say how much there is room for,
    and nothing has to be counted here.
    """

    def __init__(self, limits: Limits, engine: EngineHooks) -> None:
        self.permits = SlotPermits()
        self._limits = limits
        self._engine = engine

    def scopes_of(self, slot: str, request: Request) -> tuple[str, ...]:
        return self._limits.scopes_of(slot, request)  # none; a request that names one is refused

    def has_room(self, key: Key, leased: bool) -> bool:
        return room_in(self._engine, key[0])

    def fetchable(self, inbox: WaitingRequests) -> int:
        fetchable = 0
        for slot in inbox.slots:
            held, room = inbox.held_in(slot), self._engine.concurrency_of(slot)
            fetchable += max(0, min(held, 2 * room - self._engine.active_in(slot))) if room else held
        return fetchable

    def bounds(self, want: int, inbox: WaitingRequests) -> Bounds:
        """Nothing of slots of which there is enough: twice what the downloader runs at once, so that
        it never waits for an exchange.
        """
        if not want:
            return Bounds()
        full = []
        for slot in inbox.slots:
            room = self._engine.concurrency_of(slot)
            if room and inbox.held_in(slot) + self._engine.active_in(slot) >= 2 * room:
                full.append(slot)
        return Bounds(full=full, per_slot=self._engine.concurrency_of(""))

    def is_paced(self, lease: Lease) -> bool:
        return lease.wait > 0

    def on_leased(self, lease: Lease) -> None:
        """The downloader counts."""

    def on_returned(self, leases: Iterable[Lease]) -> None:
        """Nothing was counted."""

    def on_started(self, lease: Lease) -> None:
        """The downloader counts."""

    def on_downloaded(self, names: Iterable[str]) -> None:
        """The downloader counts."""

    def on_unused(self, departure: Departure) -> None:
        """Nothing is booked."""

    def on_answered(self, exchange: Exchange, bounds: Bounds) -> None:
        """The queue knows no limits."""

    def on_lost(self) -> None:
        """There were no permits to lose."""


def room_in(engine: EngineHooks, slot: str) -> bool:
    """Whether the downloader runs fewer requests of *slot* than it may."""
    room = engine.concurrency_of(slot)
    return not room or engine.active_in(slot) < room


def asking_again(policy: SlotPolicy, status: QueueStatus) -> Callable[[tuple[str, ...]], None]:
    """``policy.on_downloaded`` where asking costs nothing: there may be room for one more now."""

    def on_downloaded(names: tuple[str, ...]) -> None:
        policy.on_downloaded(names)
        status.dry = False

    return on_downloaded


def policy_for(limits: Limits, engine: EngineHooks, gate: Gate) -> SlotPolicy:
    """The one that ``MOCRA_THROTTLE_SCOPE`` asks for."""
    if not limits.cluster:
        return WorkerPolicy(limits, engine)
    return ClusterPolicy(SlotPermits(), limits, engine, gate)
