"""The scheduler, with a record of what the server booked and what came of it: a machine that is busy
delays arrivals, but none of this.

One event ``bookings`` when the spider closes. ``used``: of each lease that was acknowledged its
slot and bounds of its instant: the server's lies between ``sent`` and ``received`` plus what it
answered, the worker's between ``received`` and ``taken``. ``gone``: slot and time, before the
scheduler was asked, of each request that it gave out. ``waited``: seconds for which this process
waited for a processor; ``busy``: their part of the time. Times are :func:`time.monotonic`.
"""

import asyncio
import time

from scrapy import signals

from crawling.watch import waited_for_a_processor
from mocra_scrapy.scheduler import Scheduler


class Recording(Scheduler):
    def open(self, spider):
        self.leased, self.used, self.gone = {}, [], []
        self.began, self.waited = time.monotonic(), waited_for_a_processor()
        queue, self.exchange = self.mocra.queue, self.mocra.queue.exchange
        queue.exchange = self.recorded
        self.crawler.signals.connect(self.tell, signals.spider_closed)
        return super().open(spider)

    async def recorded(self, *args, ack=(), **kwargs):
        sent = time.monotonic()
        answer = await self.exchange(*args, ack=ack, **kwargs)
        received = time.monotonic()
        self.used += [self.leased[lease.token] for lease in ack if lease.token in self.leased]
        now = []
        for lease in answer.leases:
            bounds = {"sent": sent + lease.wait, "received": received + lease.wait, "wait": lease.wait}
            self.leased[lease.token] = {"slot": lease.slot, "scopes": lease.scopes, **bounds}
            now.append(self.leased[lease.token])
        # It is taken in within the same step of the event loop: this comes after it.
        asyncio.get_running_loop().call_soon(self.note, now)
        return answer

    @staticmethod
    def note(leases):
        for one in leases:
            one["taken"] = time.monotonic() + one["wait"]

    def next_request(self):
        before = time.monotonic()
        request = super().next_request()
        if request is not None:
            self.gone.append((request.meta["download_slot"], before))
        return request

    def tell(self, spider):
        waited = waited_for_a_processor() - self.waited
        busy = waited / (time.monotonic() - self.began)
        for watch in self.crawler.extensions.middlewares:
            if type(watch).__name__ == "Watch":
                watch.tell("bookings", used=self.used, gone=self.gone, busy=busy, waited=waited)
