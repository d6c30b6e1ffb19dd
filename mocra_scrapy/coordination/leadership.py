"""``Candidate``: contends for a role as long as it runs, and knows by the clock whether it
leads. For any asyncio program.

::

              campaign                     renew … renew                  no answer
    standing ─────────► leading: tasks run ─────────────► leading ────────────────► standing: tasks ended
        ▲                                                    │ close(): tasks end, then it resigns
        └────────────── lost, by answer or by the clock ◄────┘

Belief ends before the lease does: it is counted from before the request was sent, for *deadline*
seconds, and the server's lease is longer. A process that was stopped in between may still act for a
moment when it goes on: so each effect carries ``number`` (the fencing token) and is refused where a
later term has written, see :meth:`mocra_scrapy.interfaces.IShared.put`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.coordination.clock import boot_clock
from mocra_scrapy.coordination.term_tasks import TermTasks, Work
from mocra_scrapy.exceptions import BackendCorrupted, BackendError, ConfigurationError
from mocra_scrapy.models import Term

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from mocra_scrapy.interfaces import IElection

logger = logging.getLogger(__name__)

#: Seconds: what a candidate does not wait for longer at its end: an answer that is out, its
#: resignation.
PATIENCE = 5.0


class Candidate:
    """One contender for one role.

    Args:
        election: the role.
        name: unique for this run of this process.
        lease: seconds for which the role is taken.
        renew: seconds from one renewal to the next, from when they are sent.
        deadline: seconds after a renewal that succeeded (from before it was sent) at which belief
            ends; below *lease*. A leader keeps its role as long as each answer takes less than
            *deadline* - *renew*.
        retry: seconds between two attempts to win, or to renew after a failure; ± a quarter, so
            that many don't come at once.
        clock: see :func:`mocra_scrapy.coordination.clock.boot_clock`.
        elected, lost: called with the term that begins, or has ended.

    Attributes:
        trouble: why it can't contend now, a sentence; empty: it can. It is logged once.

    Fail-over: at most *lease* + 1.25 * *retry* after a leader died, at most 1.25 * *retry* after it
    resigned.

    Raises:
        ConfigurationError: not 0 < renew < deadline < lease, or not 0 < retry.
    """

    def __init__(
        self,
        election: IElection,
        name: str,
        *,
        lease: float = 15.0,
        renew: float = 5.0,
        deadline: float = 10.0,
        retry: float = 2.0,
        clock: Callable[[], float] = boot_clock,
        elected: Callable[[Term], object] | None = None,
        lost: Callable[[Term], object] | None = None,
    ) -> None:
        if not (0 < renew < deadline < lease and retry > 0):
            raise ConfigurationError(
                "leader election",
                f"lease {lease:g}, deadline {deadline:g}, renew {renew:g}, retry {retry:g} s don't fit together",
                "Choose 0 < renew < deadline < lease, and retry > 0",
            )
        self.name = name
        self._election = election
        self._lease, self._renew, self._deadline, self._retry = lease, renew, deadline, retry
        self._clock = clock
        self._elected, self._lost = elected, lost
        self._term: Term | None = None
        self._until = 0.0  # belief ends, by the clock
        self._asking: asyncio.Future[Term | None] | None = None
        self.trouble = ""
        self._won = asyncio.Event()
        self._failed = asyncio.Event()
        self._tasks = TermTasks(lambda: self.term, self._failed.set)
        self._loop: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ what it believes

    @property
    def term(self) -> Term | None:
        """The term that it holds now, by the clock, whatever the event loop has come round to;
        ``None``: it doesn't lead.
        """
        return self._term if self._clock() < self._until else None

    @property
    def is_leader(self) -> bool:
        return self.term is not None

    @property
    def number(self) -> int | None:
        """The fencing token of the term that it holds now; ``None``: it doesn't lead."""
        term = self.term
        return None if term is None else term.number

    async def elected(self) -> Term:
        """Wait until it leads."""
        while (term := self.term) is None:
            self._won.clear()
            await self._won.wait()
        return term

    # ------------------------------------------------------------------ work

    def task(self, work: Work) -> Work:
        """Call *work* with each term that is won, and run what it returns as a task until it ends
        or the term does. Also as a decorator.

        On loss the task is cancelled, and again after a second, until it has ended; in the next term
        it is begun anew, but never before the last one has ended. If it fails, the error is logged
        and the role given up: another candidate may have more luck.
        """
        self._tasks.add(work)
        return work

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Contend from now on, in a task of the running loop. An absent backend is only waited for."""
        if self._loop is None:
            self._loop = asyncio.create_task(self._contend(), name=f"mocra candidate {self.name}")

    async def close(self) -> None:
        """End the tasks of all terms, and only then resign, also what a campaign won whose answer
        is still out. Never raises; takes little longer than the tasks, which are cancelled each
        second until they have ended. May be called twice.
        """
        loop, self._loop = self._loop, None
        if loop is not None:
            await end_tasks([loop])
        term = self._term
        await self._tasks.end()
        if term is not None:
            self._over()
            self._tell(self._lost, term)
            await self._resign(term)
        elif self._asking is not None:
            await self._give_back(self._asking)
        self._asking = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _contend(self) -> None:
        while True:
            try:
                await self._campaign()
                self._untroubled()
                if self._term is not None:
                    await self._hold(self._term)
                    continue  # the role may be free at once
            except asyncio.TimeoutError:
                self._troubled(logging.WARNING, f"no answer within {self._deadline:g} s")
            except BackendCorrupted as error:
                self._troubled(logging.ERROR, str(error))
            except BackendError as error:
                self._troubled(logging.WARNING, str(error))
            except ConfigurationError as error:
                self._troubled(logging.ERROR, str(error))
            except Exception as error:
                if not self.trouble:
                    logger.exception("Candidate %s met an error of its own", self.name)
                self._troubled(logging.ERROR, repr(error))  # but it never gives up
            await asyncio.sleep(self._jittered(self._retry))

    def _troubled(self, level: int, why: str) -> None:
        """Once for each stretch of trouble: it is tried again every few seconds."""
        if not self.trouble:
            logger.log(level, "Candidate %s can't run for its roles, it will try again: %s", self.name, why)
        self.trouble = why

    def _untroubled(self) -> None:
        if self.trouble:
            logger.info("Candidate %s runs for its roles again", self.name)
        self.trouble = ""

    def _jittered(self, seconds: float) -> float:
        return seconds * random.uniform(0.75, 1.25)  # noqa: S311

    async def _campaign(self) -> None:
        sent = self._clock()
        # Shielded: the server may have given the role to a campaign that was cancelled here; close()
        # waits for the answer, to give it back.
        self._asking = asyncio.ensure_future(self._election.campaign(self.name, self._lease))
        self._asking.add_done_callback(_looked_at)
        term = await asyncio.wait_for(asyncio.shield(self._asking), self._deadline)
        if term is None:
            self._asking = None
        if term is None or self._clock() >= sent + self._deadline:
            return  # an answer that came too late is no reason to believe; the next campaign keeps the term
        self._until = sent + self._deadline
        self._term, self._asking = term, None
        self._failed.clear()
        logger.info("%s leads %r, term %d", self.name, term.role, term.number)
        self._tell(self._elected, term)
        self._won.set()
        self._tasks.begin(term)

    async def _hold(self, term: Term) -> None:
        """Keep the role until it is lost."""
        pause = self._until - self._deadline + self._renew - self._clock()
        while True:
            left = self._until - self._clock()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._failed.wait(), max(0.0, min(pause, left)))
            if self._failed.is_set():
                await self._step_down(term)
                return
            sent = self._clock()
            if sent >= self._until:
                break
            try:
                if not await asyncio.wait_for(
                    self._election.renew(self.name, term.number, self._lease), self._until - sent
                ):
                    break
                if self._clock() >= self._until:
                    break  # stopped in between: is_leader has said no, so this term is over for good
                # From when this one was sent: after a slow answer the next one still has
                # deadline - renew to come back.
                self._until = sent + self._deadline
                pause = sent + self._renew - self._clock()
            except Exception as error:
                logger.warning("%s can't renew its term %d of %r: %s", self.name, term.number, term.role, error)
                pause = self._jittered(min(self._retry, self._renew))
        self._lose(term)

    def _over(self) -> None:
        self._term, self._until = None, 0.0

    def _lose(self, term: Term) -> None:
        self._over()
        self._tasks.lose()
        logger.warning("%s no longer leads %r, term %d", self.name, term.role, term.number)
        self._tell(self._lost, term)

    async def _step_down(self, term: Term) -> None:
        """A task failed: let others try first."""
        await self._tasks.end()
        self._lose(term)
        await self._resign(term)
        await asyncio.sleep(self._jittered(2 * self._retry))

    async def _resign(self, term: Term) -> None:
        with contextlib.suppress(BackendError, ConfigurationError, asyncio.TimeoutError):
            await asyncio.wait_for(self._election.resign(self.name, term.number), PATIENCE)

    async def _give_back(self, asking: asyncio.Future[Term | None]) -> None:
        """Resign a term that was won by a campaign of which nobody heard the end."""
        await asyncio.wait([asking], timeout=PATIENCE)
        asking.cancel()
        with contextlib.suppress(BackendError, ConfigurationError, asyncio.TimeoutError):
            leader = await asyncio.wait_for(self._election.leader(), PATIENCE)
            if leader is not None and leader.leader == self.name:
                await self._resign(leader)

    def _tell(self, whom: Callable[[Term], object] | None, term: Term) -> None:
        if whom is not None:
            try:
                whom(term)
            except Exception:
                logger.exception("A handler of the election of %r failed", term.role)


def _looked_at(asking: asyncio.Future[Term | None]) -> None:
    if not asking.cancelled():
        asking.exception()  # an answer that nobody waits for any more
