"""How fast this worker fetches, and how often it is asked to go slower."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """Of one slot.

    Attributes:
        seconds: departures by whole seconds, ``[second, number]``, the newest last.
        bad: share of bad answers among the last ones.
        since: until when the site asked to be left alone: before that nobody could go.
    """

    seconds: list[list[int]] = field(default_factory=list)
    bad: float = 0.0
    since: float = 0.0


class SlotRates:
    """How fast this worker fetches from each slot, and how large a part of the last answers asked
    it to go slower.
    """

    #: Of the last ten answers or so: one bad answer among good ones is an accident, two in a row
    #: are a word.
    MEMORY, FAILING = 0.1, 0.15
    #: s over which a rate is taken: at most (what is older says nothing of now), at least (a burst is
    #: no rate); slots that are known.
    SPAN, LEAST, MOST = 10, 2.0, 10_000

    def __init__(self) -> None:
        self._slots: dict[str, Pace] = {}

    def departed(self, slot: str, now: float) -> None:
        known = self._slots.get(slot)
        if known is None:
            if len(self._slots) >= self.MOST:
                self._slots.clear()
            known = self._slots[slot] = Pace()
        second, seconds = int(now), known.seconds
        if seconds and seconds[-1][0] == second:
            seconds[-1][1] += 1
        else:
            seconds.append([second, 1])
            if len(seconds) > self.SPAN:
                del seconds[0]

    def answered(self, slot: str, bad: bool) -> None:
        known = self._slots.get(slot)
        if known is not None:
            known.bad += self.MEMORY * (bad - known.bad)

    def held(self, slot: str, until: float) -> None:
        """Nobody departs before *until*: what was before says nothing of the rate behind it."""
        known = self._slots.get(slot)
        if known is not None:
            known.since = max(known.since, until)

    def failing(self, slot: str) -> bool:
        known = self._slots.get(slot)
        return known is not None and known.bad >= self.FAILING

    def rate(self, slot: str, now: float) -> float:
        """Departures a second, as of late; 0: there were too few to say."""
        known = self._slots.get(slot)
        if known is None:
            return 0.0
        first = max(now - self.SPAN, known.since - 1)
        recent = [one for one in known.seconds if one[0] > first]
        number = sum(one[1] for one in recent)
        return number / max(self.LEAST, now - recent[0][0]) if number > 1 else 0.0
