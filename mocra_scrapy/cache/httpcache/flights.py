"""No stampede: of those who want the same page that nobody has, one asks the site.

In a process the others wait for that one. Between workers a claim says who asks: an entry that ends by
itself, renewed while its worker lives.

.. code-block:: text

   A: get miss, add claim ✓ ─ asks the site ──────── set page, delete claim
   B: get miss, add claim ✗ ─ get, get, get … ────── get: hit
   A: get miss, add claim ✓ ─ asks the site ─ † killed
   B: get miss, add claim ✗ ─ get … ───────── the claim ends ─ add claim ✓ ─ asks the site
   A: get miss, add claim ✓ ─ asks the site ─ a timeout: the claim says so for a while
   B: get miss, add claim ✗ ─ get … ───────── asks the site, as all do who waited: not one by one
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
CLAIM, RENEW = 20.0, 3.0
#: Seconds for which a claim stays after its page was stored.
LINGER = 1.0
#: Seconds between two looks of who waits for another worker: the first, and the longest.
FIRST_LOOK, LONGEST_LOOK = 0.02, 0.5
#: Pages whose answer could not be stored: nobody waits for them again for so many seconds.
UNCACHEABLE, REMEMBERED = 10_000, 60.0
#: What a claim says after its holder failed, and for how many seconds: nobody waits then.
FAILED, FAILING = b"\0failed", 10.0


class Flights:
    """Of one worker.

    Args:
        claims: where claims are.
        worker: the name of this worker.
        longest: seconds for which a claim is renewed, at most: somebody may have lost a request.

    Attributes:
        waiting: how many wait for others.
        stopped: whether the worker closes: nobody waits any more.
    """

    def __init__(self, claims: ICache, worker: str, longest: float) -> None:
        self._claims, self._worker, self._longest = claims, worker.encode(), longest
        self.waiting = 0
        self.stopped = False
        self._waiters: set[asyncio.Future[None]] = set()
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
        while (left := end - time.monotonic()) > 0 and not self.stopped and not self._is_useless(name):
            ahead = self._mine.get(name)
            if ahead is not None:
                await self._pause(left, ahead)
            else:
                await self._pause(min(pause * random.uniform(0.8, 1.2), left))  # noqa: S311
                pause = min(pause * 1.5, LONGEST_LOOK)
            found = await look()
            if found is not None:
                return found, False
            if self.stopped or self._is_useless(name) or name in self._mine:
                continue
            if await self._claim(name):  # who was ahead is done, or dead
                return None, True
            if await self._has_failed(name):
                break
        return None, False

    async def _pause(self, seconds: float, *ahead: asyncio.Future[None]) -> None:
        """Until one of *ahead* is done, or the worker closes; *seconds* at most."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(told)
        try:
            await asyncio.wait({told, *ahead}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiters.discard(told)

    async def _has_failed(self, name: str) -> bool:
        """Whether another worker asked, and got no answer."""
        try:
            claim = await self._claims.get(name)
        except MocraError as error:
            logger.debug("HTTP cache: the claim of %s was not looked at: %s", name, error)
            return False
        if claim is None or claim.value != FAILED:
            return False
        self._is_useless_for(name, claim.expires_in)
        return True

    def stop(self) -> None:
        """The worker closes: who waits goes on at once."""
        self.stopped = True
        for told in self._waiters:
            if not told.done():
                told.set_result(None)

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
            self._is_useless_for(name, REMEMBERED)
        self._forget(name, mine)
        # Of a claim that ended while this process stood still another worker may have one by now.
        self._release(self._claims.touch(name, LINGER) if stored else self._claims.delete_if(name, self._worker))

    def failed(self, name: str, *, leads: bool) -> None:
        """There was no answer. The next one may wait for a timeout as well: so nobody waits for anybody
        for a while, here or elsewhere. *leads*: who asked has to :meth:`leave`, which this does.
        """
        self._is_useless_for(name, FAILING)
        mine = self._mine.get(name) if leads else None
        if mine is not None:
            self._forget(name, mine)
            self._release(self._claims.set(name, FAILED, FAILING))

    def _is_useless_for(self, name: str, seconds: float) -> None:
        self._useless[name] = max(time.monotonic() + seconds, self._useless.get(name, 0.0))
        if len(self._useless) > UNCACHEABLE:
            self._useless.popitem(last=False)

    def _release(self, call: Awaitable[object]) -> None:
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
                    self.leave(name, stored=False)
                elif name in self._mine:
                    try:
                        await self._claims.touch(name, CLAIM)
                    except MocraError as error:
                        logger.debug("HTTP cache: the claim of %s was not renewed: %s", name, error)

    async def close(self) -> None:
        """Let go of everything. Raises nothing."""
        for name in list(self._mine):
            self.leave(name, stored=False)
        if self._renewing is not None:
            await end_tasks([self._renewing])
        if self._releasing:
            await asyncio.wait(self._releasing, timeout=1.0)
