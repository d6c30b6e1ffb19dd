"""Requests that reach the downloader without having been handed out by the queue: robots.txt, what
media pipelines and ``engine.download_async`` fetch, and requests that can't be stored.

Somebody in this process awaits their answer, so they never enter the queue. They keep the same
limits, on the state by which the queue hands out: a permit of the cluster, and a booked departure.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from scrapy.exceptions import IgnoreRequest

from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import Booking, Departure, Reservation
from mocra_scrapy.worker.departures import MISSED
from mocra_scrapy.worker.outage_share import OutageShare

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.worker.permits import SlotPermits
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.slot_policy import SlotPolicy

logger = logging.getLogger(__name__)

Names = tuple[str, ...]

#: Seconds between two looks at how many workers there are, for the share of each during an outage.
COUNTED = 30.0
#: Seconds between two looks at what nobody tells of (a hold that was lifted); at permits that others
#: have; at a backend that is away.
LOOK, CROWDED, AWAY = 5.0, 0.2, 1.0
#: Seconds after the instant from which a departure may be booked that one is asked for, at most: as
#: long as an exchange for pages takes to come, so that neither always comes first.
FAIR = 0.02
#: How far ahead who gives way may book, as a part of how far pages may: the rest is their start, for the exchange
#: of a busy worker comes late.
GIVING_WAY = 0.6
#: Seconds by which the first departure that is free may seem to move although nobody took one.
NOISE = 0.05


class Line(deque["asyncio.Future[None]"]):
    """Who waits, of the same names. After every second departure the next one gives way to pages: a departure may be
    booked at the moment of the one before, and an exchange for pages comes later than that.

    Attributes:
        gives_way: whether that is so, until somebody else had a turn.
        free_at: the first departure that was free after that (monotonic).
    """

    gives_way, free_at, gone = False, math.inf, 0

    def departed(self) -> None:
        self.gone += 1
        self.gives_way, self.free_at = self.gone % 2 == 0, math.inf

    def heard(self, at: float) -> None:
        """The first departure that is free is at *at*."""
        self.gives_way = self.gives_way and at <= self.free_at + NOISE
        self.free_at = min(at, self.free_at)


class NoDeparture(IgnoreRequest):
    """Nothing is wrong with the request: it was not its turn for too long."""


class Bypass:
    """Of one worker. ``len()``: requests that wait.

    Of the same names one request at a time looks for its departure, in the order in which they
    came; a hundred files would otherwise book a hundred departures ahead of all pages. Whoever
    waits takes no place of the downloader. A request that was handed out and has not left yet lends
    its permit: it may be waiting for this very robots.txt, and nothing would go on. So does its
    departure, where none can be booked: pages would use up a quota before their robots.txt.

    Args:
        before_the_wire: how many requests that count for a name were handed out and have not left.
        lend: takes its departure from one of a slot that was handed out and has not left.

    Attributes:
        out: ``id()`` of a request that left -> names of which it takes a permit.
        closed: whether nobody waits any more: the worker left.
    """

    def __init__(
        self,
        parts: WorkerParts,
        status: QueueStatus,
        engine: EngineHooks,
        *,
        policy: SlotPolicy,
        permits: SlotPermits,
        before_the_wire: Callable[[str], int],
        lend: Callable[[str], Departure | None],
        stats: StatsCollector,
    ) -> None:
        self._parts = parts
        self._before_the_wire, self._lend = before_the_wire, lend
        self._limits = parts.options.limits
        self._status = status
        self._engine = engine
        self._policy = policy
        self._permits = permits
        self._stats = stats
        self._longest = parts.options.bypass_max_wait
        self._lines: dict[Names, Line] = {}  # the first one of each looks for its departure
        self.out: dict[int, Names] = {}
        self._owed: Counter[str] = Counter()  # name -> leased requests that wait for their permit
        self._last: Names = ()  # of the last one that left
        self._waiting = 0
        self._share = OutageShare()
        self._counted = -COUNTED
        self._away = 0.0  # seconds that somebody waited for the backend, in all
        self.closed = False

    def __len__(self) -> int:
        return self._waiting

    def left(self, request: Request) -> None:
        """*request* left the downloader, or the engine let go of it: its permit is free."""
        names = self.out.pop(id(request), None)
        if names is not None:
            self._policy.on_downloaded(names)
            self._permits.freed.set()
            self._status.dry = False
            self._status.kick()
            self._engine.wake()

    def is_in_the_way(self, names: Names) -> bool:
        """Whether a leased request of *names* has lent its permit to one that is still out."""
        return not self._permits.may_pass(names, self._before_the_wire, leased=True)

    async def make_way(self, names: Names) -> None:
        """Wait until it has its permit back: downloads end, and nothing borrows it meanwhile."""
        self._owed.update(names)
        try:
            while self.is_in_the_way(names) and not self.closed:
                self._permits.freed.clear()
                await _within(CROWDED, self._permits.freed.wait())
        finally:
            self._owed -= Counter(names)

    def _may_go(self, names: Names) -> bool:
        if any(self._owed[name] for name in names):
            return False
        may = self._permits.may_pass(names, self._before_the_wire, leased=False)
        return may and not self._permits.any_held(names)

    async def depart(self, request: Request, *, bounded: bool) -> None:
        """Wait until *request* may leave.

        Args:
            bounded: whether it fails when that takes too long; else it waits for as long as it takes.

        Raises:
            IgnoreRequest: it waited for ``MOCRA_BYPASS_MAX_WAIT`` seconds, not counting outages.
        """
        slot = self._engine.slot_of(request)
        names = (slot, *self._policy.scopes_of(slot, request))
        since, away = time.monotonic(), self._away

        def left() -> float:
            if not bounded and not self.closed:
                return LOOK
            seconds = since + self._longest + self._away - away - time.monotonic()
            if seconds <= 0 or self.closed:
                raise self._too_long(request)
            return seconds

        self._waiting += 1
        try:
            with self._engine.stepped_out(request):
                async with self._turn(names, left):
                    while not await self._try(names, left()):
                        pass
        finally:
            self._waiting -= 1
        self.out[id(request)] = names
        self._tell(time.monotonic() - since)

    def _tell(self, waited: float) -> None:
        if waited > 0.01:
            self._stats.inc_value("mocra/throttle/waited")
            total = self._stats.get_value("mocra/throttle/waited_seconds", 0.0) + waited
            self._stats.set_value("mocra/throttle/waited_seconds", round(total, 3))

    def _too_long(self, request: Request) -> NoDeparture:
        self._stats.inc_value("mocra/throttle/bypass_given_up")
        return NoDeparture(
            f"{request} bypasses the queue and found no departure within MOCRA_BYPASS_MAX_WAIT = {self._longest:g} s:"
            " its host is held, or more is asked of it than its limits allow. Raise that setting, or yield the request"
            " from a callback, then it waits in the queue"
        )

    @asynccontextmanager
    async def _turn(self, names: Names, left: Callable[[], float]) -> AsyncIterator[None]:
        """First come, first served, among those of the same *names*. Raises what *left* raises."""
        line, mine = self._lines.setdefault(names, Line()), asyncio.get_running_loop().create_future()
        line.append(mine)
        _call_first(line)
        try:
            while not mine.done():
                await asyncio.wait({mine}, timeout=left())
            self._permits.on_wanted(names)
            started = False
            try:
                yield
                started = True
            finally:
                self._permits.on_unwanted(names, started=started)
        finally:
            line.remove(mine)
            _call_first(line)
            if not line:
                self._lines.pop(names, None)

    # ------------------------------------------------------------------ one attempt

    async def _try(self, names: Names, left: float) -> bool:
        """Whether it may leave now. Takes *left* seconds, or what a booked departure needs."""
        if self._last == names and self._permits.waits_here(names[0]):
            self._last = ()
            await asyncio.sleep(FAIR)  # a page comes between
        if not self._away_now and not self._may_go(names):
            await self._ask(names, min(left, LOOK))
            return False
        asked = time.monotonic()
        booking = await self._book(names)
        if not booking.booked:
            await asyncio.sleep(min(booking.wait, left, LOOK))
            return False
        at = self._status.store.instant(booking.wait, booking.departure, booking.shard, asked)
        if (wait := at - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        # Look again: the site may have asked us to wait, a page may have taken the permit.
        may = time.monotonic() - at <= MISSED and (self._away_now or self._may_go(names))
        if may:
            self._last = names
            self._lines[names].departed()
        elif booking.departure is not None:
            self._policy.on_unused(booking.departure)
        return may

    @property
    def _away_now(self) -> bool:
        """Whether the backend is away, and requests go on with this worker's share of the rates."""
        return self._limits.on_outage == "share" and self._status.away_since is not None

    async def _ask(self, names: Names, seconds: float) -> None:
        """For a permit: the store, and whoever has one here."""
        held = max(self._permits.held(name) for name in names)
        if held:
            await asyncio.sleep(min(held, seconds))
            return
        self._status.ask_for_permits()
        await _within(seconds, self._status.changed())
        if not self._may_go(names):
            self._permits.freed.clear()
            await _within(min(seconds, CROWDED), self._permits.freed.wait())

    async def _book(self, names: Names) -> Booking:
        """A departure that comes soon, as the queue books them for pages; not booked: ask again when
        one may be booked.
        """
        lookahead, line = self._parts.options.queue.lookahead, self._lines[names]
        try:
            ahead = lookahead * GIVING_WAY if line.gives_way else lookahead
            (booking,) = await self._parts.limiter.reserve([Reservation(names, ahead)])
            if not booking.booked and (lent := self._lent(names)) is not None:
                (booking,) = await self._parts.limiter.reserve([Reservation(names, lookahead, lent)])
            await self._count()
        except MocraError as error:
            return self._without(names, error)
        if booking.booked:
            return booking
        line.heard(time.monotonic() + booking.wait)
        ahead = lookahead * GIVING_WAY if line.gives_way else lookahead
        return Booking(max(0.0, booking.wait - ahead) + random.uniform(0.001, FAIR), False)  # noqa: S311

    def _lent(self, names: Names) -> Departure | None:
        """A departure to be used instead: of a page that waits for what comes before the pages of its
        slot.
        """
        lent = self._lend(names[0]) if names[0] in self._parts.state.gate.shut else None
        if lent is None or tuple(lent.names) == names:
            return lent
        self._policy.on_unused(lent)  # of other scopes: the store has it back with the next exchange
        self._status.kick()
        return None

    async def _count(self) -> None:
        now = time.monotonic()
        if now - self._counted >= COUNTED:
            self._counted = now
            self._share.workers = max(1, len(await self._parts.session.queue.workers()))

    def _without(self, names: Names, error: MocraError) -> Booking:
        """The backend is away."""
        self._stats.inc_value("mocra/throttle/outages")
        if self._limits.on_outage == "wait":
            logger.debug("Waiting for the backend before the next request of %s: %s", names[0], error)
            self._away += AWAY
            return Booking(AWAY, False)
        return Booking(self._share.book(names, [self._limits.of(name) for name in names]), True)


def _call_first(line: Line) -> None:
    """It is the turn of the first one."""
    if line and not line[0].done():
        line[0].set_result(None)


async def _within(seconds: float, waited: Awaitable[object]) -> None:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(waited, seconds)
