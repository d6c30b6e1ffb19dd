"""MOCRA_BUDGETS in a scheduler of ours, without an engine around it."""

from __future__ import annotations

from typing import Any

from scrapy import Request, signals

from mocra_scrapy.control.live_settings import LIVE_SETTINGS
from mocra_scrapy.models import NO_LIMITS, BudgetState
from mocra_scrapy.scheduler import Scheduler
from mocra_scrapy.worker.deliveries import CURRENT

from .scheduling import dequeue, drained, eventually, opened


def page(name: object, host: str = "www.foo.test", **more: Any) -> Request:
    return Request(f"http://{host}/{name}", **more)


def accepted(scheduler: Scheduler, *requests: Request) -> list[bool]:
    return [scheduler.enqueue_request(request) for request in requests]


async def stored(scheduler: Scheduler) -> None:
    await eventually(lambda: scheduler.worker is not None and not scheduler.worker.outbox)


async def states(scheduler: Scheduler) -> dict[str, BudgetState]:
    return {one.name: one for one in await scheduler.mocra.queue.budgets()}


def stat(scheduler: Scheduler, name: str) -> int:
    assert scheduler.crawler.stats is not None
    return int(scheduler.crawler.stats.get_value(f"mocra/budget/refused/{name}", 0))


async def test_what_is_over_is_refused_and_may_come_again() -> None:
    dropped: list[str] = []

    def hear(request: Request) -> None:
        dropped.append(request.url)

    async with opened(MOCRA_BUDGETS={"domain": {"pages": 2}, "slot": {"other.test": {"queued": 9}}}) as scheduler:
        scheduler.crawler.signals.connect(hear, signals.request_dropped)
        accepted(scheduler, page(1), page(2, "shop.foo.test"), page(1), page(3), page(4, "other.test"))
        await stored(scheduler)
        assert stat(scheduler, "pages") == 1
        assert dropped == ["http://www.foo.test/3"]
        assert scheduler.crawler.stats.get_value("dupefilter/filtered") == 1
        found = await states(scheduler)
        assert {name: one.pages for name, one in found.items()} == {
            "domain:foo.test": 2,
            "domain:other.test": 1,
            "slot:other.test": 1,
        }
        assert accepted(scheduler, page(3), page(1)) == [True, False], "this process does not remember it"
        await stored(scheduler)
        assert stat(scheduler, "pages") == 2

        LIVE_SETTINGS["MOCRA_BUDGETS"].apply(scheduler.mocra, {"domain": {"foo.test": {"pages": 3}}})
        accepted(scheduler, page(3), page(5))
        await stored(scheduler)
        assert (await states(scheduler))["domain:foo.test"].pages == 3
        assert stat(scheduler, "pages") == 3

        everything = {"domain": {"*": {"pages": None}}}
        LIVE_SETTINGS["MOCRA_BUDGETS"].apply(scheduler.mocra, everything)
        accepted(scheduler, page(6))
        await stored(scheduler)
        assert (await states(scheduler))["domain:foo.test"].limits == NO_LIMITS
        for _ in range(5):
            await dequeue(scheduler)
        await drained(scheduler)


async def test_what_comes_from_a_seed_counts_for_it() -> None:
    async with opened(MOCRA_BUDGETS={"seed": {"pages": 3}}, MOCRA_SECRET_PARAMS=["*token*"]) as scheduler:
        assert scheduler.worker is not None
        seed = page("?token=geheim")
        scheduler.worker.seeder._seed = seed
        accepted(scheduler, seed, page("nobody's"))
        first = await dequeue(scheduler)
        (name,) = await states(scheduler)
        assert name.startswith("seed:http://www.foo.test/?token=")
        assert "geheim" not in name
        other = await dequeue(scheduler)
        if "mocra_seed" not in first.meta:
            first, other = other, first
        assert "mocra_seed" not in other.meta
        scheduler.worker.deliveries.hand_out(first, None, None)
        accepted(scheduler, page("child"), page("child2"), page("child3"))
        await stored(scheduler)
        assert stat(scheduler, "pages") == 1
        child = await dequeue(scheduler)
        assert child.meta["mocra_seed"] == first.meta["mocra_seed"]
        await dequeue(scheduler)
        scheduler.worker.deliveries.finished(first)
        CURRENT.set(None)
        await drained(scheduler)


