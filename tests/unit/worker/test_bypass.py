"""Requests that bypass the queue wait for a permit and their departure: in no place of the downloader, not for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import IgnoreRequest, NotConfigured
from scrapy.utils.test import get_crawler

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.coordination.queue_session import QueueSession
from mocra_scrapy.downloadermiddlewares.throttle import ThrottleMiddleware
from mocra_scrapy.engine.hooks import EngineHooks
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.models import CrawlState, Departure, Entry, Reservation, SlotLimit
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.runtime.slot_gate import SlotGate
from mocra_scrapy.worker import bypass as module
from mocra_scrapy.worker.bypass import Bypass
from mocra_scrapy.worker.outage_share import OutageShare
from mocra_scrapy.worker.queue_status import QueueStatus
from mocra_scrapy.worker.slot_policy import ClusterPolicy, policy_for
from mocra_scrapy.worker.store_clock import StoreClock


class OneSpider(Spider):
    name = "one"


class Away:
    """A limiter whose backend is away for some calls."""

    def __init__(self, limiter: Any, calls: int) -> None:
        self._limiter, self._left = limiter, calls

    async def reserve(self, *args: Any, **kwargs: Any) -> Any:
        self._left -= 1
        if self._left >= 0:
            raise BackendUnavailable("away")
        return await self._limiter.reserve(*args, **kwargs)


class Desk:
    """A worker's bypass on a store in this process, whose clock goes on where somebody sleeps, and
    whose exchanges are made when one asks for permits.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.now, self.slept = 1000.0, []  # type: float, list[float]
        crawler = get_crawler(OneSpider, settings, prevent_warnings=False)
        mocra = Mocra.from_crawler(crawler)
        self.backend = MemoryBackend(clock=lambda: self.now)
        queue = self.backend.request_queue("crawl", mocra.options.queue)
        self.limiter: Any = self.backend.rate_limiter("crawl", mocra.options.queue)
        self.session = QueueSession(queue, "worker")
        self.parts: Any = SimpleNamespace(options=mocra.options, limiter=self.limiter, session=self.session)
        self.status = QueueStatus(CrawlState(1))
        self.status.store = StoreClock(lambda: self.now)
        self.active: set[Request] = set()
        self.engine = EngineHooks(crawler)
        self.engine._active = self.active
        self.gate = SlotGate()
        self.parts.state = SimpleNamespace(gate=self.gate)
        policy = policy_for(mocra.options.limits, self.engine, self.gate)
        assert isinstance(policy, ClusterPolicy)
        self.policy, self.permits = policy, policy.permits
        self.permits._clock = lambda: self.now
        assert crawler.stats is not None
        self.stats = crawler.stats
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(module.asyncio, "sleep", self._sleep)
        monkeypatch.setattr(self.status, "ask_for_permits", self._ask)
        self.before_the_wire, self.lent = 0, []  # type: int, list[Departure]
        self.bypass = Bypass(
            self.parts,
            self.status,
            self.engine,
            policy=policy,
            permits=policy.permits,
            before_the_wire=lambda name: self.before_the_wire,
            lend=lambda slot: self.lent.pop() if self.lent else None,
            stats=crawler.stats,
        )

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            self.slept.append(seconds)
            self.now += seconds
        await asyncio.wait([asyncio.ensure_future(_nothing())])

    def _ask(self) -> None:
        self.asking = asyncio.ensure_future(self.exchange())

    async def exchange(self) -> None:
        bounds = self.policy.bounds(0, SimpleNamespace(slots=(), leased=0))  # type: ignore[arg-type]
        self.policy.on_answered(await self.session.exchange(bounds=bounds), bounds)
        self.status.answered()

    async def depart(self, path: str = "robots.txt", *, bounded: bool = True) -> Request:
        request = Request(f"http://s.test/{path}")
        self.active.add(request)
        await self.bypass.depart(request, bounded=bounded)
        assert request in self.active
        return request


async def _nothing() -> None:
    return None


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda **settings: Desk(monkeypatch, **settings)


async def test_it_books_and_waits(desk: Any) -> None:
    one = desk(MOCRA_THROTTLE={"s.test": "1/2s"})
    await one.session.queue.join("worker")
    for number in range(3):
        await one.depart()
        assert 2 * number <= one.now - 1000 <= 2 * number + 0.1
    assert len(one.bypass) == 0


