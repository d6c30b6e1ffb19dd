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
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from scrapy import Request
from scrapy.exceptions import CloseSpider

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.models import Seeding
from mocra_scrapy.worker.deliveries import Deliveries, Delivery
from mocra_scrapy.worker.exchange_loop import BATCH

if TYPE_CHECKING:
    from mocra_scrapy.engine.hooks import EngineHooks
    from mocra_scrapy.runtime import Mocra
    from mocra_scrapy.worker.exchange_loop import ExchangeLoop
    from mocra_scrapy.worker.outbox import Outbox

logger = logging.getLogger(__name__)

#: Seeds after which control is given back to the loop, whatever ``start()`` does: heartbeats must
#: go out.
BREATH = 50


class Seeder:
    """Stands between the engine and ``start()`` in each worker.

    Attributes:
        delivery: what local seeds (that can't be stored) have as their parent: seeding is complete
            when they are done.
        settled: set when it is.
    """

    def __init__(
        self,
        mocra: Mocra,
        engine: EngineHooks,
        turns: ExchangeLoop,
        outbox: Outbox,
        deliveries: Deliveries,
        *,
        starving: Callable[[], bool],
    ) -> None:
        self._mocra = mocra
        self._options = mocra.options
        self._engine = engine
        self._turns = turns
        self._outbox = outbox
        self._deliveries = deliveries
        self._starving = starving
        self._seed: Request | None = None
        self._place = 0
        self._stopped = asyncio.Event()
        self._starved: asyncio.Event | None = None  # while this waits because there is enough
        self.delivery = Delivery(None, None, None)
        self.settled = asyncio.Event()

    def is_seed(self, request: Request) -> bool:
        """Whether *request* is the one that ``start()`` gave last (not a retry or a redirect of
        it).
        """
        return request is self._seed

    def fingerprint(self, fingerprint: bytes | None, body: bytes) -> bytes:
        """What names a seed: its own fingerprint, else its place and its content."""
        if fingerprint is not None:
            return fingerprint
        return hashlib.blake2b(b"seed %d %d " % (self._turns.state.run, self._place) + body, digest_size=16).digest()

    def stop(self) -> None:
        """The worker closes: stop waiting."""
        self._stopped.set()

    def look_again(self) -> None:
        """The engine got nothing: what is pending may be nothing that can be fetched."""
        if self._starved is not None and not self._enough():
            self._starved.set()

    async def run(self, start: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """What the engine iterates in place of *start*."""
        if not await self._may_seed():
            return
        logger.info("This worker seeds run %d of crawl %r", self._turns.state.run, self._mocra.crawl)
        try:
            async for item in start:
                if self._stopped.is_set():
                    return  # interrupted: whoever comes next seeds again
                self._place += 1
                if isinstance(item, Request):
                    self._give(item)
                else:
                    yield item
                await self._breathe()
        except CloseSpider as closing:
            # The crawl is interrupted, not seeded. Scrapy before 2.18 does not close for this, and
            # we would wait for ever.
            self._engine.close_spider(closing.reason or "cancelled")
            raise
        except Exception:
            # Scrapy logs it and goes on with what it has; run again it would only fail again, on
            # one worker after the other.
            await self._complete()
            raise
        await self._complete()

    def _give(self, request: Request) -> None:
        """Schedule a seed as the engine would, but not at its pace: that of this one downloader,
        while others wait for work.
        """
        self._seed = request
        try:
            self._engine.crawl(request)
        finally:
            self._seed = None

    async def nothing_to_seed(self) -> None:
        """There is no ``start()`` in this process: don't keep the crawl waiting for one."""
        if await self._mocra.queue.claim_seeding(self._mocra.worker):
            await self._mocra.queue.complete_seeding(self._mocra.worker)

    async def _may_seed(self) -> bool:
        """Wait until it is clear who seeds."""
        turns, mocra = self._turns, self._mocra
        while not self._stopped.is_set():
            if turns.state.finished or turns.state.seeding is Seeding.DONE:
                return False
            if not turns.leasing:
                await self._either(turns.changed())  # paused
            elif await turns.insist(lambda _: mocra.queue.claim_seeding(mocra.worker)):
                return True
            else:
                await self._either(turns.changed())
        return False

    async def _breathe(self) -> None:
        """Let the loop run now and then, and wait while too much is not stored yet."""
        if self._place % BREATH == 0:
            await asyncio.sleep(0)
        while self._enough() and not self._stopped.is_set():
            self._turns.kick()
            self._starved = asyncio.Event()
            await self._either(self._turns.changed(), self._starved.wait())
        self._starved = None

    def _enough(self) -> bool:
        """Whether more seeds would only lie about: unsent here, or in the queue, as long as what is
        there can be fetched; or paused.
        """
        turns, unsent = self._turns, len(self._outbox)
        if not turns.leasing or unsent > self._options.outbox_max // 2:
            return True
        # Whether what is unsent can be fetched shows when it is stored: that is waited for, a batch
        # at a time.
        return turns.size.pending + unsent > self._options.seeds_ahead and (unsent >= BATCH or not self._starving())

    async def _complete(self) -> None:
        """All seeds are out: wait until they are stored (local ones: done), then say so to the
        cluster.
        """
        turns, mocra = self._turns, self._mocra
        await self._either(turns.stored())
        self._deliveries.end(self.delivery)
        await self._either(self.settled.wait())
        if self._stopped.is_set() and not self.settled.is_set():
            return  # whoever comes next seeds again
        if not await turns.insist(lambda _: mocra.queue.complete_seeding(mocra.worker)):
            logger.warning("Another worker has taken over the seeding of crawl %r meanwhile", mocra.crawl)
        turns.kick()

    async def _either(self, *awaitables: Coroutine[Any, Any, object]) -> None:
        """Wait for one of *awaitables* or for the end."""
        tasks = [asyncio.ensure_future(awaitable) for awaitable in (*awaitables, self._stopped.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_tasks(tasks)
