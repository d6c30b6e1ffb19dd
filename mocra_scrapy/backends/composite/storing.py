"""What is pushed goes into the log before the call is answered.

Three steps, of which each may be the last one of this process:

1. the window filters and stores what is new, *in transit*: leased to its pusher
2. the log's brokers store it, all in-sync replicas
3. the window lets it go, or, where the log was fed up to just there, lines it up; in the same step the
   call's acknowledgements are settled. So a parent goes after its children are in the log.

Who dies before the third step leaves entries in transit, which the window lines up when it notices. What
was written by then is in the log as well. So a message says as what it is in transit, and the window stores
only one of both.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.backends.kafka.log_names import DELAYS
from mocra_scrapy.backends.kafka.log_values import Outgoing, Refused, Written
from mocra_scrapy.models import UNBOUNDED, Bounds, Entry, Exchange, Lease, LogAnswer, LogTurn, QueueSize
from mocra_scrapy.models.wording import counted

if TYPE_CHECKING:
    from mocra_scrapy.backends.composite.backlog import Backlog
    from mocra_scrapy.backends.kafka.log_writer import LogWriter
    from mocra_scrapy.interfaces import ILoggedQueue

logger = logging.getLogger(__name__)

HOLD = LogTurn(hold=True)
#: While the log is written to, the worker's lease is renewed so often in each of its lengths.
RENEWALS = 3
#: Of the window the part that may be requests that are delayed by a minute and more: those beyond are in the log only
#: until they are due.
LATE = 10
#: Numbers of the window's calls that a worker's call has.
STEPS = 2


@dataclass(slots=True)
class Call:
    """A worker's call, as far as it has come: one that failed is repeated from there.

    Attributes:
        number: its number.
        held: what the window answered to the first step; ``None``: nothing was pushed, or not yet.
        stored: what the third step says of the log; ``None``: the log has not all of it yet.
        transit: what of its pushes is new. *tokens*: what the writer knows these by.
    """

    number: int
    held: Exchange | None = None
    stored: LogTurn | None = None
    transit: list[tuple[Lease, Entry]] = field(default_factory=list)
    tokens: list[object] = field(default_factory=list)


class Storing:
    """Of one queue object.

    Args:
        window, writer: of the crawl.
        backlog: is told what was written.

    Attributes:
        room: how many more requests the window may get at once, without being fed; *late*: of those that
            are delayed by a minute and more.
    """

    def __init__(self, window: ILoggedQueue, writer: LogWriter, backlog: Backlog, crawl: str, room: int) -> None:
        self._window, self._writer, self._backlog, self._crawl = window, writer, backlog, crawl
        self._refused = 0
        self.room, self.late = room, room // LATE

    async def store(self, worker: str, call: Call, push: Sequence[Entry], bounds: Bounds) -> None:
        """Steps 1 and 2 of *call*.

        Raises:
            BackendUnavailable: repeat it.
            ConfigurationError: the log can't be written, as things are.
        """
        first = UNBOUNDED if bounds.budgets is None else Bounds(budgets=bounds.budgets)
        hold = partial(self._hold, worker, call, push, first)
        written = await self._write(worker, call, hold) if await hold() else None
        if written is None:
            call.stored = LogTurn(keep=[lease for lease, _ in call.transit])
            return
        moved: list[Lease] = []
        at: list[tuple[str, int] | None] = []
        keep: list[Lease] = []
        for (lease, entry), answer in zip(call.transit, written, strict=True):
            if isinstance(answer, Written):
                moved.append(lease)
                at.append(self._place(answer))
            else:
                self._tell_refused(entry, answer.reason)
                keep.append(lease)
        call.stored = LogTurn(moved=moved, keep=keep, at=at)

    async def _hold(self, worker: str, call: Call, push: Sequence[Entry], bounds: Bounds) -> bool:
        """Step 1, also when it was answered before: it renews the worker's lease, however long the log is
        away. ``False``: the worker was taken for dead meanwhile, and the window has lined up what it held.
        """
        before = call.held
        call.held, told = await self._window.exchange_logged(
            worker, STEPS * call.number, HOLD, push=push, bounds=bounds
        )
        call.transit = [(lease, entry) for lease, entry in zip(told.transit, push, strict=True) if lease is not None]
        return before is None or not call.held.lost or before.lost

    async def _write(
        self, worker: str, call: Call, hold: Callable[[], Awaitable[bool]]
    ) -> Sequence[Written | Refused] | None:
        """Step 2: what became of each. ``None``: the worker was taken for dead meanwhile."""
        outgoing = self._outgoing(worker, call)
        if not outgoing:
            return ()
        writing = asyncio.ensure_future(self._writer.write(outgoing))
        try:
            while True:
                # Brokers that elect another leader are silent for longer than a lease may be.
                done, _ = await asyncio.wait([writing], timeout=self._window.options.lease / RENEWALS)
                if done:
                    return writing.result()
                if not await hold():
                    return None
        finally:
            if not writing.done():  # what is on its way stays there
                await end_tasks([writing])

    @staticmethod
    def _outgoing(worker: str, call: Call) -> list[Outgoing]:
        assert call.held is not None
        state = call.held.state
        call.tokens = [(worker, lease.shard, lease.token) for lease, _ in call.transit]
        return [
            Outgoing(
                token,
                entry,
                run=state.run,
                born=state.born,
                fingerprint=entry.fingerprint if entry.budgets else None,  # forgotten where a budget withdraws it
                transit=(worker, lease.token),
            )
            for token, (lease, entry) in zip(call.tokens, call.transit, strict=True)
        ]

    def _place(self, written: Written) -> tuple[str, int] | None:
        """Where the window may line it up at once; ``None``: it has no room."""
        self._backlog.written(written.partition, written.offset + 1)
        is_late = written.partition.tier in DELAYS
        if (self.late if is_late else self.room) <= 0:
            return None
        if is_late:
            self.late -= 1
        else:
            self.room -= 1
        return str(written.partition), written.offset

    def window_is(self, size: QueueSize, most: int) -> None:
        """So much is in the window, which may have *most*."""
        self.room, self.late = most - size.pending, most // LATE - size.delayed

    def _tell_refused(self, entry: Entry, reason: str) -> None:
        self._refused += 1
        if self._refused & (self._refused - 1) == 0:
            logger.error(
                "A request of slot %r is not in the log of crawl %r: %s. It is in the window only, and is lost if that is"
                " (%s so far)",
                entry.slot,
                self._crawl,
                reason,
                counted(self._refused, "request"),
            )

    def settled(self, call: Call, log: LogAnswer) -> None:
        """The window was told of *call*'s third step, and answered."""
        if call.stored is not None:
            for place, taken in zip(call.stored.at, log.taken, strict=False):
                if place is not None and taken:
                    self._backlog.fed({place[0]: place[1] + 1})
        self._writer.forget(call.tokens)
        call.tokens = []


def rest_of(bounds: Bounds) -> Bounds:
    """*bounds* for the third step: what was spent was told by the first."""
    if bounds.budgets is None:
        return bounds
    return replace(bounds, budgets=replace(bounds.budgets, spent={}))


def joined(first: Exchange, last: Exchange) -> Exchange:
    """The answers to the first and the third step as one."""
    return replace(
        last,
        stored=first.stored,
        refused=first.refused,
        stale=first.stale,
        lost=first.lost or last.lost,
        reclaimed=first.reclaimed + last.reclaimed,
        given_up=first.given_up + last.given_up,
        stalled=first.stalled + last.stalled,
        permits={**first.permits, **last.permits},
        held={**first.held, **last.held},
        silence=max(first.silence, last.silence),
        withdrawn=(*first.withdrawn, *last.withdrawn),
    )
