"""``Deaths``: notices that other workers of the crawl died, and says so.

A death on this machine is seen by the sign that the worker gave
(:mod:`mocra_scrapy.runtime.sign_of_life`); the queue is told, and what it held comes back at once.
Of others it is only known that they are silent: until their lease runs out this says who, since
when, and what comes back then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from mocra_scrapy.interfaces import IRequestQueue
    from mocra_scrapy.models import WorkerInfo
    from mocra_scrapy.runtime.sign_of_life import Signs

logger = logging.getLogger(__name__)

LOOK = 1.0  # s between two looks for signs of the dead: no call of a server, some calls of the kernel
#: Looks at the list of workers, by all of them together, a second at most: each costs the queue
#: something for every worker.
LISTINGS = 10.0


class Deaths:
    """A component of :class:`~mocra_scrapy.runtime.Mocra`, where the backend is shared.

    Args:
        lease, idle_poll: see ``MOCRA_LEASE`` and ``MOCRA_IDLE_POLL``.
        pace: s between two looks at the list of workers, at least: ``MOCRA_HEARTBEAT``.
        count: adds one to a stat.
        died: called with the name of a worker that died, and what it held, where that is known.
        clock: seconds, for silences.
    """

    def __init__(
        self,
        queue: IRequestQueue,
        worker: str,
        signs: Signs,
        *,
        lease: float,
        idle_poll: float,
        pace: float,
        count: Callable[[str], None],
        died: Callable[[str, int | None], None] = lambda worker, held: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._signs = signs
        self._pace = pace
        self._count = count
        self._died = died
        self._clock = clock
        self._lease = lease
        # A worker calls every idle_poll seconds, or every third of a lease, ± a quarter.
        self._silent = max(lease / 3, min(3 * idle_poll, 0.6 * lease))
        self._told: dict[str, float] = {}  # silent workers -> when they were heard of last, monotonic
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        self._signs.give(self._worker)
        with contextlib.suppress(MocraError):  # looked for again in a second
            await self.look()  # who is started after a crash finds here what is left of it
        self._tasks = [asyncio.create_task(self._watch(), name="mocra deaths")]

    async def close(self) -> None:
        await end_tasks(self._tasks)
        self._tasks = []
        self._signs.take_back(self._worker)

    async def _watch(self) -> None:
        listing = self._clock() + self._pace * random.uniform(0.5, 1.5)  # noqa: S311 - not all at once
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.look()
                if self._clock() >= listing:
                    number = await self._list()
                    pause = max(self._pace, number / LISTINGS) * random.uniform(0.75, 1.25)  # noqa: S311
                    listing = self._clock() + pause
            except MocraError as error:  # of an outage the exchanges tell; who was found is found again
                logger.debug("Looking for dead workers failed: %s", error)

    # ------------------------------------------------------------------ on this machine

    async def look(self) -> None:
        """Look for those that died on this machine, and tell the queue."""
        async for name, held in declare_dead(self._queue, self._signs):
            self._count("mocra/worker/deaths_seen")
            self._told.pop(name, None)
            self._died(name, held)
            logger.warning(
                "Worker %s died: its process is gone. %s",
                name,
                f"{counted(held, 'request')} that it held {_return(held)} now" if held else "It held no request",
            )

    # ------------------------------------------------------------------ anywhere

    async def _list(self) -> int:
        """Look at the list of workers; how many there are."""
        workers = {info.name: info for info in await self._queue.workers()}
        now = self._clock()
        for info in workers.values():
            silence = self._lease - info.expires_in
            if info.name == self._worker:
                continue
            if silence < self._silent:
                if self._told.pop(info.name, None) is not None:
                    logger.info("Worker %s answers again", info.name)
            elif info.name not in self._told:
                self._told[info.name] = now - silence
                self._tell(info, silence)
        for name in self._told.keys() - workers.keys():
            silence = now - self._told.pop(name)
            if silence < self._lease:
                logger.info("Worker %s is gone; it left, or somebody saw it die", name)
            else:
                self._died(name, None)
                logger.warning(
                    "Worker %s is considered dead after %.0f s of silence (MOCRA_LEASE = %g s); what it held has returned",
                    name,
                    silence,
                    self._lease,
                )
        return len(workers)

    def _tell(self, info: WorkerInfo, silence: float) -> None:
        since = time.strftime("%H:%M:%S", time.localtime(time.time() - silence))
        logger.warning(
            "Worker %s has not been heard of since %s; %s",
            info.name,
            since,
            f"{counted(info.held, 'request')} that it holds {_return(info.held)} within {max(0.0, info.expires_in):.0f} s"
            f" (MOCRA_LEASE = {self._lease:g} s)"
            if info.held
            else "it holds no request",
        )


async def declare_dead(queue: IRequestQueue, signs: Signs) -> AsyncIterator[tuple[str, int]]:
    """Tell the queue of the workers that died on this machine; their names, and how many requests each
    held.
    """
    for dead in signs.dead():
        with dead:
            held = await queue.declare_dead(dead.name) if dead.is_worker else None
            dead.forget()
        if held is not None:
            yield dead.name, held


def _return(number: int) -> str:
    return "returns" if number == 1 else "return"
