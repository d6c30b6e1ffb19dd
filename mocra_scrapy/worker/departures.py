"""Between the inbox and the wire: a departure that was booked when a request was handed out is
looked at once more where the request leaves, and is given away when it does not.

Between the two stand downloader middlewares, which may take any time: robots.txt, a token that is
fetched, a browser. Ten pages that each waited for its instant, and then together for a robots.txt,
would otherwise reach the site within a moment.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import Reservation
from mocra_scrapy.worker.deliveries import NOT_BOOKED
from mocra_scrapy.worker.slot_policy import Instant

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.worker.deliveries import Delivery
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.permits import SlotPermits
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.slot_policy import SlotPolicy
    from mocra_scrapy.worker.store_clock import StoreClock

logger = logging.getLogger(__name__)

#: Seconds after its instant at which a departure is no longer used: together with punctual ones of
#: other workers it would come too soon.
MISSED = 0.1
#: Seconds after its instant at which one that was not used is handed on in this process; later the
#: store makes room from now on.
FRESH = 0.05
#: Seconds that a late request waits at the wire for another departure, where it takes a place of the
#: downloader; what would wait for longer goes back into the queue.
NEAR = 1.0


class Unused:
    """Departures that were booked for this worker and did not happen.

    Args:
        wake: makes the engine ask for a request.
    """

    def __init__(
        self,
        parts: WorkerParts,
        status: QueueStatus,
        inbox: Inbox,
        *,
        policy: SlotPolicy,
        wake: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._status = status
        self._inbox = inbox
        self._policy = policy
        self._wake = wake

    def give_away(self, names: tuple[str, ...], instant: Instant) -> None:
        """A request of *names* never reached the wire: a cache answered, robots.txt forbids it. The
        next one goes in its place, at once, where it waits here; what is left over the queue gets
        back in the next exchange.
        """
        if not self._parts.state.wire_watched or instant.departure is None:
            return
        if time.monotonic() - instant.at <= FRESH:
            instant = self._inbox.hand_on(names, instant)
        else:  # others may be booked an interval later: the store knows how much room there is
            self._inbox.give_back_list(names)
        assert instant.departure is not None
        self._policy.on_unused(instant.departure)
        self._status.dry = False
        self._status.kick()
        self._wake()


class Departures:
    """What is leased is looked at once more at the wire.

    Args:
        permits: what may go out now.
        send_back: puts a delivery on its way into the queue.
        store: by which clock departures are booked.
    """

    def __init__(
        self,
        parts: WorkerParts,
        permits: SlotPermits,
        send_back: Callable[[Delivery], None],
        stats: StatsCollector,
        store: StoreClock,
    ) -> None:
        self._parts = parts
        self._store = store
        self._permits = permits
        self._send_back = send_back
        self._stats = stats
        self._waiting: Counter[str] = Counter()  # slot -> late requests that wait at the wire

    def check(self, request: Request, delivery: Delivery) -> Coroutine[Any, Any, Request | None] | None:
        """*request*, which was leased, is about to leave; ``None``: it may. The answer of the
        coroutine is *request* where it is to go back into the queue.
        """
        instant = delivery.departs
        assert instant is not None
        if time.monotonic() - instant.at <= MISSED and not self._permits.any_held(delivery.names):
            delivery.departs, delivery.sent = None, True
            self._passed(delivery)
            return None
        return self._late(request, delivery)

    def _passed(self, delivery: Delivery) -> None:
        """It is booked, or gone: what waited for it to be first may go."""
        state = self._parts.state
        if state.gate.watched and delivery.names and state.gate.passed(delivery.names[0]):
            state.look_again()

    async def _late(self, request: Request, delivery: Delivery) -> Request | None:
        """It takes another departure, in place of the one that has gone by, and after it looks
        again: the site may have asked us to wait.
        """
        names, instant = delivery.names, delivery.departs
        assert instant is not None
        if instant.at > -math.inf:
            self._stats.inc_value("mocra/throttle/late")
        while not self._permits.any_held(names):
            # What waits in front of us, a robots.txt, may have taken it meanwhile.
            instant, delivery.departs = delivery.departs or NOT_BOOKED, None
            try:
                wish, asked = Reservation(names, self._patience(names), instant.departure), time.monotonic()
                (booking,) = await self._parts.limiter.reserve([wish])
            except MocraError as error:
                logger.debug("%s goes back into the queue, the backend can't book its departure: %s", request, error)
                break
            if not booking.booked:
                break
            at = self._store.instant(booking.wait, booking.departure, booking.shard, asked)
            if delivery.departs is not None:  # its slot got a longer interval meanwhile
                at = -math.inf
            delivery.departs = instant = Instant(at, booking.departure)
            self._passed(delivery)
            if (wait := at - time.monotonic()) > 0:
                await self._wait(names[0], wait)
            if (
                delivery.departs is instant
                and time.monotonic() - instant.at <= MISSED
                and not self._permits.any_held(names)
            ):
                delivery.departs, delivery.sent = None, True
                return None
        return self._back(request, delivery)

    def _patience(self, names: tuple[str, ...]) -> float:
        """Seconds that one of *names* may wait here. One of a slot at a time waits for as long as it
        takes: were each sent back, a middleware that always takes longer than an interval would
        keep all of them from ever leaving.
        """
        if self._waiting[names[0]]:
            return NEAR
        limits, lookahead = self._parts.options.limits, self._parts.options.queue.lookahead
        return max(NEAR, lookahead + 2 * max(limits.of(name).interval for name in names))

    async def _wait(self, slot: str, seconds: float) -> None:
        self._waiting[slot] += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._waiting[slot] -= 1
            if not self._waiting[slot]:
                del self._waiting[slot]

    def _back(self, request: Request, delivery: Delivery) -> Request:
        """It was not sent, and is as it was when it was handed out: the lease is released, and what
        is stored never changed.
        """
        self._stats.inc_value("mocra/throttle/returned")
        self._send_back(delivery)
        self._passed(delivery)
        return request
