from __future__ import annotations

import asyncio

from mocra_scrapy.models import Departure
from mocra_scrapy.worker.store_clock import COMPARED, StoreClock

AHEAD = 5000.0  # s by which the store's clock is ahead of ours


class Desk:
    def __init__(self) -> None:
        self.now = 100.0
        self.clock = StoreClock(lambda: self.now)

    def ask(self, *, there: float = 0.01, back: float = 0.01, wait: float = 0.2, shard: int = 0) -> tuple[float, float]:
        """When one departs by our clock, and when by the store's."""
        asked = self.now
        given = asked + there
        self.now = given + back
        departure = Departure(("s",), AHEAD + given + wait, ((0.0, 1.0),))
        return self.clock.instant(wait, departure, shard, asked), given + wait


def test_a_fresh_answer_counts_from_when_it_is_read() -> None:
    desk = Desk()
    at, right = desk.ask()
    assert abs(at - right) <= 0.011


def test_an_answer_that_lay_unread_does_not_move_departures() -> None:
    desk = Desk()
    desk.ask()
    at, right = desk.ask(back=3.0)
    assert abs(at - right) <= 0.011
    assert at < desk.now - 2


def test_the_first_answer_may_have_lain_unread_as_well() -> None:
    """Nobody knows when it was given: what it booked is taken for missed, until the clocks are known."""
    desk = Desk()
    at, _ = desk.ask(back=3.0)
    assert at < desk.now - 0.1
    at, right = desk.ask()
    assert abs(at - right) <= 0.011


def test_a_network_that_is_slow_from_the_beginning_is_believed() -> None:
    desk = Desk()
    gone_by = 0
    for _ in range(5):
        at, right = desk.ask(there=0.1, back=0.1)
        gone_by += at < desk.now - 0.1
    assert gone_by == 2
    assert abs(at - (right + 0.1)) <= 0.001


def test_other_exchanges_say_how_slow_the_network_is() -> None:
    desk = Desk()

    async def exchange() -> None:
        desk.now += 0.2

    asyncio.run(desk.clock.sent(exchange()))
    at, right = desk.ask(there=0.1, back=0.3)
    assert abs(at - (right + 0.3)) <= 0.001
    at, _ = desk.ask(there=0.1, back=3.0, shard=1)
    assert at < desk.now - 0.1


def test_nothing_departs_before_it_can_have_been_asked_for() -> None:
    """The store's clock was set back: what is known of it is wrong."""
    desk = Desk()
    desk.ask()
    asked = desk.now
    at = desk.clock.instant(0.5, Departure(("s",), AHEAD + asked - 60, ((0.0, 1.0),)), 0, asked)
    assert at == asked + 0.5


def test_a_network_that_becomes_slow_is_believed_by_and_by() -> None:
    desk = Desk()
    desk.ask()
    for _ in range(COMPARED + 1):
        at, right = desk.ask(back=0.4, wait=0.0)
    assert abs(at - (right + 0.4)) <= 0.001


def test_shards_have_clocks_of_their_own() -> None:
    desk = Desk()
    desk.ask(shard=0, back=0.0)
    at = desk.clock.instant(1.0, Departure(("s",), 7.0, ((0.0, 1.0),)), 1, desk.now)
    assert at == desk.now + 1.0


def test_what_has_no_interval_only_waits() -> None:
    desk = Desk()
    assert desk.clock.instant(2.0, None, 0) == desk.now + 2.0


def test_an_answer_that_is_taken_in_later_counts_from_when_it_was_read() -> None:
    desk = Desk()

    async def exchange() -> Departure:
        desk.now += 0.02
        return Departure(("s",), AHEAD + desk.now - 0.01 + 0.5, ((0.0, 1.0),))

    departure = asyncio.run(desk.clock.sent(exchange()))
    read = desk.now
    desk.now += 0.2  # a dictionary is fetched meanwhile
    assert desk.clock.instant(0.5, departure, 0) == read + 0.5
    desk.now += 10
    desk.clock.at_once()
    assert desk.clock.instant(0.5, None, 0) == desk.now + 0.5
