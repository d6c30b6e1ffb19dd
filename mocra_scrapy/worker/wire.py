"""Where requests leave, whatever way they came."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from mocra_scrapy.engine.slot_delay import assigned_slot_dropped
from mocra_scrapy.worker.bypass import Bypass
from mocra_scrapy.worker.departures import Departures

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from scrapy import Request
    from scrapy.statscollectors import StatsCollector

    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.worker.deliveries import Deliveries, Delivery
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.slot_policy import SlotPolicy


class Wire:
    """Of one worker; nothing is looked at where each worker is polite for itself.

    Args:
        paced: slots that have an interval, see :class:`~mocra_scrapy.worker.inbox.Inbox`.

    Attributes:
        bypass: requests that the queue did not hand out.
    """

    def __init__(
        self,
        parts: WorkerParts,
        status: QueueStatus,
        engine: EngineHooks,
        deliveries: Deliveries,
        *,
        policy: SlotPolicy,
        paced: Collection[str],
        stats: StatsCollector,
    ) -> None:
        self._deliveries = deliveries
        self._paced = paced
        self._by_id = deliveries.by_id
        self._departures = Departures(parts, policy.permits, deliveries.send_back, stats, status.store)
        self.bypass = Bypass(
            parts,
            status,
            engine,
            policy=policy,
            permits=policy.permits,
            before_the_wire=deliveries.before_the_wire,
            lend=deliveries.lend,
            stats=stats,
        )

    def leaves(self, request: Request) -> Coroutine[Any, Any, Request | None] | None:
        """See :meth:`mocra_scrapy.runtime.running_worker.RunningWorker.leaves`."""
        delivery = self._by_id.get(id(request))
        # Fetched once more, inline in its own callback, it is booked by nobody.
        if delivery is not None and delivery.lease is not None and delivery.fetches <= 1:
            if self.bypass.out and self.bypass.is_in_the_way(delivery.names):
                return self._when_there_is_room(request, delivery)
            if delivery.departs is None and self._paced and delivery.names[0] in self._paced:
                self._deliveries.waited(request)  # it was leased before its slot had an interval
            if delivery.departs is None:
                delivery.sent = True
                return None
            return self._departures.check(request, delivery)
        assigned_slot_dropped(request)
        return self.bypass.depart(request, bounded=delivery is None or delivery.lease is not None)

    async def _when_there_is_room(self, request: Request, delivery: Delivery) -> Request | None:
        await self.bypass.make_way(delivery.names)
        late = self._departures.check(request, delivery) if delivery.departs is not None else None
        delivery.sent = late is None
        return None if late is None else await late

    def not_sent(self, request: Request) -> None:
        """*request* was answered or refused on its way here."""
        self._deliveries.not_sent(request)

    def left_downloader(self, request: Request) -> None:
        """*request* left the downloader."""
        self._deliveries.downloaded(request)
        if self.bypass.out:
            self.bypass.left(request)

    def finished(self, request: Request) -> None:
        """The engine let go of *request*."""
        self._deliveries.finished(request)
        if self.bypass.out:
            self.bypass.left(request)
