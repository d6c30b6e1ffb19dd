"""From the inbox to the engine: which request goes next, when, and what is kept of it while it is
out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from mocra_scrapy.exceptions import UnreadablePayload
from mocra_scrapy.models import Burial, Lease
from mocra_scrapy.worker.deliveries import Deliveries
from mocra_scrapy.worker.inbox import Inbox, Key, Local, RequestCache

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.codec.dictionaries import CompressingCodec
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.worker.outbox import Outbox
    from mocra_scrapy.worker.permits import SlotPermits

logger = logging.getLogger(__name__)

#: Requests that are kept as objects until the queue hands them back, see
#: :class:`~mocra_scrapy.worker.inbox.RequestCache`.
RECALL = 1000
#: Seconds after its instant at which a departure is no longer used: together with punctual ones of
#: other workers it would come too soon.
MISSED = 0.1


class Dispatcher:
    """What ``next_request`` does, between one exchange and the next.

    Args:
        permits: of this worker in slots that have limits over the cluster; ``None``: each worker is
            polite for itself.

    Attributes:
        engine, codec: set when the scheduler opens.
    """

    engine: EngineHooks
    codec: CompressingCodec

    def __init__(
        self,
        inbox: Inbox,
        outbox: Outbox,
        deliveries: Deliveries,
        *,
        permits: SlotPermits | None,
        stats: StatsCollector,
    ) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._deliveries = deliveries
        self._permits = permits
        self._stats = stats
        self.recall = RequestCache(RECALL)
        self._departure: asyncio.TimerHandle | None = None

    def next(self) -> Request | None:
        """The next request that this worker holds and that may go out now."""
        if self._permits is not None:
            self._return_missed()
        while (got := self._inbox.pop(self._has_room)) is not None:
            if isinstance(got, Local):
                self._stats.inc_value("scheduler/dequeued/memory")
                self._stats.inc_value("scheduler/dequeued")
                return self._deliveries.hand_out(got.request, None, got.parent)
            request = self._open(got)
            if request is not None:
                request = self._deliveries.hand_out(request, got, None)
                if self._permits is not None:
                    self._permits.on_started(got)
                self._stats.inc_value("scheduler/dequeued")
                return request
            if self._permits is not None:
                self._permits.on_returned([got])
        return None

    def can_start(self) -> bool:
        """Whether something of the inbox could go out, now or at its instant."""
        return self._inbox.any(self._has_room)

    def wake_for_departure(self) -> None:
        """Something may be to depart at an instant, whether or not anything else happens until
        then.
        """
        at = self._inbox.next_at
        if at is not None:
            self.cancel()
            wait = max(0.0, at - time.monotonic())
            self._departure = asyncio.get_running_loop().call_later(wait, self.engine.wake)

    def cancel(self) -> None:
        if self._departure is not None:
            self._departure.cancel()

    def give_back(self, leases: list[Lease]) -> None:
        """What waited in the inbox goes to others."""
        self._outbox.release(leases)
        if self._permits is not None:
            self._permits.on_returned(leases)

    def _return_missed(self) -> None:
        missed = self._inbox.missed(MISSED)
        if missed:
            self._stats.inc_value("mocra/throttle/missed", len(missed))
            self.give_back(missed)

    def _has_room(self, key: Key, leased: bool) -> bool:
        slot = key[0]
        if self._permits is not None:
            if leased:
                return self._permits.may_start(key)
            if self._permits.held(slot):
                return False
        room = self.engine.concurrency_of(slot)
        return not room or self.engine.active_in(slot) < room

    def _open(self, lease: Lease) -> Request | None:
        """The leased request; one that can't be read becomes a dead letter, and the crawl goes on."""
        request = self.recall.take(lease.body)
        if request is not None:
            return request
        try:
            return self.codec.decode(lease.body)
        except UnreadablePayload as error:
            logger.error("A stored request of slot %r can't be read and is a dead letter now: %s", lease.slot, error)
            self._stats.inc_value("mocra/scheduler/unreadable")
            self._outbox.bury(Burial(lease, "unreadable", str(error)))
            return None