async def test_a_retry_is_no_page_and_depth_is_looked_at_here() -> None:
    async with opened(MOCRA_BUDGETS={"slot": {"pages": 1, "depth": 1}}) as scheduler:
        assert scheduler.worker is not None
        accepted(scheduler, page(1, meta={"depth": 1}))
        request = await eventually(scheduler.next_request)
        retry = request.replace(dont_filter=True)
        retry.meta["retry_times"] = 1
        link = page(2, meta={"depth": 1, "retry_times": 1}, dont_filter=True)
        assert accepted(scheduler, retry, link, page(3, meta={"depth": 2})) == [True, True, False]
        await stored(scheduler)
        assert (stat(scheduler, "pages"), stat(scheduler, "depth")) == (1, 1)
        scheduler.worker.deliveries.finished(request)
        assert (await dequeue(scheduler)).url == request.url
        await drained(scheduler)
        assert (await states(scheduler))["slot:www.foo.test"].pages == 1


async def test_a_redirect_counts_once_for_what_its_original_counted_for() -> None:
    async with opened(MOCRA_BUDGETS={"slot": {"pages": 1}}) as scheduler:
        assert scheduler.worker is not None
        accepted(scheduler, page(1))
        request = await eventually(scheduler.next_request)
        moved = page(2, meta={"redirect_urls": [request.url]})
        elsewhere = page(2, "shop.foo.test", meta={"redirect_urls": [request.url]})
        accepted(scheduler, moved, elsewhere)
        await stored(scheduler)
        assert stat(scheduler, "pages") == 0
        scheduler.worker.deliveries.finished(request)
        after = [await eventually(scheduler.next_request) for _ in range(2)]
        CURRENT.set(scheduler.worker.deliveries.by_id[id(next(one for one in after if one.url == moved.url))])
        accepted(scheduler, page(3, meta={"redirect_urls": [request.url]}))  # a link with meta=response.meta
        accepted(scheduler, page(4, meta={"redirect_urls": [request.url, moved.url]}))
        await stored(scheduler)
        assert stat(scheduler, "pages") == 1, "the link"
        for one in after:
            scheduler.worker.deliveries.finished(one)
        CURRENT.set(None)
        assert (await dequeue(scheduler)).url == "http://www.foo.test/4"
        await drained(scheduler)
        assert {name: one.pages for name, one in (await states(scheduler)).items()} == {
            "slot:www.foo.test": 1,
            "slot:shop.foo.test": 1,
        }


async def test_what_is_spent_is_told_and_what_waits_is_withdrawn() -> None:
    skipped: list[tuple[str, str, str, int]] = []
    async with opened(
        MOCRA_BUDGETS={"slot": {"bytes": 100, "errors": 9}}, MOCRA_PREFETCH=1, CONCURRENT_REQUESTS=1
    ) as scheduler:
        assert scheduler.worker is not None
        state = scheduler.mocra.worker_state
        state.skipped = lambda *told: skipped.append(told)
        assert state.budgets is not None
        accepted(scheduler, *[page(n) for n in range(10)])
        request = await eventually(scheduler.next_request)
        state.budgets.spent(request, "www.foo.test", 60, failed=True)
        state.budgets.spent(page("robots.txt"), "www.foo.test", 50, failed=True)
        scheduler.worker.deliveries.finished(request)
        seen = [request.url]
        while scheduler.has_pending_requests():
            again = scheduler.next_request()
            if again is not None:
                seen.append(again.url)
                scheduler.worker.deliveries.finished(again)
            await stored(scheduler)
        found = (await states(scheduler))["slot:www.foo.test"]
        assert (found.bytes, found.errors) == (110, 1), "of files and robots.txt the bytes"
        assert stat(scheduler, "bytes") == 10 - len(seen) > 0
        assert sum(number for *_, number in skipped) == 10 - len(seen)
        assert {told[:2] for told in skipped} == {("budget/bytes", "www.foo.test")}
        assert {told[2] for told in skipped if told[2]} <= {f"http://www.foo.test/{n}" for n in range(10)}


async def test_without_budgets_nobody_counts() -> None:
    async with opened() as scheduler:
        accepted(scheduler, page(1, meta={"depth": 99}))
        request = await dequeue(scheduler)
        assert "mocra_seed" not in request.meta
        assert await states(scheduler) == {}
        await drained(scheduler)
