"""``TermTasks``: what a leader does as long as its term lasts, and no longer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.models import Term

logger = logging.getLogger(__name__)

Work = Callable[[Term], Coroutine[Any, Any, object]]

#: Seconds that a task of a term has to clean up before it is cancelled again.
GRACE = 1.0


class TermTasks:
    """The tasks of one candidate, of this term and of earlier ones that have not ended yet.

    Args:
        current: the term that it holds now.
        failed: called when a task raised.
    """

    def __init__(self, current: Callable[[], Term | None], failed: Callable[[], None]) -> None:
        self._current, self._failed = current, failed
        self._work: list[Work] = []
        self._tasks: dict[Work, asyncio.Task[None]] = {}
        self._all: set[asyncio.Task[None]] = set()  # of all terms, until they have ended
        self._told: set[asyncio.Task[None]] = set()  # of these, those that were told to end
        self._enders: set[asyncio.Task[None]] = set()

    def add(self, work: Work) -> None:
        """Run *work* in the term that is held now, if there is one, and in all to come."""
        self._work.append(work)
        if (term := self._current()) is not None:
            self._begin(work, term)

    def begin(self, term: Term) -> None:
        """Run everything in *term*, each when what it did in an earlier term has ended."""
        for work in self._work:
            self._begin(work, term)

    def _begin(self, work: Work, term: Term) -> None:
        before = self._tasks.get(work)
        task = asyncio.create_task(self._run(work, term, before), name=f"mocra {term.role} {term.number}")
        self._tasks[work] = task
        self._all.add(task)
        task.add_done_callback(self._all.discard)
        task.add_done_callback(self._told.discard)

    async def _run(self, work: Work, term: Term, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait([before])  # whoever lost that term sees to its end
        if self._current() != term:
            return
        try:
            await work(term)
        except Exception:
            logger.exception("A task of the leader of %r failed; it steps down", term.role)
            self._failed()

    def lose(self) -> None:
        """The term is over: its tasks are cancelled, and again until they have ended.

        Once is not enough: until Python 3.12 ``asyncio.wait_for`` swallows a cancellation that comes
        together with its result. The next term would wait for that task for ever: a leader that
        renews its role and decides nothing.
        """
        going_on = self._all - self._told  # those of an earlier term may be cleaning up
        if going_on:
            self._told |= going_on
            for task in going_on:
                task.cancel()
            ender = asyncio.create_task(_see_to(going_on), name="mocra, end of a term")
            self._enders.add(ender)
            ender.add_done_callback(self._enders.discard)

    async def end(self) -> None:
        """The same, and wait for it."""
        self.lose()
        while self._enders:
            await asyncio.wait(self._enders)
        self._tasks.clear()


async def _see_to(tasks: set[asyncio.Task[None]]) -> None:
    """They were cancelled: let them clean up, then cancel them until they end."""
    _, going_on = await asyncio.wait(tasks, timeout=GRACE)
    await end_tasks(going_on)
