"""Where the queue and this worker stand: what the last answer said, and what is wanted next."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from mocra_scrapy.models import CrawlState, QueueSize, Seeding
from mocra_scrapy.worker.store_clock import StoreClock


class QueueStatus:
    """A leaf that the parts of a worker read, and through which they ask for an exchange.

    Attributes:
        state: where the crawl stands, as the last answer said.
        size: counts of the last answer.
        leasing: whether new work is taken (``False`` while closing, paused, draining).
        closing: the engine closes the spider; no part begins anything new.
        finished: the run ended, as far as this worker knows, or this worker can't go on.
        dry: the last look found nothing to lease; the next one comes after a wake-up, when
            something is due, or after the idle poll.
        hungry: the engine asked for a request and got none.
        wants_end: the spider is idle, and asks whether the crawl is finished.
        wants_permits: a request beside the queue lacks permits; the next exchange asks for them.
        start_failed: ``start()`` broke off in this worker; the crawl is not seeded.
        away_since: monotonic instant since when the backend doesn't answer; ``None``: it does.
        round_trips: exchanges that were answered.
        close_reason: with which the spider closes.
        store: when, by our clock, it is what the store says.
    """

    def __init__(self, state: CrawlState) -> None:
        self.state = state
        self.size = QueueSize()
        self.leasing = True
        self.closing = self.finished = False
        self.dry = self.hungry = self.wants_end = self.wants_permits = self.start_failed = False
        self.away_since: float | None = None
        self.round_trips = 0
        self.close_reason = "shutdown"
        self.store = StoreClock()
        self.kicked = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def may_be_over(self) -> bool:
        """Whether the last answer leaves nothing to do for anybody."""
        return self.state.finished or (self.state.seeding is Seeding.DONE and not self.size.unfinished)

    def kick(self) -> None:
        """There may be a reason for an exchange: the loop looks again."""
        self.kicked.set()

    def ask_for_permits(self) -> None:
        """Have an exchange at once: somebody waits for its permits."""
        self.wants_permits = True
        self.kick()

    def changed(self) -> Coroutine[Any, Any, object]:
        """Wait for the next answer of the queue, counted from the call: none is missed before this
        is awaited.
        """
        return self._changed.wait()

    def answered(self) -> None:
        """The queue answered, and everybody has taken in what it said."""
        self._changed, heard = asyncio.Event(), self._changed
        heard.set()
