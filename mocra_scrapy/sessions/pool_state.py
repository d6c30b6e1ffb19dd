"""What is stored of a pool, and the steps that change it. Pure; no secret is in here.

::

    (nothing) ──take──▶ new ──made──▶ good ──expired──▶ refresh ──made──▶ good …
                         │ failed, or     │ errors, age           │ failed, or
                         ▼ worker died    ▼                       ▼ worker died
                         over            over                     over ──KEPT──▶ (gone, and what it held is deleted)

    good ──all uses are taken──▶ spent: workers use what they took; another one is made; ──KEPT──▶ (gone)

A worker changes it by compare-and-set, so each step is taken by one of them. What is *new* or in
*refresh* belongs to one worker until ``until``, which it moves on while it lives. ``generation`` says
which log-in an answer speaks of: a verdict about an earlier one changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from mocra_scrapy.models.sessions import BAD, EXPIRED, GOOD

if TYPE_CHECKING:
    from mocra_scrapy.settings.sessions import PoolOptions

NEW, READY, SPENT, REFRESH, OVER = "new", "good", "spent", "refresh", "over"
#: Usable by who has uses of it.
USABLE = (READY, SPENT)
#: Seconds without a sign of life after which a session that is being made is another worker's to make.
LEASE = 15.0
#: Seconds that what a session held is kept after its end: requests may still be on their way with it.
KEPT = 600.0
#: What a good answer makes up for, in bad ones (crawlee's).
FORGIVEN = 0.5
#: A worker takes such a part of the uses that are left at once, so that not each page asks.
PART = 4


@dataclass(slots=True)
class Entry:
    """One session of a pool. Times are seconds of the store's clock.

    Attributes:
        owner: the worker that makes or refreshes it; ``until``: as long as it is heard of.
        made: when it became good.
        uses: that workers have taken.
        errors: bad answers, less what good ones made up for.
    """

    status: str = NEW
    owner: str = ""
    until: float = 0.0
    generation: int = 1
    made: float = 0.0
    uses: int = 0
    errors: float = 0.0

    def may_be_given(self, options: PoolOptions) -> bool:
        """Whether there is a use of it that no worker has taken; also one that came back."""
        return self.status in USABLE and not 0 < options.max_uses <= self.uses


class Make(NamedTuple):
    """This worker makes, or refreshes, a session."""

    id: str
    generation: int
    refresh: bool = False


class Used(NamedTuple):
    """A session that a request was given. *generation*: which log-in of it."""

    id: str
    generation: int


class Grant(NamedTuple):
    """This worker may use a session *uses* times; 0: without limit."""

    id: str
    generation: int
    uses: int = 0


class Decision(NamedTuple):
    grant: Grant | None = None
    make: Make | None = None
    #: What these held is to be deleted.
    drop: tuple[str, ...] = ()
    #: Too many sessions could not be made.
    over: bool = False


@dataclass(slots=True)
class PoolState:
    """Attributes:
    run: of the crawl, to which ``bad`` counts.
    bad: attempts to make a session that failed since the last that went well.
    """

    run: int = 0
    bad: int = 0
    made: int = 0
    sessions: dict[str, Entry] = field(default_factory=dict)

    def pack(self) -> bytes:
        return json.dumps({"v": 1, **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def unpack(cls, raw: bytes | None) -> PoolState:
        """Raises ValueError: none of us wrote that."""
        if raw is None:
            return cls()
        try:
            stored = json.loads(raw)
            sessions = {str(id): Entry(**entry) for id, entry in stored["sessions"].items()}
            return cls(int(stored["run"]), int(stored["bad"]), int(stored["made"]), sessions)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None

    def copy(self) -> PoolState:
        return replace(self, sessions={id: replace(entry) for id, entry in self.sessions.items()})

    @property
    def living(self) -> int:
        """Sessions that count for the pool's size."""
        return sum(entry.status not in (SPENT, OVER) for entry in self.sessions.values())

    # ------------------------------------------------------------------ steps

    def tidy(self, now: float, options: PoolOptions) -> list[str]:
        """What ends by itself ends; of whom all is to be deleted."""
        drop = []
        for id, entry in list(self.sessions.items()):
            if entry.status in USABLE and options.max_age and entry.made + options.max_age <= now:
                self._end(entry, now)
            elif entry.status == READY and options.max_uses and entry.uses >= options.max_uses:
                entry.status, entry.until = SPENT, now + KEPT
            elif entry.owner and entry.until <= now:
                self._end(entry, now)  # its worker died: another session is made
            elif entry.status in (SPENT, OVER) and entry.until <= now:
                drop.append(id)
                del self.sessions[id]
        return drop

    @staticmethod
    def _end(entry: Entry, now: float) -> None:
        entry.status, entry.owner, entry.until = OVER, "", now + KEPT

    def take(
        self,
        now: float,
        options: PoolOptions,
        me: str,
        new_id: str,
        *,
        making: Collection[str] = (),
        avoid: str = "",
        may_make: bool = True,
        only: str = "",
    ) -> Decision:
        """What a worker that wants a session gets: one that is good, the making of one where the pool is
        not full, or both; neither: it waits.

        Args:
            making: sessions that it makes now. What else is said to be its own was asked for by a call
                whose answer was lost: nobody makes it.
            avoid: the session that a retry had before: another one, if there is another one.
            only: a session that is asked for by name.
        """
        for id, entry in self.sessions.items():
            if entry.owner == me and id not in making:
                self._end(entry, now)
        drop = self.tidy(now, options)
        if self.bad >= options.max_bad_inits:
            return Decision(drop=tuple(drop), over=True)
        make = None
        if may_make and not only and self.living < options.size:
            self.sessions[new_id] = Entry(NEW, me, now + LEASE)
            make = Make(new_id, 1)
        return Decision(self._grant(options, avoid, only), make, tuple(drop))

    def _grant(self, options: PoolOptions, avoid: str, only: str) -> Grant | None:
        good = [id for id, entry in self.sessions.items() if entry.may_be_given(options) and only in ("", id)]
        if not good:
            return None
        id = min(good, key=lambda id: (id == avoid, self.sessions[id].uses))
        entry = self.sessions[id]
        if not options.max_uses:
            return Grant(id, entry.generation)
        uses = max(1, (options.max_uses - entry.uses) // PART)
        entry.uses += uses
        return Grant(id, entry.generation, uses)

    def made_it(self, now: float, make: Make, me: str, *, good: bool | None) -> bool:
        """The worker *me* has made it, or failed to, or (``None``) gave up and that does not count;
        ``False``: it was not its any more.
        """
        entry = self.sessions.get(make.id)
        if entry is None or entry.owner != me or entry.generation != make.generation:
            return False
        if good:
            self.bad, self.made = 0, self.made + 1
            entry.status, entry.owner, entry.until, entry.made, entry.uses, entry.errors = READY, "", 0.0, now, 0, 0.0
        else:
            self.bad += good is False
            self._end(entry, now)
        return True

    def go_on(self, now: float, make: Make, me: str) -> bool:
        """The worker that makes it lives; ``False``: it is not its any more."""
        entry = self.sessions.get(make.id)
        if entry is None or entry.owner != me or entry.generation != make.generation:
            return False
        entry.until = now + LEASE
        return True

    def judge(
        self, now: float, used: Used, verdict: str, options: PoolOptions, *, me: str, can_refresh: bool
    ) -> Make | None:
        """An answer said *verdict* of a session; the refreshing of it, if that is this worker's now."""
        id, entry = used.id, self.sessions.get(used.id)
        if entry is None or entry.status not in USABLE or entry.generation != used.generation:
            return None
        if verdict == GOOD:
            entry.errors = max(0.0, entry.errors - FORGIVEN)
        elif verdict == BAD:
            entry.errors += 1
            if entry.errors >= options.max_errors:
                self._end(entry, now)
        elif verdict == EXPIRED and can_refresh and entry.status == READY:
            entry.status, entry.owner, entry.until = REFRESH, me, now + LEASE
            entry.generation += 1
            return Make(id, entry.generation, True)
        else:
            self._end(entry, now)
        return None

    def give_back(self, id: str, generation: int, uses: int) -> None:
        """A worker did not need *uses* of what it took."""
        entry = self.sessions.get(id)
        if entry is not None and entry.generation == generation:
            entry.uses = max(0, entry.uses - uses)

    def died(self, now: float, worker: str, among: Collection[str] | None = None) -> None:
        """What *worker* made, of *among* or at all, goes to whoever needs it."""
        for id, entry in self.sessions.items():
            if entry.owner == worker and (among is None or id in among):
                self._end(entry, now)

    def begin(self, run: int) -> None:
        """Of an earlier run of the crawl it does not count what failed."""
        if self.run != run:
            self.run, self.bad = run, 0
