"""The filter: which fingerprints were stored, as 63-bit numbers in generations."""

from __future__ import annotations


class FingerprintFilter:
    """Fingerprints, remembered for ever or for a time to live and a quarter of it at most.

    With a time to live a new generation begins every quarter of it, and one is forgotten as a whole
    when it is 1.25 times as old: its youngest member is then as old as the time to live, its oldest
    1.25 times that.
    """

    def __init__(self) -> None:
        self._young: set[int] = set()
        self._birth: float | None = None
        self._old: list[tuple[float, set[int]]] = []  # (end, members)

    def age(self, now: float, ttl: float | None) -> None:
        """Forget what is too old at *now*; to be called before each use."""
        if ttl is not None:
            if self._birth is None:
                self._birth = now
            if now >= self._birth + ttl / 4:
                if self._young:
                    self._old.append((self._birth + 1.25 * ttl, self._young))
                    self._young = set()
                self._birth = now
        if self._old:
            self._old = [generation for generation in self._old if generation[0] > now]

    def add(self, number: int) -> bool:
        """Remember *number*; whether it is new."""
        if number in self:
            return False
        self._young.add(number)
        return True

    def __contains__(self, number: int) -> bool:
        return number in self._young or any(number in members for _, members in self._old)

    def discard(self, number: int) -> bool:
        """Forget *number*; whether it was known."""
        known = False
        for members in (self._young, *(members for _, members in self._old)):
            known |= number in members
            members.discard(number)
        return known

    def clear(self) -> None:
        self._young, self._birth, self._old = set(), None, []

    def __len__(self) -> int:
        return len(self._young) + sum(len(members) for _, members in self._old)
