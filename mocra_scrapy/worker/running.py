"""How an open worker obeys what it was told from outside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.models import CrawlState, QueueSize
    from mocra_scrapy.worker.deliveries import Deliveries
    from mocra_scrapy.worker.inbox import Inbox
    from mocra_scrapy.worker.outbox import Outbox
    from mocra_scrapy.worker.queue_status import QueueStatus
    from mocra_scrapy.worker.seeding import Seeder
    from mocra_scrapy.worker.wire import Wire

#: Seconds between two looks whether an engine that is being opened has begun: what closes before
#: that is closed half.
LOOK = 0.05


class Running:
    """See :class:`mocra_scrapy.runtime.running_worker.RunningWorker`."""

    def __init__(
        self,
        status: QueueStatus,
        engine: EngineHooks,
        inbox: Inbox,
        outbox: Outbox,
        *,
        deliveries: Deliveries,
        seeder: Seeder,
        wire: Wire,
    ) -> None:
        self._status = status
        self._engine = engine
        self._inbox = inbox
        self._outbox = outbox
        self._deliveries = deliveries
        self._seeder, self.feeder = seeder, seeder.feeder
        self.leaves, self.not_sent = wire.leaves, wire.not_sent
        self.waited = deliveries.waited

    @property
    def held(self) -> dict[str, int]:
        return {
            "in_flight": len(self._deliveries),
            "inbox": len(self._inbox),
            "outbox": len(self._outbox),
            "downloading": self._engine.downloading,
        }

    @property
    def away(self) -> bool:
        return self._status.away_since is not None

    @property
    def run(self) -> int:
        return self._status.state.run

    @property
    def state(self) -> CrawlState:
        return self._status.state

    @property
    def size(self) -> QueueSize:
        return self._status.size

    def take_work(self) -> None:
        if self._status.closing:
            return
        self._status.leasing = True
        self._status.dry = False
        self.look_again()

    def give_back(self) -> None:
        self._status.leasing = False
        self._inbox.give_back()
        self.look_again()

    def take_no_more(self) -> None:
        self._status.leasing = False
        self._seeder.stop()
        self.look_again()

    def look_again(self) -> None:
        self._status.kick()
        self._engine.wake()

    def close_spider(self, reason: str) -> None:
        if self._engine.running:
            self._engine.close_spider(reason)
        elif not self._status.closing:
            asyncio.get_running_loop().call_later(LOOK, self.close_spider, reason)

    def has_interval(self, slot: str, *, longer: bool) -> None:
        self._inbox.has_interval(slot, longer=longer)
        if longer:
            self._deliveries.book_anew(slot)
        self.look_again()

    def send_back(self, request: Request) -> bool:
        delivery = self._deliveries.by_id.get(id(request))
        if delivery is None or delivery.lease is None or delivery.sent or delivery.fetches > 1:
            return False
        self._deliveries.send_back(delivery)
        return True

    def set_concurrency(self, number: int) -> None:
        self._engine.set_concurrency(number)