@pytest.mark.parametrize("late", [None, 0.05], ids=["alone", "beside pages"])
async def test_pages_have_their_turns(desk: Any, monkeypatch: pytest.MonkeyPatch, late: float | None) -> None:
    """Of many files at once, though a busy worker's exchanges for pages come 50 ms after a departure may be booked."""
    one, names, pages = desk(MOCRA_THROTTLE={"s.test": {"rate": "4/s", "concurrency": 20}}), ("s.test",), []
    await one.session.queue.join("worker")

    async def sleep(seconds: float) -> None:
        await one._sleep(seconds)
        if late is not None:
            ahead = one.parts.options.queue.lookahead - late
            pages.extend(page for page in await one.limiter.reserve([Reservation(names, ahead)]) if page.booked)

    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    await asyncio.gather(*(one.depart(str(number)) for number in range(9)))
    assert len(pages) in (range(3, 19) if late else [0])
    assert one.now - 1000 <= (8 + len(pages)) / 4 + 0.1, "the rate is used"


async def test_one_that_waits_takes_no_place_of_the_downloader(desk: Any) -> None:
    one = desk(CONCURRENT_REQUESTS_PER_DOMAIN=1)
    await one.session.queue.join("worker")
    first = await one.depart("1")
    waiting = asyncio.ensure_future(one.depart("2"))
    while not one.permits.wanted():
        await asyncio.wait([asyncio.ensure_future(_nothing())])
    assert (len(one.bypass), one.active) == (1, {first}), "the cluster allows one at a time"
    one.bypass.left(first)
    second = await waiting
    assert one.active == {first, second}
    assert one.permits.loads() == {"s.test": 1}
    one.bypass.left(second)
    one.bypass.left(second)
    assert one.permits.loads() == {}


async def test_a_page_that_has_not_left_lends_its_permit(desk: Any) -> None:
    """It may be waiting for that very robots.txt: with one request at a time nothing would go on."""
    one = desk(CONCURRENT_REQUESTS_PER_DOMAIN=1)
    await one.session.queue.join("worker")
    await one.session.push([Entry(b"page", "s.test")])
    bounds = one.policy.bounds(1, SimpleNamespace(slots=(), leased=0))
    exchange = await one.session.exchange(want=1, bounds=bounds)
    one.policy.on_answered(exchange, bounds)
    for lease in exchange.leases:
        one.policy.on_leased(lease)
        one.policy.on_started(lease)
    one.before_the_wire = 1
    robots = await asyncio.wait_for(one.depart(), 60)
    second = asyncio.ensure_future(one.depart("another"))

    async def leave() -> None:
        await one.bypass.make_way(("s.test",))
        one.before_the_wire = 0  # the page is at the site

    page = asyncio.ensure_future(leave())
    for _ in range(20):
        await asyncio.wait([asyncio.ensure_future(_nothing())])
    assert not second.done(), "it is lent once"
    assert not page.done(), "the page waits until it has its permit back"
    one.bypass.left(robots)
    await asyncio.wait_for(page, 60)
    for _ in range(20):
        await asyncio.wait([asyncio.ensure_future(_nothing())])
    assert not second.done()
    one.policy.on_downloaded(("s.test",))
    one.bypass.left(await second)


async def test_robots_txt_goes_with_the_departure_of_the_page_that_waits_for_it(desk: Any) -> None:
    """Pages would use up a quota before their robots.txt, and nothing would be sent for an hour."""
    one = desk(MOCRA_THROTTLE={"s.test": {"quota": "2/h"}})
    await one.session.queue.join("worker")
    await one.session.push([Entry(b"1", "s.test"), Entry(b"2", "s.test"), Entry(b"3", "s.test")])
    bounds = one.policy.bounds(9, SimpleNamespace(slots=(), leased=0, paced={}))
    leases = (await one.session.exchange(want=9, bounds=bounds)).leases
    assert len(leases) == 2, "the quota is used up"
    for lease in leases:
        one.policy.on_leased(lease)
    one.policy.on_started(leases[0])
    one.lent, one.before_the_wire = [leases[0].departure], 1
    one.gate.close("s.test")
    robots = await asyncio.wait_for(one.depart(), 60)
    assert one.now < 1010
    one.bypass.left(robots)
    one.gate.open("s.test")
    (booking,) = await one.limiter.reserve([Reservation(("s.test",), 1.0)])
    assert not booking.booked, "it counts, in place of the page"


async def test_only_what_comes_first_takes_the_departure_of_a_page(desk: Any) -> None:
    one = desk(MOCRA_THROTTLE={"s.test": {"quota": "1/h"}}, MOCRA_BYPASS_MAX_WAIT=100)
    await one.session.queue.join("worker")
    (booking,) = await one.limiter.reserve([Reservation(("s.test",), 1.0)])
    one.lent = [booking.departure]
    with pytest.raises(IgnoreRequest):
        await one.depart("media")
    assert one.lent


