"""From the inbox to the engine: which request goes next, when, and what is kept of it while it is in
flight.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mocra_scrapy.codec.dictionaries import PUT_OFF
from mocra_scrapy.exceptions import NotReadableYet, UnreadablePayload, UnreadableSeed
from mocra_scrapy.models import Burial, Entry, Lease
from mocra_scrapy.worker.deliveries import CURRENT
from mocra_scrapy.worker.departures import MISSED
from mocra_scrapy.worker.inbox import Local
from mocra_scrapy.worker.permits import names_of

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.codec.requests import IRequestCodec
    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.worker.deliveries import Deliveries
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.outbox import Outbox
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.request_cache import RequestCache
    from mocra_scrapy.worker.slot_policy import SlotPolicy

logger = logging.getLogger(__name__)


class Dispatcher:
    """What ``next_request`` does, between one exchange and the next.

    Args:
        wake: makes the engine ask again.
    """

    def __init__(
        self,
        parts: WorkerParts,
        status: QueueStatus,
        inbox: Inbox,
        outbox: Outbox,
        *,
        codec: IRequestCodec,
        cache: RequestCache,
        deliveries: Deliveries,
        policy: SlotPolicy,
        stats: StatsCollector,
        wake: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._status = status
        self._inbox = inbox
        self._outbox = outbox
        self._codec = codec
        self._cache = cache
        self._deliveries = deliveries
        self._policy = policy
        self._stats = stats
        self._wake = wake
        self._departure: asyncio.TimerHandle | None = None

    def next(self, ask: Callable[[], bool]) -> Request | None:
        """The next request that this worker holds and that may go out now; ``None``: nothing now,
        the engine is woken later.

        Args:
            ask: gets one more from the queue, where that needs no waiting; whether it did.
        """
        parts, status = self._parts, self._status
        if not (status.closing or parts.state.holding or self._outbox.is_full(parts.options.outbox_max)):
            self._return_missed()
            request = self._dispatch()
            while request is None and ask():
                request = self._dispatch()
            if request is not None:
                if not parts.immediate and self._inbox.leased * 2 <= parts.live_options().prefetch:
                    status.kick()
                return request
        CURRENT.set(None)
        if self._outbox.waiting:
            status.kick()
        if not self._inbox and not status.hungry:
            status.hungry = True
            status.kick()
        self._wake_for_departure()
        return None

    def _dispatch(self) -> Request | None:
        while (got := self._inbox.pop()) is not None:
            if isinstance(got, Local):
                self._stats.inc_value("scheduler/dequeued/memory")
                self._stats.inc_value("scheduler/dequeued")
                return self._deliveries.hand_out(got.request, None, got.parent)
            request = self._open(got)
            if request is not None:
                self._stats.inc_value("scheduler/dequeued")
                return self._deliveries.hand_out(request, got, None, self._inbox.departs)
        return None

    def starving(self) -> bool:
        """Whether nothing that is pending can be fetched by this worker."""
        return self._status.dry and not self._inbox.can_start()

    def close(self) -> None:
        """Nothing departs any more."""
        if self._departure is not None:
            self._departure.cancel()

    def _wake_for_departure(self) -> None:
        """Something may be to depart at an instant, whether or not anything else happens until
        then.
        """
        at = self._inbox.next_at
        if at is not None and not self._status.closing:
            self.close()
            wait = max(0.0, at - time.monotonic())
            self._departure = asyncio.get_running_loop().call_later(wait, self._wake)

    def _return_missed(self) -> None:
        missed = self._inbox.give_back_missed(MISSED)
        if missed:
            self._stats.inc_value("mocra/throttle/missed", missed)

    def _never_departs(self, lease: Lease) -> None:
        """It takes no permit, and leaves its instant to others."""
        self._policy.on_downloaded(names_of(lease))
        instant = self._inbox.departs
        if instant is not None and instant.departure is not None:
            self._policy.on_unused(instant.departure)

    def _open(self, lease: Lease) -> Request | None:
        """The leased request; one that can't be read becomes a dead letter, and the crawl goes
        on.
        """
        request = self._cache.take(lease.body)
        if request is not None:
            return request
        try:
            return self._codec.decode(lease.body)
        except NotReadableYet as error:
            logger.debug("A stored request of slot %r waits: %s", lease.slot, error)
            self._stats.inc_value("mocra/scheduler/put_off")
            self._never_departs(lease)
            again = Entry(
                lease.body,
                lease.slot,
                lease.priority,
                None,
                lease.start,
                PUT_OFF,
                tuple(lease.scopes),
                lease.budgets,
                again=True,
            )
            self._outbox.push(again, None)
            self._outbox.ack(lease)
            return None
        except Exception as error:  # a codec of the project's own may raise anything
            if not isinstance(error, UnreadablePayload):
                logger.exception("MOCRA_CODEC raised something else than UnreadablePayload")
            logger.error("A stored request of slot %r can't be read and is a dead letter now: %s", lease.slot, error)
            is_seed = isinstance(error, UnreadableSeed)
            self._stats.inc_value("mocra/dead/seed" if is_seed else "mocra/scheduler/unreadable")
            self._never_departs(lease)
            detail = str(error) or type(error).__name__
            self._outbox.bury(Burial(lease, "seed", detail) if is_seed else Burial(lease, "unreadable", detail))
            return None
