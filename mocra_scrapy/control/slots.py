"""The limits of single slots of a crawl, as a person sees and changes them.

::

    slots = SlotControl(backend, "shop:books", by="me")
    await slots.rate("example.com", 0.5, lasts=3600)  # two a second, for an hour

What is in force is in the store, where every worker finds it with its next call: nothing is sent,
and nobody has to restart. Beside it stands, for people only, who said it and when.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from heapq import nsmallest
from typing import TYPE_CHECKING, Any

from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.models import (
    APART,
    BreakerRules,
    BreakerState,
    LimitChange,
    QueueOptions,
    Quota,
    RulesInForce,
    SlotState,
    StallRules,
    StallState,
    slots_namespace,
)
from mocra_scrapy.models.rule_sets import RuleSet, strictest

if TYPE_CHECKING:
    from mocra_scrapy.interfaces import IBackend

#: Names that are suggested in place of one that is unknown.
NEAR = 3


@dataclass(frozen=True, slots=True)
class SlotView:
    """One slot or scope, as it stands.

    Attributes:
        pending: entries that wait for their turn, of all its lists.
        origins: which keys of the workers' settings its limit is from.
        notes: what people said of its ``rate``, and of its ``hold`` or pause: ``{"at", "by"}`` each, with
            ``until`` where that ends; at and until in seconds since the epoch, by their clock.
        backlog: seconds that its pending entries take at its rate, and with its quotas; 0: it has none, or
            nothing waits.
    """

    name: str
    pending: int
    state: SlotState
    circuit: BreakerState
    stall: StallState
    origins: Sequence[str] = ()
    notes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def backlog(self) -> float:
        limit = self.state.limit
        each = max([limit.interval, *(window / most for most, window in limit.quotas)])
        return self.pending * each


class SlotControl:
    """Looks at the slots of one crawl and changes them, on all workers, also those to come.

    A change goes before the settings of all workers, and ends with the run.

    Args:
        backend: open.
        crawl: the crawl's name.
        by: who does it, for people.
        breaker: as in the workers' settings; ``None``: they have no breaker for slots.

    Raises:
        ConfigurationError: the slot is unknown, or each worker is polite for itself.
        BackendUnavailable: no answer; whether it was stored is unknown, say it again.
    """

    def __init__(self, backend: IBackend, crawl: str, by: str = "", breaker: BreakerRules | None = None) -> None:
        options = QueueOptions()
        self.crawl = crawl
        self._by, self._rules = by, breaker
        self._queue = backend.request_queue(crawl, options)
        self._limiter = backend.rate_limiter(crawl, options)
        self._stalls = backend.stalls(crawl, StallRules(), options)
        self._breaker = backend.breaker(crawl, breaker or BreakerRules(), options)
        self._notes = backend.shared_values(slots_namespace(crawl))

    async def close(self) -> None:
        """Let go. The backend is the caller's."""
        await self._notes.close()
        await self._queue.close()

    # ------------------------------------------------------------------ looks

    async def look(self, pattern: str = "*", top: int = 20) -> tuple[Sequence[SlotView], int]:
        """The *top* slots and scopes that are called *pattern*, or fit it (:mod:`fnmatch`), and have
        most pending, and how many there are.
        """
        known = await self._limiter.slots()
        fits = {name: n for name, n in known.items() if name == pattern or fnmatchcase(name, pattern)}
        rules = await self._queue.rules_in_force()
        shown = nsmallest(top, fits, key=lambda name: (-fits[name], name))
        return [await self._view(name, fits[name], rules) for name in shown], len(fits)

    async def view(self, name: str) -> SlotView:
        """One of them, known or not."""
        pending = (await self._limiter.slots()).get(name, 0)
        return await self._view(name, pending, await self._queue.rules_in_force())

    async def _view(self, name: str, pending: int, rules: RulesInForce) -> SlotView:
        return SlotView(
            name,
            pending,
            await self._limiter.look(name),
            await self._breaker.look(name),
            await self._stalls.look(name),
            origins_of(name, rules),
            await self._notes_of(name),
        )

    async def tripped(self, limit: int = 100) -> Sequence[BreakerState]:
        """Slots whose circuit is not closed."""
        return await self._breaker.tripped(limit)

    async def circuit(self, slot: str) -> BreakerState:
        return await self._breaker.look(slot)

    # ------------------------------------------------------------------ changes

    async def rate(self, slot: str, interval: float, lasts: float | None = None) -> SlotState:
        """One departure in *interval* seconds (0: no limit), for *lasts* seconds or until the run
        ends; how the slot stands then.
        """
        change = (await self._limiter.look(slot)).change
        burst = None if change.adapted else change.burst
        concurrency = None if change.adapted else change.concurrency
        await self._limiter.change(slot, LimitChange(interval, burst, concurrency, lasts=lasts))
        await self._note(slot, "rate", lasts)
        return await self._limiter.look(slot)

    async def quota(self, slot: str, quotas: Sequence[Quota] | None) -> SlotState:
        """These count in place of the settings' (none at all where it is empty; ``None``: the settings'
        again), until the run ends; how the slot stands then.
        """
        await self._limiter.set_quotas(slot, quotas)
        return await self._limiter.look(slot)

    async def hold(self, slot: str, seconds: float) -> SlotState:
        """Nothing departs for so long; a longer hold stays."""
        await self._limiter.hold(slot, seconds)
        await self._note(slot, "hold", seconds)
        return await self._limiter.look(slot)

    async def pause(self, slot: str) -> None:
        """Nothing departs until :meth:`resume`."""
        await self._limiter.pause(slot)
        await self._note(slot, "hold")

    async def resume(self, slot: str) -> bool:
        """End a pause and any hold; ``False``: there was none. An open circuit is tried at once."""
        state = await self._limiter.look(slot)
        was_held = state.paused or state.held > 0
        await self._limiter.resume(slot)
        await self._keep_notes(slot, {"rate": note} if (note := (await self._notes_of(slot)).get("rate")) else {})
        return was_held

    async def reset(self, slot: str) -> bool:
        """The settings rule again: changes, slowing down after failures, pauses and holds are gone,
        and the slot's failures are forgotten; whether it had been given up. Its circuit stays.
        """
        await self._limiter.reset(slot)
        given_up = await self._stalls.reset(slot)
        await self._notes.put(slot, None)
        return given_up

    async def open(self, slot: str, seconds: float | None = None) -> BreakerState:
        """Open the circuit of *slot*, for *seconds* or as long as ``MOCRA_BREAKER`` says.

        Raises:
            ConfigurationError: nobody would judge the probes, or the run is over.
        """
        if self._rules is None or self._rules.slot is None:
            fix = f'Set one, for example MOCRA_BREAKER = "mocra", or use: scrapy mocra slots hold {slot} 10m'
            raise ConfigurationError("MOCRA_BREAKER", "there is no breaker of slots, nobody would judge probes", fix)
        if not await self._breaker.open(slot, seconds):
            raise ConfigurationError(slot, f"crawl {self.crawl!r} is finished, it has no circuits", "Start it first")
        return await self._breaker.look(slot)

    async def reset_circuit(self, slot: str) -> bool:
        """Close the circuit of *slot* and forget its failures; ``False``: it was closed."""
        return await self._breaker.reset(slot)

    async def reset_stall(self, slot: str) -> bool:
        """Forget the failures of *slot*, and open it if it was given up; ``False``: it was not."""
        return await self._stalls.reset(slot)

    # ------------------------------------------------------------------ checks and notes

    async def check(self, names: Sequence[str], *, known: bool = True) -> None:
        """Raises ConfigurationError: changing these would change nothing, or (if they are to be
        *known*) nothing is stored of one.
        """
        rules = await self._queue.rules_in_force()
        if APART in rules.sets:
            raise ConfigurationError(
                "MOCRA_THROTTLE_SCOPE",
                f"it is 'worker' on {sum(digest == APART for digest in rules.workers.values())} worker(s), each is polite for itself",
                "Set it to 'cluster' and start them again; or control the whole crawl with scrapy mocra control",
            )
        if not known:
            return
        slots = await self._limiter.slots()
        for slot in names:
            if slot in slots:
                continue
            near = near_names(slot, slots)
            fix = f"Did you mean {' or '.join(near)}?" if near else "scrapy mocra slots look lists them"
            raise ConfigurationError(
                slot, f"crawl {self.crawl!r} has no such slot now", f"{fix} To set it before it comes up: --force"
            )

    async def _note(self, slot: str, of: str, lasts: float | None = None) -> None:
        now = time.time()
        told = {"at": now, "by": self._by, "run": (await self._queue.state()).run}
        note = told if lasts is None else {**told, "until": now + lasts}
        await self._keep_notes(slot, {**await self._notes_of(slot), of: note})

    async def _keep_notes(self, slot: str, notes: Mapping[str, Any]) -> None:
        await self._notes.put(slot, json.dumps(notes).encode() if notes else None)

    async def _notes_of(self, slot: str) -> dict[str, Mapping[str, Any]]:
        """What people said of *slot* in this run, as far as it is not over."""
        stored = (await self._notes.get(slot)).value
        if stored is None:
            return {}
        run, now = (await self._queue.state()).run, time.time()
        try:
            notes = {of: dict(note) for of, note in json.loads(stored).items()}
            return {of: note for of, note in notes.items() if note["run"] == run and note.get("until", now) >= now}
        except (ValueError, TypeError, AttributeError, KeyError):
            return {}  # not ours


def origins_of(name: str, rules: RulesInForce) -> Sequence[str]:
    """The keys of the workers' settings that say the limit of *name*: those of the strictest rules."""
    sets = [one for one in rules.sets.values() if one is not None]
    if not sets:
        return ()
    limit = strictest([one.of(name) for one in sets])
    decisive = [one for one in sets if one.of(name).interval == limit.interval]
    return sorted({_origin(name, one) for one in decisive})


def _origin(name: str, rules: RuleSet) -> str:
    if name in rules.names:
        return repr(name)
    if name.startswith("@"):
        return "no rule"
    return next((repr(pattern) for pattern, _ in rules.patterns if fnmatchcase(name, pattern)), "every slot")


def near_names(name: str, known: Mapping[str, int]) -> list[str]:
    """Of *known*, those that a person may have meant: which contain it, or are spelled like it."""
    from difflib import get_close_matches

    inside = sorted((one for one in known if name.lower() in one.lower()), key=len)
    return list(dict.fromkeys([*inside, *get_close_matches(name, known, NEAR, 0.6)]))[:NEAR]
