"""The scheduler, with a record of what the server booked and what came of it: a machine that is busy
delays arrivals, but none of this.

One event ``bookings`` when the spider closes. ``used``: of each request of the queue's that left with
a departure its slot, scopes and path, and

* ``at``: its instant by the server's clock, which is this machine's; the worker's lies between that and
  ``taken``;
* ``booked``: whether the server had booked it for this worker, which had neither used it nor given it
  back; ``how``: it is the one that the request was handed out with (``leased``), came to it from
  another request that did not leave (``handed on``), or was booked at the wire (``rebooked``);
* ``left``: when it was looked at for the last time, and ``late``: how long after its instant that was,
  without what others took of the processor meanwhile.

``others``: slot, scopes and ``at`` of what was booked besides: for requests that bypass the queue, and what was not used.

``waited``: seconds for which this process waited for a processor; ``busy``: their part of the time.
Times are :func:`time.monotonic`.
"""

import asyncio
import time
from contextvars import ContextVar
from urllib.parse import urlsplit

from scrapy import signals

from crawling.watch import waited_for_a_processor
from mocra_scrapy.scheduler import Scheduler

#: What was booked at the wire for the request that is looked at there.
REBOOKED = ContextVar("rebooked")


def wall_is_ahead():
    """Seconds by which the wall clock is ahead of the monotonic one. Who loses the processor between two looks sees
    less.
    """
    return max(time.time() - time.monotonic() for _ in range(5))


class Recording(Scheduler):
    def open(self, spider):
        self.booked, self.used = {}, []  # departure -> its bounds, until it is used or given back
        self.began, self.waited = time.monotonic(), waited_for_a_processor()
        queue, self.exchange = self.mocra.queue, self.mocra.queue.exchange
        queue.exchange = self.recorded
        limiter, self.reserve = self.mocra.limiter, self.mocra.limiter.reserve
        limiter.reserve = self.reserved
        state, self.attach = self.mocra.worker_state, self.mocra.worker_state.attach
        state.attach = self.attached
        self.crawler.signals.connect(self.tell, signals.spider_closed)
        return super().open(spider)

    # What the server says.

    async def recorded(self, *args, **kwargs):
        for departure in kwargs["bounds"].unused:
            self.booked.pop(departure, None)
        answer = await self.exchange(*args, **kwargs)
        for lease in answer.leases:
            self.book(lease.departure, lease.wait)
        return answer

    async def reserved(self, wishes, **kwargs):
        for wish in wishes:
            self.booked.pop(wish.instead, None)
        answers = await self.reserve(wishes, **kwargs)
        for answer in answers:
            if answer.booked:
                self.book(answer.departure, answer.wait)
                REBOOKED.get([]).append(answer.departure)
        return answers

    def book(self, departure, wait):
        if departure is not None:
            at = departure.at - wall_is_ahead()
            self.booked[departure] = bounds = {"at": at}
            # It is taken in within the same step of the event loop: this comes after it.
            asyncio.get_running_loop().call_soon(lambda: bounds.update(taken=time.monotonic() + wait))

    # What leaves.

    def attached(self, running):
        self.leaves, self.by_id = running.leaves, running._deliveries.by_id
        running.leaves = self.looked_at
        return self.attach(running)

    def looked_at(self, request):
        delivery = self.by_id.get(id(request))
        instant = None if delivery is None or delivery.lease is None else delivery.departs
        before = time.monotonic()  # not later than the worker looks
        answer = self.leaves(request)
        if instant is None:
            return answer
        if answer is None:
            how = "leased" if instant.departure == delivery.lease.departure else "handed on"
            self.leaving(request, delivery.lease, instant.departure, how=how, left=before, late=before - instant.at)
            return None
        return self.looked_at_again(request, delivery.lease, answer)

    async def looked_at_again(self, request, lease, answer):
        bookings, waited = [], waited_for_a_processor()
        REBOOKED.set(bookings)
        again = await answer
        left, lag = time.monotonic(), waited_for_a_processor() - waited
        if again is None:
            departure = bookings[-1]
            taken = self.booked.get(departure, {}).get("taken", left)
            self.leaving(request, lease, departure, how="rebooked", left=left, late=left - taken - lag)
        return again

    def leaving(self, request, lease, departure, **facts):
        if departure is None:
            return  # it only had to wait
        bounds = self.booked.pop(departure, None)
        what = {"slot": lease.slot, "scopes": lease.scopes, "path": urlsplit(request.url).path}
        self.used.append((bounds, {**what, "booked": bounds is not None, **facts}))

    def tell(self, spider):
        waited = waited_for_a_processor() - self.waited
        busy = waited / (time.monotonic() - self.began)
        used = [{**(bounds or {}), **facts} for bounds, facts in self.used]
        others = [{"slot": one.names[0], "scopes": one.names[1:], **bounds} for one, bounds in self.booked.items()]
        for watch in self.crawler.extensions.middlewares:
            if type(watch).__name__ == "Watch":
                watch.tell("bookings", others=others, used=used, busy=busy, waited=waited)
