"""One page is asked for once, whoever wants it; and who asks may die."""

from __future__ import annotations

import asyncio
import time

import pytest

from mocra_scrapy.cache.httpcache import flights
from mocra_scrapy.cache.httpcache.machine import Serve
from mocra_scrapy.cache.httpcache.messages import Answer
from tests.integration.httpcache.conftest import MakeWorker, Worker
from tests.unit.cache.httpcache.exchanges import URL, answer, ask


class Site:
    """Counts who asks."""

    def __init__(self, said: Answer, holds: asyncio.Event | None = None) -> None:
        self.said, self.holds, self.asked = said, holds, 0

    async def seen_through(self, one: Worker) -> Answer:
        passage = await one.web.begin(ask())
        if isinstance(passage.decision, Serve):
            return passage.decision.answer
        self.asked += 1
        if self.holds is not None:
            await self.holds.wait()
        outcome, _ = await one.web.answered(passage, self.said)
        return outcome.answer or self.said


async def test_four_workers_ask_a_hundred_times_and_the_site_sees_one(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "CLAIM", 300.0)
    workers = [await worker(f"w{n}", wait=300.0) for n in range(4)]
    site = Site(answer(cache_control="max-age=60"), asyncio.Event())
    tasks = [asyncio.ensure_future(site.seen_through(one)) for one in workers * 25]
    while site.asked + sum(one.flights.waiting for one in workers) < 100:
        await asyncio.sleep(0.01)
    assert site.asked == 1
    assert site.holds is not None
    site.holds.set()
    assert {got.body for got in await asyncio.gather(*tasks)} == {b"page"}
    assert site.asked == 1
    assert sum(one.flights.waiting for one in workers) == 0


async def test_who_looked_just_before_it_was_stored_does_not_ask(
    worker: MakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flights, "LINGER", 300.0)
    one, other = await worker("a"), await worker("b")
    late = asyncio.Event()
    read = other.pages.read

    async def slowly(name: str) -> list[object]:
        found = await read(name)
        if not late.is_set():
            await late.wait()
        return found  # type: ignore[return-value]

    other.pages.read = slowly  # type: ignore[method-assign, assignment]
    site = Site(answer(cache_control="max-age=60"))
    second = asyncio.ensure_future(site.seen_through(other))
    await asyncio.sleep(0)
    await site.seen_through(one)
    late.set()
    await second
    assert site.asked == 1


async def test_when_who_asks_is_killed_another_one_does(worker: MakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed: it renews nothing, and says nothing."""
    monkeypatch.setattr(flights, "CLAIM", 300.0)
    monkeypatch.setattr(flights, "RENEW", 0.05)
    one, *others = [await worker(f"w{n}", wait=300.0) for n in range(4)]
    never, site = asyncio.Event(), Site(answer(cache_control="max-age=60"))
    first = Site(answer(), never)
    killed = asyncio.ensure_future(first.seen_through(one))
    while not first.asked:
        await asyncio.sleep(0.01)
    tasks = [asyncio.ensure_future(site.seen_through(other)) for other in others * 5]
    while sum(other.flights.waiting for other in others) < 15:
        await asyncio.sleep(0.01)
    name = one.pages.name(URL)
    await others[0].claims.touch(name, 100.0)
    while (claim := await others[0].claims.get(name)) is not None and claim.expires_in < 200:
        await asyncio.sleep(0.01)
    assert claim is not None, "it is renewed while its worker lives"
    assert site.asked == 0
    assert one.flights._renewing is not None
    one.flights._renewing.cancel()
    await others[0].claims.touch(name, 0.001)  # so much time went by
    await asyncio.gather(*tasks)
    assert site.asked == 1
    never.set()
    await killed


async def test_waiting_has_an_end(worker: MakeWorker) -> None:
    one, other = await worker("a", wait=0.2), await worker("b", wait=0.2)
    holds = asyncio.Event()
    first = Site(answer(), holds)
    slow = asyncio.ensure_future(first.seen_through(one))
    while not first.asked:
        await asyncio.sleep(0.01)
    impatient, began = Site(answer()), time.monotonic()
    await asyncio.gather(impatient.seen_through(one), impatient.seen_through(other))
    assert impatient.asked == 2
    assert time.monotonic() - began >= 0.19
    holds.set()
    await slow


async def test_nobody_waits_for_what_can_not_be_stored(worker: MakeWorker) -> None:
    one = await worker(wait=300.0)
    holds = asyncio.Event()
    site = Site(answer(cache_control="no-store"), holds)
    first = asyncio.ensure_future(site.seen_through(one))
    while not site.asked:
        await asyncio.sleep(0.01)
    rest = [asyncio.ensure_future(site.seen_through(one)) for _ in range(5)]
    while one.flights.waiting < 5:
        await asyncio.sleep(0.01)
    holds.set()
    await asyncio.gather(first, *rest)
    assert site.asked == 6
    holds.clear()
    again = [asyncio.ensure_future(site.seen_through(one)) for _ in range(5)]
    while site.asked < 11:
        await asyncio.sleep(0.01)
    holds.set()
    await asyncio.gather(*again)


async def test_who_gives_up_lets_the_next_one_ask(worker: MakeWorker) -> None:
    one = await worker(wait=300.0)
    passage = await one.web.begin(ask())
    assert passage.leads
    site = Site(answer(cache_control="max-age=60"))
    waits = [asyncio.ensure_future(site.seen_through(one)) for _ in range(5)]
    while one.flights.waiting < 5:
        await asyncio.sleep(0.01)
    one.web.given_up(passage)
    await asyncio.gather(*waits)
    assert site.asked == 1
    assert not len(one.flights)
    assert await one.claims.get(passage.name) is not None, "for who looked just before"


async def test_after_a_failure_nobody_waits_for_the_next_one(worker: MakeWorker) -> None:
    """The next one may fail as well, each after its timeout."""
    one, other = await worker("a", wait=300.0), await worker("b", wait=300.0)
    passage = await one.web.begin(ask())
    holds = asyncio.Event()
    site = Site(answer(cache_control="max-age=60"), holds)
    waits = [asyncio.ensure_future(site.seen_through(each)) for each in (one, other) for _ in range(5)]
    while one.flights.waiting + other.flights.waiting < 10:
        await asyncio.sleep(0.01)
    assert one.web.failed(passage) is None
    while site.asked < 10:  # while none of them has its answer
        await asyncio.sleep(0.01)
    again = asyncio.ensure_future(site.seen_through(other))  # a retry
    while site.asked < 11:
        await asyncio.sleep(0.01)
    holds.set()
    await asyncio.gather(*waits, again)
    assert not len(one.flights)
    assert not len(other.flights)


async def test_a_worker_that_closes_waits_for_nobody(worker: MakeWorker) -> None:
    one, other = await worker("a", wait=300.0), await worker("b", wait=300.0)
    leads = await one.web.begin(ask())
    waits = [asyncio.ensure_future(each.web.begin(ask())) for each in (one, other) for _ in range(3)]
    while one.flights.waiting + other.flights.waiting < 6:
        await asyncio.sleep(0.01)
    one.flights.stop()
    other.flights.stop()
    for passage in await asyncio.gather(*waits):
        assert passage.put_off
        assert not passage.leads
    late = await other.web.begin(ask())
    assert late.put_off
    assert not leads.put_off
    one.web.given_up(leads)
