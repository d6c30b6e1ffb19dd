"""A worker's whole turn where a log keeps the requests, see
:class:`~mocra_scrapy.interfaces.ILoggedQueue`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from mocra_scrapy.backends.embedded.crawl import StoredCrawl
from mocra_scrapy.backends.embedded.exchange import Turn
from mocra_scrapy.backends.embedded.slots import item_of, logged_item
from mocra_scrapy.models import Burial, Entry, Lease, LogAnswer, LogTurn, QueueOptions


class LoggedTurn(Turn):
    """A turn that holds what is pushed, lets go what the log has, and notes what is finished."""

    def __init__(
        self, crawl: StoredCrawl, options: QueueOptions, worker: str, log: LogTurn, *, now: float, wall: float
    ) -> None:
        super().__init__(crawl, options, worker, now, wall)
        self._log = log
        self._tokens: list[str] = []  # of what is in transit since this call, in the order of the pushes

    def push(self, entries: Sequence[Entry], numbers: Sequence[int | None]) -> int:
        ready = super().push(entries, numbers)
        if self._log.hold:
            tokens = iter(self._tokens)
            self._done.transit = [next(tokens) if new else None for new in self._done.stored]
        return ready

    def _store(self, entry: Entry, number: int | None) -> bool:
        if not self._log.hold:
            return super()._store(entry, number)
        token = f"{next(self._crawl.tokens):x}"
        due = self._now + entry.delay if entry.delay > 0 else self._now
        self._me.transit[token] = item_of(entry, number), due
        self._tokens.append(token)
        return False

    def settle(self, ack: Sequence[Lease], release: Sequence[Lease], bury: Sequence[Burial]) -> int:
        me, crawl = self._me, self._crawl
        ready = 0
        for lease, at in zip_longest(self._log.moved, self._log.at):
            moved = me.transit.pop(lease.token, None)
            taken = moved is not None and at is not None and crawl.log.positions.get(at[0]) == at[1]
            self._done.moved.append(moved is not None)
            self._done.taken.append(taken)
            if moved is not None and at is not None and taken:
                crawl.log.positions[at[0]] = at[1] + 1
                ready += crawl.line_up(logged_item(moved[0], at), moved[1], self._now, self._options.lifo)
        crawl.log.moves += sum(self._done.moved)
        for lease in self._log.keep:
            kept = me.transit.pop(lease.token, None)
            self._done.lined_up.append(kept is not None)
            if kept is not None:
                ready += crawl.line_up(*kept, self._now, self._options.lifo)
        ends = [me.held.get(lease.token) for lease in (*ack, *(burial.lease for burial in bury))]
        given_back = super().settle(ack, release, bury)
        for item in ends:
            if item is not None:
                crawl.log.note(item)
        return ready + given_back

    def log_answer(self, pushed: Sequence[Entry]) -> LogAnswer:
        """To what the call said of the log; *pushed*: by it."""
        done = self._done
        tokens = done.transit or [None] * len(pushed)
        transit = [
            None if token is None else Lease(token, entry.body, entry.slot, entry.priority, entry.start)
            for token, entry in zip(tokens, pushed, strict=True)
        ]
        return LogAnswer(transit, tuple(done.moved), tuple(done.lined_up), tuple(done.taken))
