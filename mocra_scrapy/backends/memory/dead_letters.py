"""Dead letters of one crawl, and the verbs of :class:`~mocra_scrapy.interfaces.IDeadLetters` over
them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING

from mocra_scrapy.backends.embedded.fingerprints import fingerprint_number
from mocra_scrapy.backends.embedded.slots import Item, item_of
from mocra_scrapy.backends.embedded.throttle import names_of
from mocra_scrapy.models import EVERY_LETTER, Burial, DeadLetter, Entry, LetterFilter, QueueOptions
from mocra_scrapy.models.dead_letters import first_failure

if TYPE_CHECKING:
    from mocra_scrapy.backends.embedded.crawl import StoredCrawl


def check_burials(burials: Sequence[Burial]) -> None:
    """Raises ValueError: a fingerprint is too short. Before anything is changed."""
    for burial in burials:
        if burial.fingerprint is not None:
            fingerprint_number(burial.fingerprint)


class DeadLetterTable:
    """Dead letters by id, the oldest first: ids sort by age."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._letters: OrderedDict[str, tuple[float, DeadLetter]] = OrderedDict()  # id: when it died (clock), letter

    def __len__(self) -> int:
        return len(self._letters)

    def clear(self) -> None:
        """Forget all; numbers go on, so that an id from before fits no letter from after."""
        self._letters.clear()

    def __iter__(self) -> Iterator[DeadLetter]:
        return (letter for _, letter in self._letters.values())

    def add(
        self, item: Item, burial: Burial | tuple[str, str], worker: str, *, now: float, wall: float, most: int
    ) -> None:
        """A letter of *item*, handed out once more than it was lost; of a reason and detail, if the
        queue itself gave it up.
        """
        number = f"{next(self._numbers):016d}"
        said = burial if isinstance(burial, Burial) else None
        slot, *scopes = names_of(item.slot)
        reason, detail = (burial.reason, burial.detail) if isinstance(burial, Burial) else burial
        self._letters[number] = (
            now,
            DeadLetter(
                number,
                reason,
                detail,
                item.body if said is None or said.body is None else said.body,
                slot,
                item.priority,
                item.start,
                item.lost + 1,
                worker,
                wall,
                item.first,
                tuple(scopes),
                done=said is not None and said.done,
                url=said.url if said else "",
                fingerprint=said.fingerprint if said else None,
                retries=said.retries if said else 0,
                first_failed_at=first_failure(wall, item.first, said.first_failed_at if said else None),
            ),
        )
        while len(self._letters) > most:
            self._letters.popitem(last=False)

    def expire(self, now: float, ttl: float | None) -> None:
        """Forget what is too old at *now*; to be called before each use."""
        while ttl is not None and self._letters and next(iter(self._letters.values()))[0] <= now - ttl:
            self._letters.popitem(last=False)

    def after(self, identity: str | None) -> Iterator[DeadLetter]:
        """Those that come after *identity*, which need not exist."""
        first = 0 if identity is None else bisect_right(list(self._letters), identity)
        return islice(iter(self), first, None)

    def get(self, identity: str) -> DeadLetter | None:
        return self._letters.get(identity, (0.0, None))[1]

    def pop(self, identity: str) -> DeadLetter | None:
        return self._letters.pop(identity, (0.0, None))[1]


class MemoryDeadLetters:
    """The part of :class:`~mocra_scrapy.backends.memory.queue.MemoryRequestQueue` that deals with
    dead letters.
    """

    options: QueueOptions
    _crawl: StoredCrawl
    _clock: Callable[[], float]

    @property
    def _letters(self) -> DeadLetterTable:
        letters = self._crawl.dead
        letters.expire(self._clock(), self.options.dead_ttl)
        return letters

    async def dead(
        self, limit: int = 100, *, after: str | None = None, where: LetterFilter | None = None
    ) -> Sequence[DeadLetter]:
        fits = (where or EVERY_LETTER).fits
        return list(islice(filter(fits, self._letters.after(after)), max(0, limit)))

    async def count_dead(self, where: LetterFilter | None = None) -> Mapping[str, int]:
        return Counter(letter.reason for letter in self._letters if (where or EVERY_LETTER).fits(letter))

    async def find_dead(self, ids: Sequence[str]) -> Sequence[DeadLetter | None]:
        letters = self._letters
        return [letters.get(one) for one in ids]

    async def replay(self, ids: Sequence[str], *, forget: bool = False) -> Sequence[bool]:
        crawl, store = self._crawl, self._letters
        letters = [store.pop(one) for one in ids]
        for letter in letters:
            if letter is not None:
                entry = Entry(letter.body, letter.slot, letter.priority, None, letter.start, scopes=letter.scopes)
                crawl.put_new(item_of(entry), self.options.lifo)
                if forget and letter.fingerprint is not None:
                    crawl.seen.discard(fingerprint_number(letter.fingerprint))
        if any(letters):
            if crawl.finished:
                crawl.reopen()
            crawl.wakeups.wake_hungry()
        return [letter is not None for letter in letters]

    async def purge(self, ids: Sequence[str]) -> Sequence[bool]:
        letters = self._letters
        return [letters.pop(one) is not None for one in ids]

    async def purge_where(self, where: LetterFilter, limit: int = 1000) -> int:
        return sum(await self.purge([letter.id for letter in await self.dead(limit, where=where)]))
