"""``Pool``: the sessions of one site as this worker sees them: which one a request gets, who makes one,
what becomes of one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import BackendError
from mocra_scrapy.models.sessions import BAD, EXPIRED, GOOD, RETIRED
from mocra_scrapy.models.wording import counted
from mocra_scrapy.sessions.makings import Makings
from mocra_scrapy.sessions.none_found import NoSession, PoolClosed, SessionGone, why_none
from mocra_scrapy.sessions.pool_state import OVER, USABLE, Decision, Entry, Make, PoolState, Used
from mocra_scrapy.sessions.stored_pool import StoredPool

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IShared
    from mocra_scrapy.settings.sessions import PoolOptions

logger = logging.getLogger(__name__)

#: Sessions that one worker makes at a time.
MAKING = 8
STATS = {BAD: "mocra/sessions/bad", EXPIRED: "mocra/sessions/expired", RETIRED: "mocra/sessions/retired"}
#: Seconds after which who waits looks by itself.
LOOK = 1.0


class Pool:
    """Args:
    name: of its site; what its sessions' names begin with.
    values: where the pools of the crawl are.
    worker: who this is.
    make: makes or refreshes a session; ``True``: it went well, ``False``: it did not, ``None``: neither.
    drop: deletes what sessions hold.
    can_refresh: whether one that expired is refreshed instead of replaced.
    run: the crawl's run now.
    lasts: seconds that the pool is kept after its last change.
    count: called with the name of a stat.
    """

    def __init__(
        self,
        name: str,
        options: PoolOptions,
        values: IShared,
        worker: str,
        *,
        make: Callable[[Make], Awaitable[bool | None]],
        drop: Callable[[tuple[str, ...]], Awaitable[None]],
        can_refresh: bool,
        run: Callable[[], int],
        lasts: float,
        count: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.options = name, options
        self.stored = StoredPool(name, values, run=run, lasts=lasts, clock=clock, wall=wall)
        self._worker, self._drop, self._count = worker, drop, count
        self._makings = Makings(self.stored, worker, make, count)
        self._can_refresh, self._clock = can_refresh, clock
        self._left: dict[str, list[int]] = {}  # session -> [generation, uses taken and not used]
        self._known, self._living, self._lapses, self._least = self.stored.state, 0, math.inf, 0.0
        self._good: dict[str, Entry] = {}
        self._judged: set[Used] = set()  # of which the store is about to hear that they are no good
        self._in_use: dict[str, int] = {}  # session -> how often it was given here, none less than _least
        self._told: set[asyncio.Task[None]] = set()
        self._closing = self._leaving = False
        self._staying = 0  # of those that wait, those that can't go back into the queue

    @property
    def state(self) -> PoolState:
        """As far as is known."""
        return self.stored.state

    @property
    def making(self) -> dict[str, asyncio.Task[None]]:
        """The log-ins that are under way here."""
        return self._makings.tasks

    # ------------------------------------------------------------------ taking one

    def take_now(self, avoid: str = "", only: str = "") -> Used | None:
        """A session that can be had without asking anybody; ``None``: ask with :meth:`take`."""
        if not self.stored.is_fresh or self._closing:
            return None
        if self._known is not self.stored.state:
            self._look()
        if self.stored.now >= self._lapses:
            return None  # a worker that made one is not heard of any more
        # Where uses are counted, those that it has taken go first: another session may not be needed.
        if self._living < self.options.size and not (only or self.options.max_uses) and len(self.making) < MAKING:
            return None
        return self._choose(avoid, only)

    def _look(self) -> None:
        """What a request needs of the pool's state, once for each state."""
        self._known = state = self.stored.state
        self._living, self._least = state.living, 0.0
        self._lapses = min((entry.until for entry in state.sessions.values() if entry.owner), default=math.inf)
        self._good = {id: entry for id, entry in state.sessions.items() if entry.status in USABLE}

    def _choose(self, avoid: str, only: str) -> Used | None:
        """Of those that are good as far as is known, the one that was given here least often."""
        if self._known is not self.stored.state:
            self._look()
        best, least, options, in_use, judged = None, math.inf, self.options, self._in_use, self._judged
        age = self.stored.now - options.max_age if options.max_age else -math.inf
        for id, entry in self._good.items():
            if entry.made <= age or (only and id != only):
                continue
            if options.max_uses and self._left.get(id, [0, 0]) < [entry.generation, 1]:
                continue
            used = in_use.get(id, 0.0) + (1e9 if id == avoid else 0.0)
            if used < least and not (judged and (id, entry.generation) in judged):
                best, least = (id, entry.generation), used
                if used <= self._least:
                    break
        if best is None:
            return None
        if not avoid and not only:
            self._least = least
        in_use[best[0]] = in_use.get(best[0], 0) + 1
        if options.max_uses:
            self._left[best[0]][1] -= 1
        return Used(*best)

    async def take(self, avoid: str = "", only: str = "", *, stays: bool = False) -> Used:
        """A session, as soon as there is one.

        Args:
            avoid: the one that is not wanted, if there is another one.
            only: the one that is wanted.
            stays: whether the request can't go back into the queue: somebody in this process waits for its answer,
                also while the worker closes.

        Raises:
            NoSession: not within ``wait`` seconds.
            SessionGone: *only* is.
            PoolClosed: too many could not be made.
        """
        self._staying += stays
        try:
            return await self._awaited(avoid, only, stays)
        finally:
            self._staying -= stays
            if self._leaving and not self._staying:
                self._give_up()

    async def _awaited(self, avoid: str, only: str, stays: bool) -> Used:
        end, waited = self._clock() + self.options.wait, False
        while True:
            changed = self.stored.changed
            try:
                found = await self._try(avoid, only, stays)
            except BackendError as error:
                logger.debug("Pool %r: %s", self.name, error)
                found = None
            if found is not None:
                return found
            left = end - self._clock()
            closing = self._makes_none(stays)
            if left <= 0 or closing:
                raise NoSession(why_none(self.name, self.options, self.state, only=only, closing=closing))
            if not waited:
                waited = True
                self._count("mocra/sessions/waited")
            try:
                await asyncio.wait_for(changed.wait(), min(left, LOOK))
            except asyncio.TimeoutError:
                continue

    def _makes_none(self, stays: bool) -> bool:
        return self._closing or (self._leaving and not stays)

    async def _try(self, avoid: str, only: str, stays: bool) -> Used | None:
        found = self.take_now(avoid, only)
        if found is not None:
            return found
        may_make = len(self.making) < MAKING and not self._makes_none(stays)
        if not self._is_worth_asking(only, may_make):
            return self._choose(avoid, only)
        decision = await self.stored.change(lambda state: self._step(state, avoid, only, may_make))
        if decision.drop:
            self._in_background(self._drop(decision.drop))
        if decision.make is not None and not self._makes_none(stays):
            self._makings.begin(decision.make)
        if decision.over:
            raise PoolClosed(
                f"{counted(self.options.max_bad_inits, 'session')} of {self.name!r} could not be made, one after the"
                f" other (MOCRA_SESSIONS[{self.name!r}]['max_bad_inits'])"
            )
        if only and (only not in self.state.sessions or self.state.sessions[only].status == OVER):
            raise SessionGone(f"session {only!r} is gone. Leave out mocra_session, and the request gets another one")
        grant = decision.grant
        if grant is not None and grant.uses:
            generation, left = self._left.get(grant.id, [0, 0])
            self._left[grant.id] = [grant.generation, grant.uses + (left if generation == grant.generation else 0)]
        return self._choose(avoid, only)

    def _is_worth_asking(self, only: str, may_make: bool) -> bool:
        """Whether anything would come of it: many may wait, and all wake up when something changes."""
        state = self.state
        if not self.stored.is_fresh or state.bad >= self.options.max_bad_inits:
            return True
        if only:
            return only not in state.sessions or state.sessions[only].status in (*USABLE, OVER)
        if may_make and state.living < self.options.size:
            return True
        now = self.stored.now
        options = self.options
        return any(one.until <= now if one.owner else one.may_be_given(options) for one in state.sessions.values())

    def _step(self, state: PoolState, avoid: str, only: str, may_make: bool) -> Decision:
        id = f"{self.name}/{secrets.token_hex(5)}"
        return state.take(
            self.stored.now,
            self.options,
            self._worker,
            id,
            making=self.making,
            avoid=avoid,
            may_make=may_make,
            only=only,
        )

    # ------------------------------------------------------------------ what became of one

    def judge(self, used: Used, verdict: str) -> asyncio.Task[None] | None:
        """An answer says so. Soon all know; ``None``: there is nothing to know."""
        entry = self.state.sessions.get(used.id)
        if entry is None or entry.status not in USABLE or entry.generation != used.generation:
            return None  # nobody uses it any more
        if verdict == GOOD:
            if not entry.errors:
                return None
        else:
            self._count(STATS[verdict])
            if verdict != BAD or entry.errors + 1 >= self.options.max_errors:
                self._judged.add(used)
        return self._in_background(self._judge(used, verdict))

    async def _judge(self, used: Used, verdict: str) -> None:
        can = self._can_refresh and not self._leaving
        try:
            make = await self.stored.insist(
                lambda state: state.judge(
                    self.stored.now, used, verdict, self.options, me=self._worker, can_refresh=can
                )
            )
        finally:
            self._judged.discard(used)
            self._least = 0.0
        if make is not None:
            self._makings.begin(make)

    def is_good(self, used: Used) -> bool:
        """Whether it may be used once more for a request that had it, as far as is known."""
        entry = self.state.sessions.get(used.id)
        usable = entry is not None and entry.status in USABLE and entry.generation == used.generation
        return usable and used not in self._judged

    def worker_died(self, worker: str) -> None:
        """What it made is free."""
        if any(entry.owner == worker for entry in self.state.sessions.values()):
            self._in_background(self.stored.insist(lambda state: state.died(self.stored.now, worker)))

    def give_up_making(self, *, closing: bool) -> None:
        """Nobody needs one any more, but for those that can't go back into the queue. If somebody does, another one is
        made, unless the worker is *closing*: then those who wait are told.
        """
        self._leaving = self._leaving or closing
        if not self._staying:
            self._give_up()
        self.stored.wake()

    def _give_up(self) -> None:
        given_up = self._makings.give_up()
        for task in given_up.values():
            self._told.add(task)
            task.add_done_callback(self._told.discard)
        if given_up:  # another worker may need one, and the pool's size counts these
            self._in_background(
                self.stored.insist(lambda state: state.died(self.stored.now, self._worker, among=given_up))
            )

    def _in_background(self, work: Awaitable[object]) -> asyncio.Task[None]:
        async def do() -> None:
            try:
                await work
            except BackendError as error:
                logger.debug("Pool %r: %s", self.name, error)

        task = asyncio.ensure_future(do())
        self._told.add(task)
        task.add_done_callback(self._told.discard)
        return task

    async def close(self) -> None:
        """Give back what was taken and not used, and what is being made."""
        self._closing = True
        self.stored.wake()
        await end_tasks(list(self.making.values()))
        if self._told:
            await asyncio.wait(list(self._told), timeout=LOOK)
        await end_tasks(list(self._told))
        left = {id: counts for id, counts in self._left.items() if counts[1]}

        def give_back(state: PoolState) -> None:
            state.died(self.stored.now, self._worker)
            for id, (generation, uses) in left.items():
                state.give_back(id, generation, uses)

        if self.stored.version:
            try:
                await self.stored.change(give_back)
            except BackendError as error:
                logger.debug("Pool %r: %s", self.name, error)
