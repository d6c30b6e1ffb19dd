"""How fast this worker fetches, and how often it is asked to go slower."""

from __future__ import annotations


class SlotRates:
    """How fast this worker fetches from each slot, and how large a part of the last answers asked
    it to go slower.
    """

    #: Of the last ten answers or so: one bad answer among good ones is an accident, two in a row
    #: are a word.
    MEMORY, FAILING = 0.1, 0.15
    SPAN, MOST = 2.0, 10_000  # s over which a rate is taken; slots that are known

    def __init__(self) -> None:
        self._slots: dict[str, list[float]] = {}  # -> [since, departures since, rate before that, share of bad answers]

    def departed(self, slot: str, now: float) -> None:
        known = self._slots.get(slot)
        if known is None:
            if len(self._slots) >= self.MOST:
                self._slots.clear()
            known = self._slots[slot] = [now, 0.0, 0.0, 0.0]
        elif now - known[0] >= self.SPAN:
            known[:3] = [now, 0.0, known[1] / (now - known[0])]
        known[1] += 1

    def answered(self, slot: str, bad: bool) -> None:
        known = self._slots.get(slot)
        if known is not None:
            known[3] += self.MEMORY * (bad - known[3])

    def failing(self, slot: str) -> bool:
        known = self._slots.get(slot)
        return known is not None and known[3] >= self.FAILING

    def rate(self, slot: str) -> float:
        """Departures a second; 0: not known yet."""
        known = self._slots.get(slot)
        return 0.0 if known is None else known[2]
