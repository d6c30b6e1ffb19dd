"""What a worker may have out of slots and scopes, without a server."""

from __future__ import annotations

from typing import Any

from mocra_scrapy.models import CrawlState, Exchange, Lease, QueueSize
from mocra_scrapy.worker.permits import BELIEVED, SlotPermits


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.permits = SlotPermits(clock=lambda: self.now)

    def answer(self, *leases: Lease, kept: dict[str, int] | None = None, **more: Any) -> None:
        exchange = Exchange((), (), (), (), leases, QueueSize(), None, CrawlState(1), **more)
        self.permits.on_answered(exchange, kept or {})
        for one in leases:
            self.permits.on_leased(one)


def lease(token: str, slot: str = "s", *scopes: str) -> Lease:
    return Lease(token, b"", slot, scopes=scopes)


def test_nothing_starts_without_a_place() -> None:
    bench = Bench()
    assert not bench.permits.may_start(["s"])
    one, two = lease("1"), lease("2")
    bench.answer(one, two, permits={"s": 1})
    assert bench.permits.may_start(["s"])
    bench.permits.on_started(one)
    assert not bench.permits.may_start(["s"])
    assert bench.permits.loads() == {"s": 2}
    bench.permits.on_downloaded(["s"])
    assert bench.permits.may_start(["s"])
    assert bench.permits.loads() == {"s": 1}


def test_what_nothing_is_left_of_is_given_back_at_once() -> None:
    bench = Bench()
    one = lease("1", "s", "@account")
    bench.answer(one, permits={"s": 2, "@account": 1})
    assert bench.permits.keep_permits() == {}
    bench.permits.on_started(one)
    assert bench.permits.keep_permits() == {}
    bench.permits.on_downloaded(["s", "@account"])
    assert bench.permits.keep_permits() == {"s": 0, "@account": 0}
    assert bench.permits.permits("s") == 0
    assert not bench.permits.may_start(["s", "@account"])
    assert bench.permits.keep_permits() == {}


def test_asked_for_some_it_comes_down_as_its_requests_end() -> None:
    bench = Bench()
    leases = [lease(str(n)) for n in range(8)]
    bench.answer(*leases, permits={"s": 4})
    for one in leases[:4]:
        bench.permits.on_started(one)
    bench.answer(permits={"s": 2})
    assert bench.permits.keep_permits() == {"s": 4}
    for left in (3, 2):
        bench.permits.on_downloaded(["s"])
        assert not bench.permits.may_start(["s"])
        assert bench.permits.keep_permits() == {"s": left}
    bench.answer(kept={"s": 2})
    assert bench.permits.keep_permits() == {}
    assert not bench.permits.may_start(["s"])
    bench.permits.on_downloaded(["s"])
    assert bench.permits.may_start(["s"])
    # Nobody asks any more: it may have more again.
    bench.answer(permits={"s": 4})
    assert bench.permits.permits("s") == 4


def test_a_hold_ends_by_time_by_word_and_by_what_the_queue_gives() -> None:
    bench = Bench()
    bench.answer(lease("1"), permits={"s": 8})
    for end in ("time", "word", "lease"):
        bench.answer(held={"s": 10})
        assert bench.permits.held("s") == 10
        assert not bench.permits.may_start(["s"])
        if end == "time":
            bench.now += 10
        elif end == "word":
            bench.answer(held={"s": 0})
        else:
            bench.answer(lease("2"))
        assert bench.permits.held("s") == 0
        assert bench.permits.may_start(["s"])
    bench.answer(held={"s": 1e6})
    assert bench.permits.held("s") == BELIEVED


def test_a_worker_that_was_declared_dead_has_no_places() -> None:
    bench = Bench()
    one = lease("1")
    bench.answer(one, permits={"s": 8})
    bench.permits.on_returned([one])
    bench.permits.on_lost()
    assert bench.permits.loads() == {}
    assert not bench.permits.may_start(["s"])
    assert bench.permits.keep_permits() == {}
