"""Departures between the inbox and the wire: what is late takes another one or goes back, what is not
used goes to others.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request

from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import Booking, Departure, Lease, SlotLimit
from mocra_scrapy.runtime.slot_gate import SlotGate
from mocra_scrapy.worker import departures as module
from mocra_scrapy.worker.deliveries import Deliveries, Delivery
from mocra_scrapy.worker.departures import Departures, Unused
from mocra_scrapy.worker.inbox import Inbox
from mocra_scrapy.worker.outbox import Outbox
from mocra_scrapy.worker.permits import SlotPermits
from mocra_scrapy.worker.slot_policy import Instant, WorkerPolicy
from mocra_scrapy.worker.store_clock import StoreClock
from mocra_scrapy.worker.wire import Wire


def departure(at: float) -> Departure:
    return Departure(("s",), at, ((at, at + 1),))


def lease(name: str, wait: float, slot: str = "s") -> Lease:
    return Lease(name, name.encode(), slot, wait=wait, departure=departure(wait))


class Policy(WorkerPolicy):
    """Keeps what was not used."""

    def __init__(self) -> None:
        self.given_back: list[float] = []

    def has_room(self, key: tuple[str, ...], leased: bool) -> bool:
        return True

    def on_unused(self, departure: Departure) -> None:
        self.given_back.append(departure.at)


class Desk:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, answers: list[Booking | Exception] | None = None) -> None:
        self.now, self.answers = 0.0, answers or []
        self.wishes: list[Any] = []
        self.held = False
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(module.asyncio, "sleep", self._sleep)
        options = SimpleNamespace(
            limits=SimpleNamespace(of=lambda name: SlotLimit(2.0)), queue=SimpleNamespace(lookahead=0.25)
        )
        self.state = SimpleNamespace(wire_watched=True, gate=SlotGate(), look_again=self._wake)
        parts: Any = SimpleNamespace(options=options, limiter=SimpleNamespace(reserve=self._reserve), state=self.state)
        self.policy, self.outbox = Policy(), Outbox()
        self.store = StoreClock(lambda: self.now)
        self.inbox = Inbox(self.outbox, self.policy, lambda: self.now, self.store)
        self.woken = 0
        status: Any = SimpleNamespace(dry=True, kick=lambda: None)
        self.status = status
        self.unused = Unused(parts, status, self.inbox, policy=self.policy, wake=self._wake)
        self.settled: list[Delivery] = []
        self.deliveries = Deliveries(self.settled.append, lambda names: None, lambda: None, self.unused.give_away)
        stats: Any = SimpleNamespace(inc_value=lambda name: None)
        permits = SlotPermits()
        permits.any_held = lambda names: self.held  # type: ignore[method-assign]
        self.departures = Departures(parts, permits, self.deliveries.send_back, stats, StoreClock(lambda: self.now))

    def _wake(self) -> None:
        self.woken += 1

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds

    async def _reserve(self, wishes: Any) -> list[Booking]:
        self.wishes += wishes
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [answer]

    def out(self, one: Lease) -> tuple[Request, Delivery]:
        """It was leased, and is on its way."""
        request = Request(f"http://s/{one.token}")
        self.deliveries.hand_out(request, one, None, Instant(self.now + one.wait, one.departure))
        self.deliveries.taken(request)
        return request, self.deliveries.by_id[id(request)]

    def unpaced(self, name: str) -> tuple[Request, Delivery]:
        """The same of a slot that has no interval."""
        request = Request(f"http://s/{name}")
        self.deliveries.hand_out(request, Lease(name, name.encode(), "s"), None)
        self.deliveries.taken(request)
        return request, self.deliveries.by_id[id(request)]


def test_who_is_on_time_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    request, delivery = desk.out(lease("a", 0))
    desk.now = 0.09
    assert desk.departures.check(request, delivery) is None
    assert delivery.departs is None
    desk.deliveries.finished(request)
    assert desk.policy.given_back == [], "it was used"


async def test_who_is_late_takes_another_one_in_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, [Booking(0.7, True, departure(5))])
    request, delivery = desk.out(lease("a", 0))
    desk.now = 3.0
    waiting = desk.departures.check(request, delivery)
    assert waiting is not None
    assert await waiting is None
    assert round(desk.now, 2) == 3.7
    assert desk.wishes[0].instead == departure(0)
    assert delivery.departs is None


@pytest.mark.parametrize("answer", [Booking(7.0, False), BackendUnavailable("away")])
async def test_what_finds_none_goes_back_as_it_was(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    desk = Desk(monkeypatch, [answer])
    one = lease("a", 0)
    request, delivery = desk.out(one)
    meta = dict(request.meta)
    desk.now = 3.0
    waiting = desk.departures.check(request, delivery)
    assert waiting is not None
    assert await waiting is request
    assert request.meta == meta
    assert id(request) in desk.deliveries.sent_back, "the engine does not schedule it"
    desk.deliveries.finished(request)
    assert (desk.settled, delivery.returned) == ([delivery], True)
    assert not desk.deliveries.sent_back


async def test_after_waiting_it_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, [Booking(0.7, True, departure(5))])
    request, delivery = desk.out(lease("a", 0))
    desk.now = 3.0

    async def asked_to_wait(seconds: float) -> None:
        desk.now, desk.held = desk.now + seconds, True

    monkeypatch.setattr(module.asyncio, "sleep", asked_to_wait)
    waiting = desk.departures.check(request, delivery)
    assert waiting is not None
    assert await waiting is request
    desk.deliveries.finished(request)
    assert desk.policy.given_back == [5]


async def test_one_of_a_slot_waits_for_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a middleware that always takes longer than an interval would keep all from leaving."""
    desk = Desk(monkeypatch, [Booking(4.0, True, departure(9)), Booking(4.0, False)])
    gate = asyncio.Event()

    async def wait(seconds: float) -> None:
        await gate.wait()
        desk.now += seconds

    monkeypatch.setattr(module.asyncio, "sleep", wait)
    (first, one), (second, other) = desk.out(lease("a", 0)), desk.out(lease("b", 0))
    desk.now = 3.0
    task = asyncio.ensure_future(desk.departures.check(first, one))  # type: ignore[arg-type]
    await asyncio.wait([asyncio.ensure_future(asyncio.wait_for(gate.wait(), 0))])
    assert await desk.departures.check(second, other) is second  # type: ignore[misc]
    gate.set()
    assert await task is None
    assert [wish.max_wait for wish in desk.wishes] == [4.25, 1.0]


