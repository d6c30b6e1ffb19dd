"""What a crawl knows of the log that keeps its requests."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest

from mocra_scrapy.backends.embedded.slots import Item, LoggedItem
from mocra_scrapy.models import Offsets


class Log:
    """How one crawl stands to its log.

    Attributes:
        run: for which ``begins`` were said last; 0: none.
        moves: entries that went into the log.
        begins: partition -> where that run begins.
        positions: partition -> offset up to which it was fed.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing is known."""
        self.run, self.moves = 0, 0
        self.begins: dict[str, int] = {}
        self.positions: dict[str, int] = {}
        self._notes: dict[str, set[Offsets]] = {}

    def begin(self, run: int, begins: dict[str, int]) -> None:
        """*run* begins there, unless somebody said so of another place, or of a later run."""
        if run > self.run:
            self.run, self.begins, self.positions, self._notes = run, {}, {}, {}
        for partition, offset in begins.items() if run == self.run else ():
            if partition not in self.positions:
                self.begins[partition] = self.positions[partition] = offset

    # ------------------------------------------------------------------ what is finished

    def note(self, item: Item) -> None:
        """*item* is finished; one that came from no log is nobody's."""
        if isinstance(item, LoggedItem):
            partition, offset = item.origin
            self.note_all(partition, offset, offset + 1)

    def note_all(self, partition: str, start: int, stop: int) -> None:
        """From *start* on, before *stop*, all is finished."""
        self._notes.setdefault(partition, set()).add((start, stop))

    def confirm(self, partition: str, notes: Sequence[Offsets]) -> None:
        """Somebody has taken these."""
        known = self._notes.get(partition)
        if known is not None:
            known.difference_update(notes)
            if not known:
                del self._notes[partition]

    def finished(self, partition: str, most: int) -> list[Offsets]:
        """What nobody has taken yet, the lowest first, *most* at most."""
        return nsmallest(most, self._notes.get(partition, ()))
