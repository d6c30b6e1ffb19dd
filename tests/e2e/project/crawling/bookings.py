"""The scheduler, with a record of what the server booked and what came of it: a machine that is busy
delays arrivals, but none of this.

One event ``bookings`` when the spider closes. ``used``: of each lease that was acknowledged its
slot and bounds of its instant: the server's lies between ``sent`` and ``received`` plus what it
answered, the worker's between ``received`` and ``taken``; ``rebooked``: it was late at the wire, and
got another one there. ``gone``: slot and time, before the scheduler was asked, of each request that
it gave out. ``instants``: slot and ``taken`` of each lease. ``waited``: seconds for which this
process waited for a processor; ``busy``: their part of the time. Times are :func:`time.monotonic`.
"""

import asyncio
import time

from scrapy import signals

from crawling.watch import waited_for_a_processor
from mocra_scrapy.scheduler import Scheduler


class Recording(Scheduler):
    def open(self, spider):
        self.leased, self.used, self.gone, self.departures, self.instants = {}, [], [], {}, []
        self.began, self.waited = time.monotonic(), waited_for_a_processor()
        queue, self.exchange = self.mocra.queue, self.mocra.queue.exchange
        queue.exchange = self.recorded
        limiter, self.reserve = self.mocra.limiter, self.mocra.limiter.reserve
        limiter.reserve = self.rebooked
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
            self.departures[lease.departure] = self.leased[lease.token]
        # It is taken in within the same step of the event loop: this comes after it.
        asyncio.get_running_loop().call_soon(self.note, now)
        return answer

    async def rebooked(self, wishes, **kwargs):
        """A request that was late at the wire takes another departure in place of its own."""
        sent = time.monotonic()
        answers = await self.reserve(wishes, **kwargs)
        received = time.monotonic()
        for wish, answer in zip(wishes, answers, strict=True):
            old = None if wish.instead is None else self.departures.pop(wish.instead, None)
            if old is not None and answer.booked:
                old.update(sent=sent + answer.wait, received=received + answer.wait, rebooked=True)
                self.departures[answer.departure] = old
        return answers

    def note(self, leases):
        for one in leases:
            one["taken"] = time.monotonic() + one["wait"]
            self.instants.append((one["slot"], one["taken"]))

    def next_request(self):
        before = time.monotonic()
        request = super().next_request()
        if request is not None:
            self.gone.append((request.meta.get("download_slot"), before))
        return request

    def tell(self, spider):
        waited = waited_for_a_processor() - self.waited
        busy = waited / (time.monotonic() - self.began)
        for watch in self.crawler.extensions.middlewares:
            if type(watch).__name__ == "Watch":
                told = {"used": self.used, "gone": self.gone, "instants": self.instants}
                watch.tell("bookings", **told, busy=busy, waited=waited)