def test_an_unused_instant_goes_to_the_next_and_its_to_the_one_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    request, _ = desk.out(lease("a", 0))
    desk.inbox.add([lease("b", 1), lease("c", 2), lease("x", 0.5, "other")])
    desk.now = 0.01
    assert desk.inbox.pop() is None
    desk.deliveries.not_sent(request)
    assert desk.policy.given_back == [2], "what is left over the queue gets back"
    assert desk.woken == 1
    assert not desk.status.dry
    got = desk.inbox.pop()
    assert isinstance(got, Lease)
    assert got.token == "b"
    assert desk.inbox.departs == Instant(0.0, departure(0))
    desk.deliveries.finished(request)
    assert desk.policy.given_back == [2], "once"


def test_one_that_has_gone_by_lets_the_store_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    request, _ = desk.out(lease("a", 0))
    desk.inbox.add([lease("b", 1), lease("c", 2), lease("x", 0.5, "other")])
    desk.now = 0.1  # others may be booked an interval later
    desk.deliveries.not_sent(request)
    assert sorted(desk.policy.given_back) == [0, 1, 2]
    assert [one.token for one in desk.outbox.take(9, 9).releases] == ["b", "c"]


def test_where_nobody_watches_the_wire_nothing_counts_as_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    desk.unused._parts.state.wire_watched = False
    request, _ = desk.out(lease("a", 0))
    desk.deliveries.finished(request)
    assert desk.policy.given_back == []


@pytest.mark.parametrize("booking", [Booking(0.7, True, departure(5)), Booking(0.0, True)])
async def test_what_waited_for_robots_txt_is_booked_where_it_leaves(
    monkeypatch: pytest.MonkeyPatch, booking: Booking
) -> None:
    """Its slot had no interval when it was leased, and may have one by now."""
    desk = Desk(monkeypatch, [booking])
    request, delivery = desk.unpaced("a")
    assert delivery.departs is None
    desk.state.gate.watched = True
    desk.state.gate.close("s")
    assert desk.deliveries.waited(request)
    desk.state.gate.ready("s")
    assert not desk.state.gate.admits("s", 1), "it is booked before the others"
    waiting = desk.departures.check(request, delivery)
    assert waiting is not None
    assert await waiting is None
    assert round(desk.now, 2) == booking.wait
    assert desk.wishes[0].instead is None
    assert (delivery.departs, delivery.sent) == (None, True)
    assert desk.woken == 1, "the others may go, behind it"
    assert desk.state.gate.admits("s", 7)


async def test_what_waited_and_never_left_gives_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    request, _ = desk.unpaced("a")
    desk.deliveries.waited(request)
    desk.deliveries.finished(request)
    assert desk.policy.given_back == []


@pytest.mark.parametrize("paced", [{}, {"s": 0.0}])
async def test_the_wire_looks_at_what_was_leased_before_its_slot_had_an_interval(
    monkeypatch: pytest.MonkeyPatch, paced: dict[str, float]
) -> None:
    desk = Desk(monkeypatch, [Booking(0.7, True, departure(5))])
    wire: Any = object.__new__(Wire)
    wire._deliveries, wire._by_id, wire._departures = desk.deliveries, desk.deliveries.by_id, desk.departures
    wire._paced, wire.bypass = paced, SimpleNamespace(out={})
    request, delivery = desk.unpaced("a")
    waiting = wire.leaves(request)
    assert (waiting is not None) == bool(paced)
    assert waiting is None or await waiting is None
    assert delivery.sent


