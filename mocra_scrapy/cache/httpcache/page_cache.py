"""``PageCache``: one request's way through the cache: look, decide, wait for who asks already, store.

It knows neither Scrapy nor a server: what is asked and answered are
:mod:`~mocra_scrapy.cache.httpcache.messages`, entries are behind :class:`Entries`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from mocra_scrapy.cache.httpcache.machine import Decision, Fetch, Machine, Outcome, Serve, Validate, conditions_for
from mocra_scrapy.cache.httpcache.messages import Answer, Ask, Rules, Stored
from mocra_scrapy.cache.httpcache.record import with_extra
from mocra_scrapy.cache.httpcache.selecting import with_variant
from mocra_scrapy.cache.httpcache.storing import why_not

if TYPE_CHECKING:
    from mocra_scrapy.cache.httpcache.flights import Aside, Flights
    from mocra_scrapy.settings.httpcache import HttpCacheOptions


class Entries(Protocol):
    """Where responses are stored. No method raises because of trouble there: it is a miss then."""

    def name(self, url: str, user: str = "") -> str:
        """What the entry of *url* is called that *user* has."""

    async def read(self, name: str) -> list[Stored]:
        """The responses stored under *name*."""

    async def read_pooled(self, name: str) -> list[Stored]:
        """What is stored of that page for sessions that a pool gave out, whichever: for a replay, which
        has no pool.
        """

    async def write(self, name: str, variants: Sequence[Stored], *, personal: bool = False) -> bool:
        """Store *variants* in their place; whether it was done."""

    async def remove(self, names: Sequence[str]) -> None:
        """They are not to be used any more."""


@dataclass
class Passage:
    """One request on its way.

    Attributes:
        stored: what was stored for its URL when it came.
        leads: whether others may wait for it.
        waited: whether it waited for another one, and got what that stored.
        put_off: whether it would have waited, but the worker closes.
        left: when it went on to the site, seconds since 1970.
    """

    ask: Ask
    name: str
    decision: Decision
    stored: list[Stored] = field(default_factory=list)
    leads: bool = False
    waited: bool = False
    put_off: bool = False
    left: float = 0.0


def rules_of(options: HttpCacheOptions) -> Rules:
    """The rules that a scope's settings stand for."""
    return Rules(
        shared=options.shared,
        heuristic=options.heuristic,
        heuristic_max=options.heuristic_max,
        negative=options.negative,
        stale_if_error=options.stale_if_error,
        always_store=options.always_store,
        ignored=options.ignored_directives,
        ignored_statuses=options.ignored_statuses,
    )


