"""The task that talks to the store: outcomes, permits, probes and bindings of a worker go in one call
now and then, never one for each choice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.exceptions import MocraError
from mocra_scrapy.models import Binding, ProxyAnswer, ProxyTurn
from mocra_scrapy.models.proxies import OF_PROXY, OF_SITE

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IProxies
    from mocra_scrapy.proxies.choices import Choices
    from mocra_scrapy.proxies.members import Member, Wish
    from mocra_scrapy.proxies.reports import Reports
    from mocra_scrapy.proxies.wants import Wants

logger = logging.getLogger(__name__)

#: Seconds between two turns: of a worker that only has successes to tell; that has news or waits.
CALM, SOON = 2.0, 0.05
#: Seconds after a turn that failed; and, at most, while somebody waits in vain.
AWAY, DENIED = 0.5, 0.5
#: Seconds for which a worker counts as alive after a turn.
LEASE = 30.0
#: Seconds that an unused probe is kept.
PATIENCE = 20.0
#: Sites that are remembered as down, at most.
SITES = 10_000


class Turns:
    """Of one worker.

    Args:
        sweep: called before each turn.
        heard: called with each answer.
        refreshed: called when providers are to be read again.

    Attributes:
        down: site -> monotonic, until when it counts as down.
        bindings: what is to be bound with the next turn, by key.
        is_away: whether the last turn failed.
        lost: reports whose turn failed.
    """

    def __init__(
        self,
        store: IProxies,
        worker: str,
        choices: Choices,
        wants: Wants,
        reports: Reports,
        *,
        sweep: Callable[[], None],
        heard: Callable[[ProxyAnswer], None],
        refreshed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._worker, self._clock = store, worker, clock
        self._choices, self._wants, self._reports = choices, wants, reports
        self._sweep, self._heard, self._refreshed = sweep, heard, refreshed
        self._numbers = count(int(time.time() * 1000) % 10**12)
        self._version, self._refresh = 0, -1
        self._kicked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._waiters: dict[asyncio.Future[None], tuple[Wish, str, Member | None]] = {}
        self._in_vain = 0  # turns one after the other that did not help everybody
        self._granted_until = 0.0
        self._probed_at: dict[tuple[Member, str], float] = {}
        self.bindings: dict[str, Binding] = {}
        self.bound: dict[str, str] = {}
        self.down: dict[str, float] = {}
        self.is_short = self.is_away = False
        self.lost = 0

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Begin to talk."""
        self._task = asyncio.create_task(self._run(), name="mocra proxies")

    async def close(self) -> None:
        """Tell the rest, and give back what is held."""
        if self._task is not None:
            await end_tasks([self._task])
            with contextlib.suppress(MocraError):
                if len(self._reports):
                    await self._turn()
                await self._store.leave(self._worker)
        for waiter in self._waiters:
            waiter.cancel()

    def learn_anew(self) -> None:
        """There are proxies of which the store may have told before they were known here."""
        self._version = 0
        self._reports.is_urgent = True
        self.kick()

    def kick(self) -> None:
        """Something is to be told or asked soon."""
        self._kicked.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._turn()
            except MocraError as error:
                logger.debug("Nothing was told of proxies: %s", error)
                await asyncio.sleep(AWAY)
                continue
            except Exception:
                logger.exception("Proxies can't be told of")
                await asyncio.sleep(AWAY)
                continue
            await self._pause()

    async def _pause(self) -> None:
        started = self._clock()
        self._kicked.clear()
        while not self._reports.is_urgent and not self._waiters and not self.bindings:
            wait = started + CALM - self._clock()
            at = self._wants.next_probe()
            if at is not None:
                wait = min(wait, max(SOON, at - self._clock()))
            if wait <= 0:
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._kicked.wait(), wait)
            if not self._kicked.is_set():
                return
            self._kicked.clear()
        # Who waited already during the last turns is not helped by asking at once again.
        self._in_vain = self._in_vain + 1 if self._waiters else 0
        await asyncio.sleep(min(DENIED, SOON * 2 ** min(8, self._in_vain)) if self._in_vain > 1 else SOON)

    # ------------------------------------------------------------------ waiting

    async def wait(self, wish: Wish, site: str, member: Member | None, seconds: float) -> None:
        """Until something changed that may matter to who wants a proxy for *site*, or *seconds* are
        over.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = (wish, site, member)
        self.kick()
        try:
            await asyncio.wait([waiter], timeout=max(0.0, seconds))
        finally:
            self._waiters.pop(waiter, None)

    def wake(self) -> None:
        """Somebody may go on: all look again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    @property
    def permits_hold(self) -> bool:
        """Whether the store still takes this worker for alive."""
        return self._clock() < self._granted_until

    # ------------------------------------------------------------------ one turn

    async def _turn(self) -> None:
        self._sweep()
        for member, site in self._choices.probes():
            if self._probed_at.get((member, site), 0.0) + PATIENCE < self._clock():
                self._choices.no_probe(member, site)
                self._reports.unused(member.identity, site, OF_SITE if site else OF_PROXY)
        asked_at, reports = self._clock(), self._reports.take()
        wishes = self._wants.permits(list(self._waiters.values())[:64], self.is_short)
        probes, bindings = self._wants.probes(), dict(list(self.bindings.items())[:500])
        # From now on others may have what is given back with this call, whether or not its answer comes.
        for wish in wishes:
            self._gives_back(wish.proxy, wish.number)
        turn = ProxyTurn(
            self._worker,
            next(self._numbers),
            LEASE,
            reports,
            wishes,
            [(member.identity, site) for member, site in probes],
            list(bindings.values()),
            self._version,
        )
        try:
            answer = await self._store.turn(turn)
        except BaseException:
            self.is_away = True
            self.lost += len(reports)
            if not self.permits_hold:
                self.forget_permits()
            raise
        self.is_away = False
        if answer.stale:
            return
        self._granted_until = asked_at + LEASE
        for key, binding in bindings.items():
            if self.bindings.get(key) is binding:
                del self.bindings[key]
        self.bound = dict(answer.bound)
        self._take(answer, asked_at, probes)
        self._heard(answer)
        self.wake()

    def _gives_back(self, identity: str, number: int) -> None:
        for member in self._known(identity):
            if number < member.granted:
                member.granted = number
                self._choices.changed(member)

    def _known(self, identity: str) -> list[Member]:
        """The member of that name, and those of the same name that are gone and still in use."""
        known = self._choices.members.get(identity)
        found = [] if known is None else [known]
        return found + [member for member in self._wants.held if member.identity == identity and member is not known]

    def forget_permits(self) -> None:
        """The store has not heard of this worker for so long that it gives its permits to others."""
        for member in list(self._wants.held):
            member.granted = 0
            self._choices.changed(member)
            self._wants.touch(member)

    def _take(self, answer: ProxyAnswer, now: float, probes: list[tuple[Member, str]]) -> None:
        members, at = self._choices.members, self._clock()
        self._version, self.is_short = answer.version, answer.is_short
        for record in answer.records:
            if not record.proxy:
                self.down.pop(record.site, None)
                if record.wait:
                    self.down[record.site] = at + record.wait
                    if len(self.down) > SITES:
                        del self.down[next(iter(self.down))]
                continue
            member = members.get(record.proxy)
            if member is None:
                continue
            member.at(record.site).take(record, at)
            self._wants.heard(member, record.site)
            self._choices.changed(member)
        for identity, number in answer.granted.items():
            for member in self._known(identity):
                more = number > member.granted
                member.granted = number
                member.denied = at + 1.0 if number <= member.in_use and self.is_short else member.denied
                member.used_at = at if more else member.used_at
                self._choices.changed(member)
                self._wants.touch(member)
        for (member, site), granted in zip(probes, answer.probes, strict=False):
            if granted:
                self._probed_at[member, site] = at
                self._choices.has_probe(member, site)
        if answer.refresh != self._refresh:
            is_first, self._refresh = self._refresh < 0, answer.refresh
            if not is_first:
                self._refreshed()
        if answer.more:
            self.kick()
            self._reports.is_urgent = True
