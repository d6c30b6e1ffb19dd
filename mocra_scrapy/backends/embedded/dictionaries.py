"""The compression dictionaries of one crawl."""

from __future__ import annotations

#: Dictionaries that a crawl keeps.
MOST = 100


class Dictionaries:
    """All of them by identity, and which one is written with."""

    def __init__(self) -> None:
        self.current: int | None = None
        self.contents: dict[int, bytes] = {}

    def add(self, identity: int, content: bytes, *, instead_of: int | None) -> int | None:
        """Store *content* and write with it from now on, unless somebody else was first; answers
        the identity of the one that is written with.
        """
        known = self.contents.get(identity)
        beaten = self.current != instead_of
        taken = known not in (None, content)
        crowded = known is None and len(self.contents) >= MOST
        if not (beaten or taken or crowded):
            self.contents[identity] = bytes(content)
            self.current = identity
        return self.current