def test_what_was_leased_before_a_slot_had_an_interval_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch)
    unpaced = [Lease(name, name.encode(), slot) for name, slot in (("a", "s"), ("b", "s"), ("c", "t"))]
    desk.inbox.add([*unpaced, lease("d", 1)])
    desk.inbox.has_interval("s", longer=False)
    assert [desk.inbox.held_in(slot) for slot in "st"] == [1, 1]
    assert "s" in desk.inbox.paced
    desk.inbox.add([Lease("e", b"e", "s")])
    assert "s" in desk.inbox.paced, "it may have been leased before"
    desk.now = 10.0
    desk.inbox.add([Lease("f", b"f", "s")])
    assert "s" not in desk.inbox.paced, "it has none any more"


def test_what_was_booked_by_a_shorter_interval_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """So does what an exchange brings that was on its way meanwhile."""
    desk = Desk(monkeypatch)
    desk.inbox.add([lease("a", 1), lease("b", 2), lease("x", 1, "other")])
    desk.now = 0.5
    desk.inbox.has_interval("s", longer=True)
    assert [desk.inbox.held_in("s"), desk.inbox.held_in("other")] == [0, 1]
    assert desk.policy.given_back == [1, 2]
    desk.store.asked = 0.4
    desk.inbox.add([lease("a", 0.5), lease("y", 0.5, "other")])
    assert desk.inbox.give_back_missed(module.MISSED) == 1
    assert desk.policy.given_back == [1, 2, 0.5]
    desk.store.asked = 0.5
    desk.inbox.add([lease("a", 0.5)])
    assert desk.inbox.give_back_missed(module.MISSED) == 0, "whoever is asked now knows it"
    assert desk.inbox.held_in("s") == 1


async def test_what_is_out_and_was_booked_by_a_shorter_interval_is_booked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, [Booking(0.3, True, departure(7)), Booking(0.4, True, departure(8))])
    request, delivery = desk.out(lease("a", 0))
    other, its = desk.out(lease("b", 0, "other"))
    desk.deliveries.book_anew("s")
    assert desk.departures.check(other, its) is None, "of another slot"

    async def grows_once_more(wishes: Any) -> list[Booking]:
        desk.deliveries.book_anew("s")
        desk.departures._parts.limiter.reserve = desk._reserve
        return await desk._reserve(wishes)

    desk.departures._parts.limiter.reserve = grows_once_more
    waiting = desk.departures.check(request, delivery)
    assert waiting is not None
    assert await waiting is None
    assert [wish.instead for wish in desk.wishes] == [departure(0), departure(7)], "each in place of the one before"
    assert round(desk.now, 2) == 0.4
    desk.deliveries.book_anew("s")
    assert (delivery.departs, delivery.sent) == (None, True), "it has left"
    desk.deliveries.finished(request)
    assert desk.policy.given_back == []


def test_what_nobody_used_goes_to_who_departs_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who departs sooner keeps its own, who has no departure gets none."""
    desk = Desk(monkeypatch)
    desk.inbox.add([lease("sooner", 1), Lease("free", b"free", "s", wait=1.5), lease("later", 3), lease("last", 4)])
    assert desk.inbox.hand_on(("s",), Instant(2.0, departure(2))) == Instant(4.0, departure(4))
    desk.now = 5.0
    got = []
    while (one := desk.inbox.pop()) is not None:
        assert isinstance(one, Lease)
        assert desk.inbox.departs is not None
        got.append((one.token, desk.inbox.departs.at))
    assert got == [("sooner", 1.0), ("free", 1.5), ("later", 2.0), ("last", 3.0)]


async def test_what_lent_its_departure_while_it_waited_takes_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A robots.txt left in its place; were both to leave, it would be one too many."""
    desk = Desk(monkeypatch, [Booking(1.0, True, departure(2.0)), Booking(0.5, True, departure(3.0))])
    request, delivery = desk.out(lease("a", 0))
    desk.now, lent = 1.0, []

    async def sleep(seconds: float) -> None:
        lent.append(desk.deliveries.lend("s"))
        monkeypatch.setattr(module.asyncio, "sleep", desk._sleep)
        desk.now += seconds

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    late = desk.departures.check(request, delivery)
    assert late is not None
    assert await late is None
    assert [one and one.at for one in lent] == [2.0]
    assert [wish.instead and wish.instead.at for wish in desk.wishes] == [0, None], "it is not its own to give back"
    assert delivery.sent
    assert desk.deliveries.lend("s") is None, "it has left"
    desk.deliveries.finished(request)
    assert desk.policy.given_back == []