class PageCache:
    """Of one worker.

    Args:
        flights: who asks; ``None``: everybody asks for himself.
        wait: seconds that a request waits for another one's answer, at most.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        machine: Machine,
        entries: Entries,
        flights: Flights | None,
        wait: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.machine, self.entries, self._flights = machine, entries, flights
        self._wait, self._clock = wait, clock

    async def offline(self, ask: Ask) -> Answer | None:
        """What is stored, however old."""
        if ask.method not in (b"GET", b"HEAD"):
            return None
        name, now = self.entries.name(ask.url, ask.user), self._clock()
        found = self.machine.offline(ask, await self.entries.read(name), now)
        if found is None and not ask.user:
            found = self.machine.offline(ask, await self.entries.read_pooled(name), now)
        return found

    async def begin(self, ask: Ask, aside: Callable[[], Aside] = nullcontext) -> Passage:
        """What to do with *ask*. Where another one asks for the same, its answer is waited for, within
        *aside*.
        """
        name = self.entries.name(ask.url, ask.user)
        stored = await self.entries.read(name) if ask.method in (b"GET", b"HEAD") else []
        passage = Passage(ask, name, self.machine.begin(ask, stored, self._clock()), stored)
        if self._flights is not None and self._may_be_shared(passage):
            found, passage.leads = await self._flights.enter(name, lambda: self._look(passage), self._wait, aside)
            passage.waited = found is not None
            passage.put_off = found is None and not passage.leads and self._flights.stopped
        passage.left = self._clock()
        return passage

    async def _look(self, passage: Passage) -> Serve | None:
        """What another one has stored meanwhile, if it answers; else it is known as well."""
        passage.stored = await self.entries.read(passage.name)
        decision = passage.decision = self.machine.begin(passage.ask, passage.stored, self._clock())
        return decision if isinstance(decision, Serve) else None

    @staticmethod
    def _may_be_shared(passage: Passage) -> bool:
        """Whether the answer may be one for others: then it is worth waiting for."""
        ask = passage.ask
        return (
            ask.method == b"GET"
            and isinstance(passage.decision, (Fetch, Validate))
            and b"no-store" not in ask.directives
            and b"range" not in ask.fields
        )

    async def validation(self, passage: Passage) -> Passage | None:
        """A passage that validates, behind the scenes, what was served stale; ``None``: somebody does so
        already, or it can't be done.
        """
        served = passage.decision
        if not isinstance(served, Serve) or self._flights is None or not await self._flights.begin(passage.name):
            return None
        conditions = conditions_for(served.stored)
        decision = Validate(served.stored, conditions) if conditions else Fetch(served.stored)
        return replace(passage, decision=decision, leads=True, waited=False, left=self._clock())

    async def answered(
        self, passage: Passage, answer: Answer, *, refused: bool = False, **extra: object
    ) -> tuple[Outcome, bool]:
        """What follows from the site's *answer*, after it was done; and whether something was stored.

        Args:
            refused: it is none for others (a ban, the end of a session): it changes nothing here, and who
                waits for it asks for himself.
            extra: is kept beside it.
        """
        stored = False
        try:
            ask, now = passage.ask, self._clock()
            if ask.method == b"HEAD":
                outcome = self.machine.headed(ask, passage.stored, answer, now=now)
            else:
                outcome = self.machine.answered(
                    ask, passage.decision, answer, requested=passage.left, received=max(now, passage.left)
                )
            if refused and not outcome.validated:
                outcome = Outcome(outcome.answer, stale=outcome.stale)
            if outcome.invalidate:
                users = {"", ask.user}  # others' copies are others' caches
                await self.entries.remove([self.entries.name(url, u) for url in outcome.invalidate for u in users])
            if outcome.store is not None:
                extra = {**extra, **outcome.store.extra, **asked_with(ask)}  # a 304 says nothing of the body
                new = with_extra(outcome.store, **extra) if extra else outcome.store
                others = any(one.selecting != new.selecting for one in passage.stored)
                known = await self.entries.read(passage.name) if others else ()  # as they are by now
                stored = await self.entries.write(
                    passage.name, with_variant(known, new), personal=is_personal(ask, answer)
                )
            elif outcome.drop:
                await self._drop(passage)
        finally:
            self._landed(passage, stored=stored, useless=not (stored or refused))
        return outcome, stored

    async def _drop(self, passage: Passage) -> None:
        served = passage.decision
        one = served.stored if isinstance(served, (Validate, Fetch)) else None
        rest = [other for other in passage.stored if one is not None and other.selecting != one.selecting]
        if not rest or not await self.entries.write(passage.name, rest):
            await self.entries.remove([passage.name])

    def why_not(self, ask: Ask, answer: Answer) -> str:
        """Why *answer* may not be stored at all; ``""``: it may."""
        return why_not(Stored(answer, {}, 0.0, 0.0), ask, self.machine.rules)

    def failed(self, passage: Passage) -> Answer | None:
        """What stands for a site that can't be reached."""
        if self._flights is not None and passage.ask.method == b"GET":
            self._flights.failed(passage.name, leads=passage.leads)
            passage.leads = False
        return self.machine.failed(passage.ask, passage.decision, self._clock())

    def given_up(self, passage: Passage) -> None:
        """There is no answer: the next one asks."""
        if passage.leads and self._flights is not None:
            passage.leads = False
            self._flights.leave(passage.name, stored=False)

    def _landed(self, passage: Passage, *, stored: bool, useless: bool) -> None:
        if passage.leads and self._flights is not None:
            passage.leads = False
            self._flights.leave(passage.name, stored=stored, useless=useless)


def is_personal(ask: Ask, answer: Answer) -> bool:
    """Whether *answer* may have been made for somebody: no dictionary learns from it."""
    return b"cookie" in ask.fields or b"authorization" in ask.fields or b"set-cookie" in answer.fields


def asked_with(ask: Ask) -> dict[str, object]:
    """What is kept beside the answer to *ask*, so that it is known for whom it was made: no values."""
    names = [name for name in (b"authorization", b"cookie") if name in ask.fields]
    return {"asked_with": names} if names else {}
