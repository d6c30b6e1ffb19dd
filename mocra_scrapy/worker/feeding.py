"""What feeds a crawl beside ``start()``: seeds of sources, on their way into the outbox, and the worker
that reads those sources that have positions.

That is the worker that seeds, whose death is noticed and whose place is taken as ever. Seeding is not
complete while a source may give something, so no worker leaves before. What a source gave is pushed in
its order, and its position behind it: the queue stores both in one step, and refuses the position of
a worker that has been replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.models import Entry

if TYPE_CHECKING:
    from scrapy import Request

    from mocra_scrapy.codec.dictionaries import Insist
    from mocra_scrapy.coordination.queue_session import QueueSession
    from mocra_scrapy.runtime.feeding import Sources
    from mocra_scrapy.worker.outbox import Outbox
    from mocra_scrapy.worker.queue_status import QueueStatus

#: The position that says in which run ``start()`` was exhausted: whoever takes over need not repeat it.
START = "start()"
#: Seconds between two looks of somebody who waits for a source.
LOOK = 0.5


class Feeder:
    """See :class:`mocra_scrapy.runtime.feeding.Feeder`.

    Args:
        feed, room: of the :class:`~mocra_scrapy.worker.seeding.Seeder`.
        stopped: set when the worker seeds no more.
    """

    def __init__(
        self,
        status: QueueStatus,
        outbox: Outbox,
        *,
        feed: Callable[[Request, bytes | None], None],
        room: Callable[[], Awaitable[bool]],
        stopped: asyncio.Event,
    ) -> None:
        self._status, self._outbox = status, outbox
        self.give, self._room = feed, room
        self._stopped = stopped

    @property
    def run(self) -> int:
        return self._status.state.run

    @property
    def is_stopped(self) -> bool:
        return self._stopped.is_set()

    @property
    def is_drained(self) -> bool:
        return not self._outbox and not self._status.size.unfinished

    @property
    def misplaced(self) -> int:
        return self._outbox.misplaced

    async def pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    async def room(self) -> bool:
        return await self._room()

    def give_as_it_is(self, body: bytes, name: bytes | None) -> None:
        self._outbox.push(Entry(body, "", 0, name), None)
        self._status.kick()

    def place(self, source: str, position: bytes) -> None:
        self._outbox.place(source, position)
        self._status.kick()

    def forget_places(self) -> None:
        """See :meth:`mocra_scrapy.worker.outbox.Outbox.forget_places`."""
        self._outbox.forget_places()

    async def stored(self) -> bool:
        mark, born = self._outbox.put, self._status.state.born
        while self._outbox.confirmed < mark:
            if self._stopped.is_set() and self._status.finished:
                return False
            self._status.kick()
            try:
                await asyncio.wait_for(self._status.changed(), LOOK)
            except asyncio.TimeoutError:
                continue  # a worker that closes is told nothing any more
        return self._status.state.born == born


class Feeding:
    """One worker's turn at the sources that have positions."""

    def __init__(
        self, feeder: Feeder, sources: Sources, status: QueueStatus, session: QueueSession, insist: Insist
    ) -> None:
        self._feeder, self._sources, self._status = feeder, sources, status
        self._session, self._insist = session, insist
        self._born = status.state.born
        self._task: asyncio.Task[bool] | None = None

    async def begin(self) -> bool:
        """Read on from where the crawl stands; whether ``start()`` was exhausted in this run before."""
        self._feeder.forget_places()  # of a crawl that is gone: its seeds are not in this one
        positions = await self._insist(lambda _: self._session.queue.positions())
        self._task = asyncio.create_task(self._sources.read(self._feeder, positions), name="mocra seeds")
        return bool(positions.get(START) == self._mark)

    @property
    def _mark(self) -> bytes:
        return str(self._status.state.run).encode()

    async def rest(self, may_seed: Callable[[], Awaitable[bool]], is_stored: Callable[[], bool]) -> bool:
        """``start()`` is exhausted: wait until the sources are. ``False``: this worker seeds no more.

        Args:
            is_stored: whether nothing that ``start()`` gave lives in this process alone.
            may_seed: waits for the place of the worker that seeds, when another one has taken it.
        """
        try:
            while True:
                if is_stored():
                    self._feeder.place(START, self._mark)
                if not await self._ended():
                    return False
                assert self._task is not None
                if self._task.result():
                    return True
                if not await may_seed():
                    return False
                await self.begin()
        finally:
            await self.end()

    async def _ended(self) -> bool:
        assert self._task is not None
        while not self._task.done():
            if self._feeder.is_stopped or self._status.state.born != self._born:
                return False
            await asyncio.wait({self._task}, timeout=LOOK)
        return True

    async def end(self) -> None:
        """Read no more. May be called twice."""
        task, self._task = self._task, None
        if task is not None:
            await end_tasks([task])
