"""No stampede: of those who want the same page that nobody has, one asks the site.

In a process the others wait for that one. Between workers a claim says who asks: an entry that ends by
itself, renewed while its worker lives.

.. code-block:: text

   A: get miss, add claim ✓ ─ asks the site ──────── set page, delete claim
   B: get miss, add claim ✗ ─ get, get, get … ────── get: hit
   A: get miss, add claim ✓ ─ asks the site ─ † killed
   B: get miss, add claim ✗ ─ get … ───────── the claim ends ─ add claim ✓ ─ asks the site
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import MocraError

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import ICache

logger = logging.getLogger(__name__)

T = TypeVar("T")
Aside = AbstractContextManager[object]

#: Seconds after which a claim that nobody renews ends, and between two renewals.
CLAIM, RENEW = 10.0, 3.0
#: Seconds for which a claim stays after its page was stored.
LINGER = 1.0
#: Seconds between two looks of who waits for another worker: the first, and the longest.
FIRST_LOOK, LONGEST_LOOK = 0.02, 0.5
#: Pages whose answer could not be stored: nobody waits for them again for so many seconds.
UNCACHEABLE, REMEMBERED = 10_000, 60.0


class Flights:
    """Of one worker.

    Args:
        claims: where claims are.
        worker: the name of this worker.
        longest: seconds for which a claim is renewed, at most: somebody may have lost a request.

    Attributes:
        waiting: how many wait for others.
    """

    def __init__(self, claims: ICache, worker: str, longest: float) -> None:
        self._claims, self._worker, self._longest = claims, worker.encode(), longest
        self.waiting = 0
        self._mine: dict[str, asyncio.Future[None]] = {}
        self._since: dict[str, float] = {}  # monotonic
        self._useless: OrderedDict[str, float] = OrderedDict()  # name -> until when, monotonic
        self._renewing: asyncio.Task[None] | None = None
        self._releasing: set[asyncio.Future[object]] = set()

    def __len__(self) -> int:
        return len(self._mine)

    async def enter(
        self, name: str, look: Callable[[], Awaitable[T | None]], wait: float, aside: Callable[[], Aside] = nullcontext
    ) -> tuple[T | None, bool]:
        """What *look* finds as soon as another one has stored it; or ``None``, and whether it is on this
        one to ask and to :meth:`leave`.

        Waits for *wait* seconds at most, then everybody asks for himself; within *aside*.
        """
        if self._is_useless(name):
            return None, False
        if name not in self._mine and await self._claim(name):
            return None, True
        with aside():
            self.waiting += 1
            try:
                return await self._wait(name, look, time.monotonic() + wait)
            finally:
                self.waiting -= 1

    async def _wait(self, name: str, look: Callable[[], Awaitable[T | None]], end: float) -> tuple[T | None, bool]:
        pause = FIRST_LOOK
        while (left := end - time.monotonic()) > 0 and not self._is_useless(name):
            ahead = self._mine.get(name)
            if ahead is not None:
                await asyncio.wait({ahead}, timeout=left)
            else:
                await asyncio.sleep(min(pause * random.uniform(0.8, 1.2), left))  # noqa: S311
                pause = min(pause * 1.5, LONGEST_LOOK)
            found = await look()
            if found is not None:
                return found, False
            if name not in self._mine and await self._claim(name):  # who was ahead is done, or dead
                return None, True
        return None, False

    async def _claim(self, name: str) -> bool:
        """Whether this one asks. Others here wait for it meanwhile."""
        mine = self._mine[name] = asyncio.get_running_loop().create_future()
        self._since[name] = time.monotonic()
        try:
            taken = await self._claims.add(name, self._worker, CLAIM)
        except MocraError as error:
            logger.debug("HTTP cache: %s is asked for without a claim: %s", name, error)
            taken = True  # nobody can know; the site is asked
        except BaseException:
            self._forget(name, mine)
            raise
        if not taken:
            self._forget(name, mine)
            return False
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.ensure_future(self._renew())
        return True

    async def begin(self, name: str) -> bool:
        """Whether it is on this one to ask, without waiting for anybody."""
        return name not in self._mine and await self._claim(name)

    def leave(self, name: str, *, stored: bool = True, useless: bool = False) -> None:
        """It has been answered, or given up. *stored*: others need not ask; the claim stays for a moment,
        for who looked for the page just before it was stored. *useless*: its answers can't be stored.
        """
        mine = self._mine.get(name)
        if mine is None:
            return
        if useless:
            self._useless[name] = time.monotonic() + REMEMBERED
            if len(self._useless) > UNCACHEABLE:
                self._useless.popitem(last=False)
        self._forget(name, mine)
        call = self._claims.touch(name, LINGER) if stored else self._claims.delete([name])
        task: asyncio.Future[object] = asyncio.ensure_future(call)
        self._releasing.add(task)
        task.add_done_callback(self._released)

    def _forget(self, name: str, mine: asyncio.Future[None]) -> None:
        if self._mine.get(name) is mine:
            del self._mine[name]
            self._since.pop(name, None)
        if not mine.done():
            mine.set_result(None)

    def _released(self, task: asyncio.Future[object]) -> None:
        self._releasing.discard(task)
        if not task.cancelled():
            task.exception()  # its claim ends by itself

    def _is_useless(self, name: str) -> bool:
        until = self._useless.get(name)
        return until is not None and until > time.monotonic()

    async def _renew(self) -> None:
        while self._mine:
            await asyncio.sleep(RENEW)
            oldest = time.monotonic() - self._longest
            for name in list(self._mine):
                if self._since.get(name, 0.0) < oldest:
                    self.leave(name)
                elif name in self._mine:
                    try:
                        await self._claims.touch(name, CLAIM)
                    except MocraError as error:
                        logger.debug("HTTP cache: the claim of %s was not renewed: %s", name, error)

    async def close(self) -> None:
        """Let go of everything. Raises nothing."""
        for name in list(self._mine):
            self.leave(name)
        if self._renewing is not None:
            await end_tasks([self._renewing])
        if self._releasing:
            await asyncio.wait(self._releasing, timeout=1.0)
