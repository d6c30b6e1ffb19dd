"""What is leased ahead, and when it goes back: while all downloads of a worker hang."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy.settings import Settings

from mocra_scrapy.models import Exchange, Lease, QueueSize
from mocra_scrapy.settings.crawl import Options, read_options
from mocra_scrapy.worker.inbox import Inbox
from mocra_scrapy.worker.leasing_ahead import LeasingAhead
from mocra_scrapy.worker.outbox import Outbox
from mocra_scrapy.worker.slot_policy import WaitingRequests
from tests.unit.worker.test_exchange_handler import answer
from tests.unit.worker.test_parts import Room, lease

IDLE = 2.0
OPTIONS: Options = read_options(
    Settings({"CONCURRENT_REQUESTS": 4, "MOCRA_PREFETCH": 3, "MOCRA_IDLE_POLL": IDLE}), "memory://"
)


class Unlimited(Room):
    """All that waits may start."""

    def fetchable(self, inbox: WaitingRequests) -> int:
        return inbox.leased


class Worker:
    """Four places of the downloader, and three requests ahead; it is told when downloads end."""

    def __init__(self) -> None:
        self.now = 100.0
        self.outbox, policy = Outbox(), Unlimited()
        self.inbox = Inbox(self.outbox, policy)
        self.engine = SimpleNamespace(downloading=0, paused=False)
        self.status: Any = SimpleNamespace(leasing=True, hungry=False)
        self.ahead = LeasingAhead(
            self.status,
            self.inbox,
            policy=policy,
            engine=self.engine,  # type: ignore[arg-type]
            clock=lambda: self.now,
        )
        self._made = 0

    @property
    def want(self) -> int:
        return self.ahead.want(OPTIONS)

    def take(self, number: int) -> list[Lease]:
        self._made += number
        return [lease(f"{self._made}-{n}", f"s{n}") for n in range(number)]

    def hear(self, leases: int = 0, pending: int = 0, after: float = 0.0) -> int:
        """The queue answers; -> how many requests go back with the next call."""
        self.now += after
        got: Exchange = answer(leases=self.take(leases), size=QueueSize(pending=pending))
        self.inbox.add(got.leases)
        self.ahead.answered(got, OPTIONS)
        return len(self.outbox.take(100, 10**6).releases)

    def start(self, number: int) -> None:
        for _ in range(number):
            assert self.inbox.pop() is not None
            self.engine.downloading += 1

    def hang(self) -> None:
        """All places are taken, and three wait behind them."""
        assert self.want == 7
        assert self.hear(7) == 0
        self.start(4)
        assert self.want == 0
        assert self.hear() == 0


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_what_waits_behind_downloads_that_hang_goes_back_once(worker: Worker) -> None:
    worker.hang()
    assert worker.hear(after=IDLE - 0.1) == 0, "not yet"
    worker.outbox.take(100, 10**6)
    assert worker.hear(after=0.2) == 3
    assert (worker.inbox.leased, worker.want) == (0, 0), "nothing ahead as long as nothing is free"
    assert worker.hear(pending=3, after=10 * IDLE) == 0
    worker.engine.downloading -= 1
    assert worker.want == 4, "one place, and three ahead as ever"
    worker.hear(4)
    worker.start(1)
    assert worker.hear(after=0.1) == 0, "an idle period begins anew"
    assert worker.hear(after=IDLE) == 3


def test_not_while_something_goes_out(worker: Worker) -> None:
    worker.hang()
    for _ in range(5):
        worker.engine.downloading -= 1
        worker.start(1)
        assert worker.hear(1, after=0.6 * IDLE) == 0, "one went out and one came: as many wait as before"
    assert worker.hear(after=0.9 * IDLE) == 0
    assert worker.hear(after=0.2 * IDLE) == 3


def test_not_while_there_is_room(worker: Worker) -> None:
    worker.hang()
    worker.engine.downloading -= 1
    assert worker.hear(after=10 * IDLE) == 0, "it waits for its slot, not for a place"
    worker.engine.downloading += 1
    assert worker.hear(after=0.1) == 0
    assert worker.hear(after=IDLE) == 3


def test_not_while_others_have_enough_to_do(worker: Worker) -> None:
    worker.hang()
    assert worker.hear(pending=1, after=10 * IDLE) == 0
    assert worker.hear(after=0.1) == 3


def test_who_drains_finishes_what_it_has(worker: Worker) -> None:
    worker.hang()
    worker.status.leasing = False
    assert worker.hear(after=10 * IDLE) == 0
    assert worker.want == 0


def test_of_two_whose_downloads_hang_each_gives_it_back_once() -> None:
    """What one gives back the other takes, and gives back; then it waits in the queue for the first free place."""
    workers, queue, moves = [Worker(), Worker()], 0, 0
    workers[0].hang()
    workers[1].hear(4)
    workers[1].start(4)
    for _ in range(50):
        for worker in workers:
            taken = min(worker.want, queue)
            queue -= taken
            given = worker.hear(taken, pending=queue, after=0.8 * IDLE)
            queue, moves = queue + given, moves + given
    assert (queue, moves) == (3, 6)


def test_without_a_prefetch_nothing_is_ahead(worker: Worker) -> None:
    worker.status.hungry = True
    assert worker.ahead.want(replace(OPTIONS, prefetch=0)) == 1
