"""``Lock``: ``async with`` over a place in a lock or semaphore: waits, renews in the background,
tells its holder of a loss.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.coordination.clock import boot_clock
from mocra_scrapy.coordination.generators import Interruptible, surroundings
from mocra_scrapy.exceptions import BackendError, ConfigurationError, LockLost, LockTimeout

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from mocra_scrapy.interfaces import ILocks
    from mocra_scrapy.models import Grant

logger = logging.getLogger(__name__)

#: Part of the time to live after which belief ends, so that it ends before the server's own does.
BELIEF = 0.8
FIRST_POLL, POLL = 0.1, 2.0  # s between two attempts while nobody tells of a release, at most
PATIENCE = 5.0  # s for the release
AT_ONCE = 0.2  # s that a caller who gave up still waits for what is given back behind it
ONE_ATTEMPT = 1.0  # s for the answer when the timeout leaves no time at all
#: What is being given back by callers that don't wait for it any more.
_behind: set[asyncio.Task[Any]] = set()


def _in_background(work: Coroutine[Any, Any, object]) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(work)
    _behind.add(task)
    task.add_done_callback(_behind.discard)
    return task


class Lock:
    """One hold. Use it once, in one task: ``async with Lock(...) as lock``.

    Args:
        locks: where.
        name: of the lock.
        holder: who asks, for people; the owner token is made of it and of 64 random bits, new for
            each hold.
        ttl: seconds after which it is free when this process says nothing; renewed every third of
            it.
        limit: permits; all who use the name should say the same.
        timeout: seconds to wait for a place; ``None``: for ever, 0: one attempt.
        on_loss: ``"cancel"``: the body is cancelled and :class:`~mocra_scrapy.exceptions.LockLost`
            comes out of the block; ``"flag"``: only ``lost`` and :meth:`check` say so. In an
            asynchronous generator nothing is cancelled: whichever task iterates it at that moment
            has nothing to do with the lock. There ``LockLost`` is raised by the ``yield`` at which
            it is resumed after the loss, in callbacks and ``start()`` of a crawl and in whatever is
            wrapped in :class:`~mocra_scrapy.coordination.generators.Interruptible`; else at the end
            of the block, or by ``check()``.

    Those who wait are served in the order in which they began to, also from several processes; one
    that died while it waited holds the others up for three seconds at most.

    Attributes:
        number: the fencing token: greater than that of every hold of this name before.
        waited: whether others had it when it was first asked for.

    Raises:
        LockTimeout: it was not free within *timeout* seconds. An outage of the backend is waited
            out like a taken lock.
        LockLost: see *on_loss*.
        ConfigurationError: an argument is wrong.
    """

    def __init__(
        self,
        locks: ILocks,
        name: str,
        holder: str = "",
        *,
        ttl: float = 30.0,
        limit: int = 1,
        timeout: float | None = None,
        on_loss: str = "cancel",
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        subject = f"lock {name!r}"
        if not 0.1 <= ttl <= 86_400:
            raise ConfigurationError(subject, f"ttl {ttl!r} is not a time in seconds", "Choose 0.1 to 86400")
        if limit < 1:
            raise ConfigurationError(subject, f"limit {limit!r} is not a number of permits", "Choose 1 or more")
        if on_loss not in ("cancel", "flag"):
            raise ConfigurationError(subject, f"on_loss {on_loss!r} is unknown", "Choose 'cancel' or 'flag'")
        self.name = name
        self.owner = f"{holder}/{secrets.token_hex(8)}"
        self.number, self.waited = 0, False
        self._locks, self._ttl, self._limit, self._timeout = locks, ttl, limit, timeout
        self._cancels = on_loss == "cancel"
        self._clock = clock
        self._until = 0.0  # belief ends, by the clock
        self._gone = self._used = False
        self._in_generator = False
        # What is iterated around the block. Weak: a generator that nobody wants any more is closed by
        # Python, and gives this lock back, while the renewer still refers to the lock.
        self._around: Callable[[], Interruptible | None] = lambda: None
        self._asking: asyncio.Future[Grant | None] | None = None
        self._told = False  # that it can't be asked for, in this outage
        self._sent = 0.0
        self._body: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._told = self._leaving = False
        self._renewer: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        """Whether it is not held (any more), by the clock, whatever the event loop has come round
        to.
        """
        return self._gone or self._clock() >= self._until

    def check(self) -> None:
        """Go on only while it is held: between two steps of a body that nobody cancels.

        Raises:
            LockLost: it isn't.
        """
        if self.lost:
            raise LockLost(f"lock {self.name!r} was lost while it was held")

    # ------------------------------------------------------------------ getting it

    async def __aenter__(self) -> Self:
        if self._used:
            raise RuntimeError("a Lock is used once")
        self._used = True
        self._in_generator, around = surroundings()
        if around is not None:
            self._around = weakref.ref(around)
        self._body = asyncio.current_task()
        try:
            grant = await self._wait_for_it()
        except BaseException:
            # The server may have granted it all the same: by the owner's name it is given back.
            await asyncio.wait([_in_background(self._give_up())], timeout=AT_ONCE)
            raise
        self.number = grant.number
        self._cancelling = _cancelling(self._body)
        self._renewer = asyncio.create_task(self._renew(), name=f"mocra lock {self.name}")
        if self._cancels and (around := self._around()) is not None:
            around.hold(self)
        return self

    async def _wait_for_it(self) -> Grant:
        deadline = None if self._timeout is None else self._clock() + self._timeout
        pause = FIRST_POLL
        grant = await self._try(deadline, pause)
        self.waited = grant is None
        while grant is None:
            left = POLL if deadline is None else deadline - self._clock()
            if left <= 0:
                raise LockTimeout(f"lock {self.name!r} was not free within {self._timeout:g} s")
            # It listens before it asks: a release between an answer and the wait would be missed.
            nap = min(pause * random.uniform(0.5, 1.0), left)  # noqa: S311
            told = asyncio.ensure_future(self._locks.wait(self.name, nap))
            try:
                await asyncio.sleep(0)
                grant = await self._try(deadline, pause)
                if grant is None:
                    await told
            finally:
                await end_tasks([told])
            pause = min(2 * pause, POLL, self._ttl)
        return grant

    async def _try(self, deadline: float | None, pause: float) -> Grant | None:
        """One attempt. The owner stays the same, so an answer that got lost is made good by the
        next one.
        """
        if self._asking is None:
            self._sent = self._clock()
            patience = 0.0 if self._timeout == 0 else pause + 1.0  # in line until the next attempt
            self._asking = asyncio.ensure_future(
                self._locks.acquire(self.name, self.owner, self._ttl, limit=self._limit, patience=patience)
            )
        limit = None if deadline is None else (deadline - self._clock() if self._timeout else ONE_ATTEMPT)
        try:
            grant = await asyncio.wait_for(asyncio.shield(self._asking), limit)
        except asyncio.TimeoutError:
            return None  # the attempt is still out: the next one waits for the same
        except BackendError as error:
            self._asking = None
            level = logging.DEBUG if self._told else logging.WARNING
            logger.log(level, "Lock %r can't be asked for, it will try again: %s", self.name, error)
            self._told = True
            return None
        except Exception:
            self._asking = None
            raise
        self._asking, self._told = None, False
        if grant is None or self._clock() >= self._sent + BELIEF * self._ttl:
            return None  # an answer that came too late: the next attempt renews it, or finds it taken
        self._until = self._sent + BELIEF * self._ttl
        return grant

    async def _give_up(self) -> None:
        """After whatever is out was answered, give back what it brought, and leave the line."""
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=PATIENCE)
            if self._asking.done() and not self._asking.cancelled():
                self._asking.exception()  # looked at
            self._asking.cancel()
        await self._release(0)

    async def _release(self, number: int) -> None:
        with contextlib.suppress(BackendError, ConfigurationError, asyncio.TimeoutError):
            await asyncio.wait_for(self._locks.release(self.name, self.owner, number), PATIENCE)

    # ------------------------------------------------------------------ keeping it

    async def _renew(self) -> None:
        pause = self._ttl / 3
        while True:
            await asyncio.sleep(min(pause, max(0.0, self._until - self._clock())))
            sent = self._clock()
            if sent >= self._until:
                return self._lose("nobody could be told in time that it is still held")
            try:
                kept = await asyncio.wait_for(
                    self._locks.renew(self.name, self.owner, self.number, self._ttl), self._until - sent
                )
            except Exception as error:  # whatever it was: the clock decides
                level = logging.DEBUG if pause == self._ttl / 20 else logging.WARNING  # once an outage
                logger.log(level, "Lock %r can't be renewed: %s", self.name, error)
                pause = self._ttl / 20
                continue
            if not kept:
                return self._lose("it ran out, or was deleted")
            if self._clock() >= self._until:
                return self._lose("this process was stopped for too long")
            self._until, pause = sent + BELIEF * self._ttl, self._ttl / 3

    def _lose(self, why: str) -> None:
        self._gone = True
        logger.warning("Lock %r, grant %d, is lost: %s", self.name, self.number, why)
        if self._cancels and self._body is not None and not self._leaving and self._is_in_its_body():
            self._told = True
            self._body.cancel()

    def _is_in_its_body(self) -> bool:
        """Whether the task that entered the block is in there, and not in whatever iterates a
        generator that yielded out of it.
        """
        around = self._around()
        return not self._in_generator and (around is None or around.running)

    # ------------------------------------------------------------------ giving it back

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leaving = True
        if (around := self._around()) is not None:
            around.drop(self)
        if self._renewer is not None:
            await end_tasks([self._renewer])
        ours = await self._take_back(kind) if self._told else False
        lost, self._gone = self.lost, True
        # Not with the body's task: whoever cancels that now would leave the lock taken for its ttl.
        await asyncio.wait([_in_background(self._release(self.number))], timeout=PATIENCE)
        if self._cancels and lost and (kind is None or ours):
            raise LockLost(f"lock {self.name!r} was lost while it was held") from error

    async def _take_back(self, kind: type[BaseException] | None) -> bool:
        """Our cancellation of the body; whether it is this one that ended it, and nobody else's."""
        cancelled = kind is not None and issubclass(kind, asyncio.CancelledError)
        if not cancelled:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # it may not have arrived yet, when the body ended at the same moment
        uncancel = getattr(self._body, "uncancel", None)
        return (uncancel is None or uncancel() <= self._cancelling) and cancelled


def _cancelling(task: asyncio.Task[object] | None) -> int:
    """Cancellations of *task* that are under way (Python 3.11 and later count them)."""
    count = getattr(task, "cancelling", None)
    return 0 if count is None else int(count())