async def test_a_departure_of_other_scopes_goes_back_to_the_store(desk: Any) -> None:
    one = desk(MOCRA_THROTTLE={"s.test": {"quota": "1/h"}})
    await one.session.queue.join("worker")
    (booking,) = await one.limiter.reserve([Reservation(("s.test",), 1.0)])
    one.lent = [replace(booking.departure, names=("s.test", "@other"))]
    unused: list[Departure] = []
    one.policy.on_unused = unused.append
    one.gate.close("s.test")
    one.bypass._lines["s.test",] = module.Line()
    assert not (await one.bypass._book(("s.test",))).booked
    assert [departure.names for departure in unused] == [("s.test", "@other")]


def test_nothing_more_is_leased_of_a_slot_whose_robots_txt_is_waited_for(desk: Any) -> None:
    one = desk()
    inbox: Any = SimpleNamespace(slots=(), leased=0, paced={"s.test": 0.0, "t.test": 0.0})
    for slot in ("s.test", "t.test", "u.test"):
        one.gate.close(slot)
    one.permits.on_unwanted(("s.test", "u.test"), started=True)
    assert list(one.policy.bounds(1, inbox).full) == ["s.test"], "one of it is out, and it has an interval"
    assert not one.policy.bounds(0, inbox).full
    one.gate.ready("s.test")
    assert not one.policy.bounds(1, inbox).full


async def test_it_looks_again_after_waiting(desk: Any) -> None:
    one = desk(MOCRA_THROTTLE={"s.test": "5/s"})
    await one.session.queue.join("worker")
    one.bypass.left(await one.depart())
    sleep, held = one._sleep, []

    async def held_meanwhile(seconds: float) -> None:
        if not held:
            held.append(one.now)
            await one.limiter.hold("s.test", 30)
            await one.exchange()
        await sleep(seconds)

    module.asyncio.sleep = held_meanwhile  # type: ignore[assignment]
    unused: list[Departure] = []
    one.policy.on_unused = unused.append
    await one.depart()
    assert one.now >= held[0] + 30
    assert [departure.names for departure in unused] == [("s.test",)], "others may have the one that it booked"


async def test_it_fails_when_it_takes_too_long(desk: Any) -> None:
    one = desk(MOCRA_BYPASS_MAX_WAIT=100)
    await one.session.queue.join("worker")
    await one.limiter.hold("s.test", 1000)
    with pytest.raises(IgnoreRequest, match="MOCRA_BYPASS_MAX_WAIT = 100 s"):
        await one.depart()
    assert 1100 <= one.now <= 1106
    assert one.stats.get_value("mocra/throttle/bypass_given_up") == 1
    assert (len(one.bypass), one.bypass._lines, one.permits.loads()) == (0, {}, {})
    await one.depart(bounded=False)
    assert one.now >= 2000, "one that can't be stored waits for as long as it takes"


async def test_an_outage_is_waited_for_and_does_not_count(desk: Any) -> None:
    one = desk(MOCRA_BYPASS_MAX_WAIT=2)
    await one.session.queue.join("worker")
    one.parts.limiter = Away(one.limiter, 5)
    await one.depart()
    assert one.slept == [1.0] * 5
    assert one.stats.get_value("mocra/throttle/outages") == 5


async def test_in_an_outage_each_worker_has_its_share(desk: Any) -> None:
    one = desk(MOCRA_THROTTLE={"s.test": "1/2s"}, MOCRA_THROTTLE_ON_OUTAGE="share")
    one.status.away_since = 1.0
    one.bypass._share.workers = 3
    one.parts.limiter = Away(one.limiter, 1000)
    for _ in range(3):
        await one.depart()
    assert [round(nap) for nap in one.slept] == [6, 6], "three workers: a third of the rate each"


def test_a_slot_without_a_rate_is_treated_with_care_in_an_outage() -> None:
    share = OutageShare()
    share.workers = 2
    waits = [share.book(("s",), [SlotLimit()]) for _ in range(3)]
    assert [round(wait) for wait in waits] == [0, 2, 4]
    assert round(share.book(("t", "s"), [SlotLimit(interval=1), SlotLimit()])) == 6


def test_not_where_each_worker_is_polite_for_itself() -> None:
    with pytest.raises(NotConfigured):
        ThrottleMiddleware.from_crawler(
            get_crawler(OneSpider, {"MOCRA_THROTTLE_SCOPE": "worker"}, prevent_warnings=False)
        )


async def test_a_permit_that_comes_free_lets_the_worker_look_again(desk: Any) -> None:
    one = desk(CONCURRENT_REQUESTS_PER_DOMAIN=1)
    await one.session.queue.join("worker")
    request = await one.depart()
    one.status.dry = True  # the last look found nothing for want of it
    one.status.kicked.clear()
    one.bypass.left(request)
    assert not one.status.dry
    assert one.status.kicked.is_set()
