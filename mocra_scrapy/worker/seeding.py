"""Seeding: one worker of the cluster runs ``start()``; when it dies another one does; a finished
seeding is remembered.

Whoever takes over runs ``start()`` again from its beginning. What was stored already is filtered:
by its fingerprint, or, for requests with ``dont_filter``, by one made of its place in ``start()``
and of what it is. So nothing is stored twice when ``start()`` gives the same requests in the same
order, and nothing is lost when it doesn't.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.exceptions import CloseSpider

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.coordination.generators import interruptible
from mocra_scrapy.models import Seeding
from mocra_scrapy.worker.deliveries import Deliveries, Delivery
from mocra_scrapy.worker.feeding import Feeder, Feeding
from mocra_scrapy.worker.outbox import BATCH

if TYPE_CHECKING:
    from mocra_scrapy.codec.dictionaries import Insist
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.runtime.worker_state import WorkerParts
    from mocra_scrapy.worker.outbox import Outbox
    from mocra_scrapy.worker.queue_status import QueueStatus

logger = logging.getLogger(__name__)

#: Seeds after which control is given back to the loop, whatever ``start()`` does: heartbeats must
#: go out.
BREATH = 50


async def nothing() -> AsyncIterator[Any]:
    """In place of a ``start()`` that was exhausted before."""
    for item in list[Any]():
        yield item


class Seeder:
    """Stands between the engine and ``start()`` in each worker.

    Args:
        starving: whether nothing that is pending can be fetched by this worker.
        insist: repeats a call until the backend answers.

    Attributes:
        feeder: takes in what sources give.
        fed: whether the seed that is taken in now comes from a source, not from ``start()``.
        delivery: what local seeds (that can't be stored) have as their parent: seeding is complete
            when they are done.
    """

    def __init__(
        self,
        parts: WorkerParts,
        status: QueueStatus,
        engine: EngineHooks,
        outbox: Outbox,
        deliveries: Deliveries,
        *,
        starving: Callable[[], bool],
        insist: Insist,
    ) -> None:
        self._session = parts.session
        # Where the engine's question is answered at once, it gets what start() gives at its own
        # pace, as in plain Scrapy; else that would be the pace of this one downloader, while others
        # wait for work.
        self._at_pace = parts.immediate
        self._crawl = parts.crawl
        self._options = parts.options
        self._status = status
        self._engine = engine
        self._outbox = outbox
        self._deliveries = deliveries
        self._starving = starving
        self._insist = insist
        self._state = parts.state
        self._seed: Request | None = None
        self._name: bytes | None = None
        self._place = 0
        self._stopped = asyncio.Event()
        self._starved, self._waiting = asyncio.Event(), 0  # of those that wait because there is enough
        self._settled = asyncio.Event()
        self.delivery = Delivery(None, None, None, on_settled=self._settled.set)
        self.fed, self._claim_due = False, 0.0
        self.feeder = Feeder(status, outbox, feed=self.feed, room=self.room, stopped=self._stopped)

    def is_seed(self, request: Request) -> bool:
        """Whether *request* is the one that ``start()`` gave last (not a retry or a redirect of
        it).
        """
        return request is self._seed

    def taken(self) -> None:
        """The seed was taken in. From now on its object may be anybody's."""
        self._seed = None

    def fingerprint(self, fingerprint: bytes | None, body: bytes) -> bytes | None:
        """What names a seed: its own fingerprint, else its place and its content; of one from a source
        without places nothing does.
        """
        if fingerprint is not None:
            return fingerprint
        if self.fed:
            return self._name
        return hashlib.blake2b(b"seed %d %d " % (self._status.state.run, self._place) + body, digest_size=16).digest()

    def stop(self) -> None:
        """The worker closes: stop waiting."""
        self._stopped.set()

    def look_again(self) -> None:
        """The engine got nothing: what is pending may be nothing that can be fetched."""
        if self._waiting and not self._enough():
            self._starved.set()

    def feed(self, request: Request, name: bytes | None) -> None:
        """Schedule a seed of a source. *name*: of its place there; ``None``: it has none.

        Raises:
            Exception: it can't be taken in: whatever the filter, the codec or a handler of a signal raises.
        """
        self._seed, self._name, self.fed = request, name, True
        try:
            self._engine.crawl(request)
        finally:
            self._seed, self._name, self.fed = None, None, False

    async def run(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """What the engine iterates in place of *start*."""
        if not await self._may_seed():
            return
        born, feeding, is_through = self._begin(), self._feeding(), False
        logger.info("This worker seeds run %d of crawl %r", self._status.state.run, self._crawl)
        try:
            is_done = feeding is not None and await feeding.begin()
            async for item in interruptible(start) if not is_done else nothing():
                if self._stopped.is_set() or self._status.state.born != born:
                    return  # interrupted: whoever comes next seeds again
                self._place += 1
                if self._at_pace or not isinstance(item, Request) or not self._give(item):
                    self._seed = item if isinstance(item, Request) else None
                    yield item
                await self._breathe()
            is_through = True
        except CloseSpider as closing:
            # The crawl is interrupted, not seeded. Scrapy before 2.18 does not close for this, and
            # we would wait for ever.
            self._engine.close_spider(closing.reason or "cancelled")
            raise
        except Exception:
            # Scrapy logs it, goes on with what it has, and closes with the reason "start_error".
            # A crawl whose start() broke off is not seeded: the next run begins it again.
            self._status.start_failed = True
            raise
        finally:
            if feeding is not None and not is_through:
                await feeding.end()
        if feeding is not None and not await self._rest(feeding):
            return
        await self._complete(born)

    async def _rest(self, feeding: Feeding) -> bool:
        """What :meth:`Feeding.rest` says. What it raises ends the crawl as an error of ``start()`` does."""
        try:
            return await feeding.rest(self._may_seed, lambda: not self.delivery.waits_for)
        except Exception:
            self._status.start_failed = True
            raise

    def _feeding(self) -> Feeding | None:
        """``None``: nothing but ``start()`` feeds this crawl."""
        sources = self._state.sources
        return None if sources is None else Feeding(self.feeder, sources, self._status, self._session, self._insist)

    def _begin(self) -> int:
        """Seed from the beginning, perhaps again; what tells the record in which this counts."""
        if self._settled.is_set():
            self._settled = asyncio.Event()
            self.delivery = Delivery(None, None, None, on_settled=self._settled.set)
        self._place = 0
        return self._status.state.born

    def _give(self, request: Request) -> bool:
        """Schedule a seed as the engine would, but not at its pace; ``False`` when that raises.

        Then the engine does it: a seed that can't be taken in (its fingerprinter raises) is no
        error of ``start()``, and Scrapy stops for it.
        """
        self._seed = request
        try:
            self._engine.crawl(request)
        except Exception:
            return False
        finally:
            self._seed = None
        return True

    async def nothing_to_seed(self) -> None:
        """There is no ``start()`` in this process: don't keep the crawl waiting for one."""
        if await self._claim():
            await self._session.queue.complete_seeding(self._session.worker)

    async def _claim(self, repeat: bool = False) -> bool:
        return await self._session.queue.claim_seeding(self._session.worker)

    async def _may_seed(self) -> bool:
        """Wait until it is clear who seeds."""
        status = self._status
        while not self._stopped.is_set():
            if status.state.finished or status.state.seeding is Seeding.DONE:
                return False
            if not status.leasing:
                await self._either(status.changed())  # paused
            elif self._may_claim() and await self._insist(self._claim):
                return True
            else:
                await self._either(status.changed())
        return False

    def _may_claim(self) -> bool:
        """With sources the seeding may go on for ever: who waits for it asks when it is free, or now and then."""
        now, is_free = time.monotonic(), self._status.state.seeding is Seeding.OPEN
        if self._state.sources is not None and not is_free and now < self._claim_due:
            return False
        self._claim_due = now + self._options.idle_poll
        return True

    async def _breathe(self) -> None:
        """Let the loop run now and then, and wait while too much is not stored yet."""
        if self._place % BREATH == 0:
            await asyncio.sleep(0)
        await self.room()

    async def room(self) -> bool:
        """Wait until more seeds are wanted; ``False``: this worker seeds no more."""
        while self._enough() and not self._stopped.is_set():
            self._status.kick()
            self._starved.clear()
            self._waiting += 1
            try:
                await self._either(self._status.changed(), self._starved.wait())
            finally:
                self._waiting -= 1
        return not self._stopped.is_set()

    def _enough(self) -> bool:
        """Whether more seeds would only lie about: unsent here, or in the queue, as long as what is
        there can be fetched; or paused.
        """
        status, unsent = self._status, len(self._outbox)
        if not status.leasing or self._outbox.is_full(self._options.outbox_max // 2):
            return True
        # Whether what is unsent can be fetched shows when it is stored: that is waited for, a batch
        # at a time.
        return status.size.pending + unsent > self._options.seeds_ahead and (unsent >= BATCH or not self._starving())

    async def _complete(self, born: int) -> None:
        """All seeds are in the outbox: wait until they are stored (local ones: done), then say so
        to the cluster.
        """
        mark = self._outbox.put
        await self._either(self._stored())
        if self._outbox.confirmed < mark:
            return  # the worker closes: whoever comes next seeds again, what is stored is filtered
        if self._status.state.born != born:
            return  # they were stored where nothing is any more
        self._deliveries.end(self.delivery)
        await self._either(self._settled.wait())
        if self._stopped.is_set() and not self._settled.is_set():
            return  # whoever comes next seeds again
        if self._status.state.born != born:
            return
        if not await self._insist(lambda _: self._session.queue.complete_seeding(self._session.worker)):
            logger.warning("Another worker has taken over the seeding of crawl %r meanwhile", self._crawl)
        elif self._status.state.born == born:
            # The next answer says so, too. Until then an engine with nothing to do would say it twice.
            self._status.state = replace(self._status.state, seeding=Seeding.DONE)
        self._status.kick()

    async def _stored(self) -> None:
        """Wait until everything that is in the outbox now is confirmed."""
        mark = self._outbox.put
        while self._outbox.confirmed < mark:
            self._status.kick()
            await self._status.changed()

    async def _either(self, *awaitables: Coroutine[Any, Any, object]) -> None:
        """Wait for one of *awaitables* or for the end."""
        tasks = [asyncio.ensure_future(awaitable) for awaitable in (*awaitables, self._stopped.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(tasks)
