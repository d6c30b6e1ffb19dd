"""What a crawl knows of the log that keeps its requests."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from itertools import islice

from mocra_scrapy.backends.embedded.slots import Item, LoggedItem, TwinItem, twin_item
from mocra_scrapy.models import Offsets, Transit

#: Twins that are finished and have not come from the log are known, so many at most.
MOST_DONE = 2_000


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
        self._forget_twins()

    def begin(self, run: int, begins: dict[str, int]) -> None:
        """*run* begins there, unless somebody said so of another place, or of a later run."""
        if run > self.run:
            self.run, self.begins, self.positions, self._notes = run, {}, {}, {}
            self._forget_twins()
        for partition, offset in begins.items() if run == self.run else ():
            if partition not in self.positions:
                self.begins[partition] = self.positions[partition] = offset

    # ------------------------------------------------------------------ what was in transit

    def _forget_twins(self) -> None:
        self._twins: dict[Transit, tuple[str, int] | None] = {}  # in line -> where it is in the log, too
        self._done: dict[Transit, None] = {}  # finished before it came from the log, the oldest first

    def as_twin(self, item: Item, transit: Transit) -> TwinItem:
        """*item* was in *transit*, its pusher is gone, and it may come from the log, too."""
        self._twins[transit] = None
        return twin_item(item, transit)

    def has_twin(self, transit: Transit, place: tuple[str, int]) -> bool:
        """Whether what comes from *place* is in line already, or was: then it is not to be stored."""
        if transit in self._twins and self._twins[transit] is None:
            self._twins[transit] = place
            return True
        if transit not in self._twins and transit not in self._done:
            return False
        self._done.pop(transit, None)
        self.note_all(place[0], place[1], place[1] + 1)
        return True

    # ------------------------------------------------------------------ what is finished

    def note(self, item: Item) -> None:
        """*item* is finished; one that came from no log is nobody's."""
        if isinstance(item, LoggedItem):
            partition, offset = item.origin
            self.note_all(partition, offset, offset + 1)
        elif isinstance(item, TwinItem) and item.transit in self._twins:
            place = self._twins.pop(item.transit)
            if place is None:
                self._done[item.transit] = None
                for oldest in list(islice(self._done, max(0, len(self._done) - MOST_DONE))):
                    del self._done[oldest]
            else:
                self.note_all(place[0], place[1], place[1] + 1)

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
