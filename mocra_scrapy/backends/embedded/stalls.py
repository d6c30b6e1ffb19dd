"""The rules of :class:`~mocra_scrapy.interfaces.IStalls`: clocks of slots that fail, and slots that
were given up.

==============  ================================================================================
``failing``     slot -> :class:`Failing`, from its first failure to its next success
``given_up``    slot -> why
``doomed``      entries of these, on their way to the dead letters; they count as pending
==============  ================================================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace

from mocra_scrapy.backends.embedded.slots import Item
from mocra_scrapy.models import Attempts, StallRules, StallState
from mocra_scrapy.models.entries import names_of
from mocra_scrapy.models.stalls import why_stalled

#: Entries that one call makes dead letters, at most.
MOST = 100
#: Seconds after which a failing slot of which nothing more is heard is forgotten.
REMEMBER = 7 * 86_400.0
#: Failing slots that are known before those that are over are looked for.
MANY = 10_000


@dataclass(frozen=True, slots=True)
class Failing:
    """A slot since its last success.

    Attributes:
        attempts: failed ones, one after the other.
        clock: seconds in which attempts were allowed.
        told: when it last failed; ``counted``: when an attempt was last counted.
        until: when the wait ends that the site asked for.
        waits: attempts that failed behind such a wait.
        idle: whether nothing of it was stored when it last failed.
    """

    attempts: int
    clock: float
    told: float
    counted: float
    until: float
    waits: int = 0
    idle: bool = False

    def after(self, one: Attempts, rules: StallRules, now: float, idle: bool) -> Failing:
        """With one more report of failures."""
        departed = now - one.age
        is_next = departed >= self.counted and (departed >= self.until or self.waits >= rules.attempts)
        waited = is_next and self.until > self.counted
        start = self.told if self.waits >= rules.attempts else max(self.told, self.until)
        start = max(start, now - one.working, departed if self.idle else 0.0)
        return Failing(
            self.attempts + is_next,
            self.clock + max(0.0, now - start),
            now,
            now if is_next else self.counted,
            max(self.until, now + one.hold),
            self.waits + waited,
            idle,
        )


@dataclass(slots=True)
class Stalls:
    """See the table above."""

    failing: MutableMapping[str, Failing] = field(default_factory=dict)
    given_up: MutableMapping[str, str] = field(default_factory=dict)
    doomed: deque[Item] = field(default_factory=deque)

    def takes(self, item: Item) -> bool:
        """Whether *item* is of a slot that was given up, and goes with it."""
        if not self.given_up or names_of(item.list_name)[0] not in self.given_up:
            return False
        self.doomed.append(item)
        return True

    def open_again(self, slot: str) -> list[Item]:
        """*slot* is as before; what is left of it."""
        self.failing.pop(slot, None)
        if self.given_up.pop(slot, None) is None:
            return []
        left = [item for item in self.doomed if names_of(item.list_name)[0] == slot]
        self.doomed = deque(item for item in self.doomed if names_of(item.list_name)[0] != slot)
        return left

    def count(self, one: Attempts, rules: StallRules, now: float, is_idle: Callable[[str], bool]) -> str:
        """Count failures of *one*; why its slot is to be given up, empty: it is not."""
        if one.slot in self.given_up:
            return ""
        known, idle = self.failing.get(one.slot), is_idle(one.slot)
        if known is None:
            until = now + one.hold
            known = Failing(1, min(one.age, one.working), now, now, until, idle=idle)
        else:
            known = known.after(one, rules, now, idle)
        self.failing[one.slot] = known
        if len(self.failing) > MANY:
            self._forget(now)
        if rules.longest and known.clock >= rules.longest and known.attempts >= rules.attempts:
            return why_stalled(known.attempts, known.clock, one.why)
        return ""

    def _forget(self, now: float) -> None:
        for slot in [slot for slot, known in self.failing.items() if known.told + REMEMBER < now]:
            del self.failing[slot]

    def resumed(self, slot: str, now: float) -> None:
        """A pause is over: nobody could try meanwhile."""
        known = self.failing.get(slot)
        if known is not None:
            self.failing[slot] = replace(known, told=now)

    def look(self, slot: str) -> StallState:
        known = self.failing.get(slot)
        why = self.given_up.get(slot, "")
        return StallState(slot, given_up=why) if known is None else StallState(slot, known.attempts, known.clock, why)

    def clear(self) -> None:
        self.failing.clear()
        self.given_up.clear()
        self.doomed.clear()
