"""The dead letters of one crawl."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import count, islice

from mocra_scrapy.backends.embedded.responses import ResponseTable
from mocra_scrapy.backends.embedded.slots import Item
from mocra_scrapy.models import Burial, DeadLetter
from mocra_scrapy.models.dead_letters import first_failure
from mocra_scrapy.models.entries import names_of


class DeadLetterTable:
    """Dead letters by id, the oldest first: ids sort by age."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._letters: OrderedDict[str, tuple[float, DeadLetter]] = OrderedDict()  # id: when it died (clock), letter
        self.responses = ResponseTable()

    def __len__(self) -> int:
        return len(self._letters)

    def clear(self) -> None:
        """Forget all; numbers go on, so that an id from before fits no letter from after."""
        self._letters.clear()
        self.responses.clear()

    def __iter__(self) -> Iterator[DeadLetter]:
        return (letter for _, letter in self._letters.values())

    def add(
        self,
        item: Item,
        burial: Burial | tuple[str, str],
        worker: str,
        *,
        now: float,
        wall: float,
        most: int,
        delivery: str = "",
        hand_outs: int | None = None,
    ) -> DeadLetter:
        """A letter of *item*, handed out once more than it was lost, or *hand_outs* times; of a
        reason and detail, if the queue itself gave it up. *delivery*: that of the first letter of
        the same one.
        """
        number = f"{next(self._numbers):016d}"
        said = burial if isinstance(burial, Burial) else None
        slot, *scopes = names_of(item.list_name)
        reason, detail = (burial.reason, burial.detail) if isinstance(burial, Burial) else burial
        letter = DeadLetter(
            number,
            reason,
            detail,
            item.body if said is None or said.body is None else said.body,
            slot,
            item.priority,
            item.start,
            item.lost + 1 if hand_outs is None else hand_outs,
            worker,
            wall,
            item.first,
            tuple(scopes),
            done=said is not None and said.done,
            url=said.url if said else "",
            fingerprint=said.fingerprint if said else None,
            retries=said.retries if said else 0,
            first_failed_at=first_failure(wall, item.first, said.first_failed_at if said else None),
            delivery=delivery or number,
        )
        self._letters[number] = (now, letter)
        while len(self._letters) > most:
            self._drop_oldest()
        return letter

    def keep_response(self, letter: DeadLetter, burial: Burial, most: int, most_bytes: int) -> bool:
        """That of *burial*, of which *letter* was made, if it has one and there is room."""
        if burial.response is None or letter.id not in self._letters:
            return False
        return self.responses.keep(letter.id, burial.kind, burial.response, most, most_bytes)

    def _drop_oldest(self) -> None:
        self.responses.drop(self._letters.popitem(last=False)[0])

    def expire(self, now: float, ttl: float | None) -> None:
        """Forget what is too old at *now*; to be called before each use."""
        while ttl is not None and self._letters and next(iter(self._letters.values()))[0] <= now - ttl:
            self._drop_oldest()

    def after(self, identity: str | None) -> Iterator[DeadLetter]:
        """Those that come after *identity*, which need not exist."""
        first = 0 if identity is None else bisect_right(list(self._letters), identity)
        return islice(iter(self), first, None)

    def get(self, identity: str) -> DeadLetter | None:
        return self._letters.get(identity, (0.0, None))[1]

    def response_of(self, letter: DeadLetter) -> bytes | None:
        """Its own, or that of another letter of its delivery."""
        every = (letter.id, *(other.id for other in self if other.delivery == letter.delivery))
        return next((found for one in every if (found := self.responses.get(one)) is not None), None)

    def pop(self, identity: str) -> DeadLetter | None:
        self.responses.drop(identity)
        return self._letters.pop(identity, (0.0, None))[1]

    def pop_deliveries(self, identities: Sequence[str]) -> tuple[list[bool], list[DeadLetter]]:
        """Take the letters *identities* with all others of their deliveries: which of them there
        were, and the first named one of each delivery.
        """
        wanted = {name: letter for name in identities if (letter := self.get(name)) is not None}
        firsts = {letter.delivery: letter for letter in reversed(wanted.values())}
        for letter in [letter for letter in self if letter.delivery in firsts]:
            self.pop(letter.id)
        return [bool(wanted.pop(name, None)) for name in identities], list(firsts.values())[::-1]
