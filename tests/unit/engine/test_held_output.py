"""What a callback yields, taken in as a whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from scrapy import Request
from scrapy.exceptions import CloseSpider

from mocra_scrapy.engine.callback_output import Output
from mocra_scrapy.engine.held_output import Held

from .test_callback_output import ASKED, PAGE, Stage, asynchronous, free


class Whole:
    """A callback's output on its way, and what was said of it."""

    def __init__(self, most: int = 100, most_bytes: int = 10_000, **stage: Any) -> None:
        self.stage = Stage(4, **stage)
        self.too_many = self.too_large = 0
        self.left: list[str | None] = []
        self._most_bytes = most_bytes
        self.undone: list[int] = []
        self.output = Output(
            self.stage.crawler.engine, self.stage, free, self.stage.late.append, hold=lambda _: self._held(most)
        )

    def _held(self, most: int) -> Held:
        def too_many() -> None:
            self.too_many += 1

        def too_large() -> None:
            self.too_large += 1

        def leaving(request: Request | None) -> None:
            self.left.append(request and request.url)

        return Held(
            most,
            too_many,
            self.undone.append,
            most_bytes=self._most_bytes,
            too_large=too_large,
            leaving=leaving,
        )

    async def handle(self, outputs: Any) -> list[Any]:
        await self.output.handle(outputs, ASKED, PAGE)
        return self.stage.seen


def links(count: int) -> list[Request]:
    return [Request(f"http://s.test/{n}") for n in range(count)]


kinds = pytest.mark.parametrize("kind", [iter, asynchronous], ids=["iterable", "async iterable"])


@kinds
async def test_items_come_first_and_requests_when_they_are_done(kind: Any) -> None:
    """The requests are stored with the acknowledgement: what comes after them could undo it."""
    gate = asyncio.Event()

    async def pipeline(item: Any) -> None:
        await gate.wait()

    whole = Whole(pipeline=pipeline)
    one, two = links(2)
    task = asyncio.ensure_future(whole.handle(kind([one, {"n": 1}, two, None, {"n": 2}])))
    for _ in range(50):
        await asyncio.sleep(0)
    assert whole.stage.seen == []
    gate.set()
    assert await task == [{"n": 1}, {"n": 2}, one.url, two.url]
    assert whole.left == [one.url, None, two.url, None]
    assert whole.undone == []


@kinds
async def test_nothing_is_taken_in_before_the_callback_is_exhausted(kind: Any) -> None:
    whole, seen = Whole(), []

    def callback() -> Iterator[Any]:
        for request in links(3):
            yield request
            seen.append(list(whole.stage.seen))
        yield {"n": 1}

    assert await whole.handle(kind(callback())) == [{"n": 1}, *(request.url for request in links(3))]
    assert seen == [[], [], []]


@kinds
async def test_a_callback_that_fails_half_way_leaves_nothing(kind: Any) -> None:
    whole = Whole()

    def callback() -> Iterator[Any]:
        yield from links(3)
        yield {"n": 1}
        raise ValueError("half-way")

    assert await whole.handle(kind(callback())) == []
    assert whole.stage.errors == [f"half-way {ASKED.url}"]
    assert whole.undone == [4]


@kinds
async def test_a_spider_that_closes_itself_has_not_failed(kind: Any) -> None:
    whole = Whole()

    def callback() -> Iterator[Any]:
        yield from links(1)
        raise CloseSpider("enough")

    assert await whole.handle(kind(callback())) == ["http://s.test/0"]
    assert whole.undone == []


@kinds
async def test_what_is_held_is_bounded(kind: Any) -> None:
    """The callback is not asked for more than that, however much it would yield."""
    whole, asked = Whole(most=5), []

    def callback() -> Iterator[Any]:
        for n in range(1_000_000):
            asked.append(n)
            yield {"n": n} if n % 2 else Request(f"http://s.test/{n}")

    assert await whole.handle(kind(callback())) == []
    assert (whole.too_many, whole.undone, len(asked)) == (1, [6], 6)
    assert await Whole(most=5).handle(kind(links(5))) == [request.url for request in links(5)]


@kinds
async def test_its_bytes_are_bounded_before_an_item_goes_on(kind: Any) -> None:
    def callback() -> Iterator[Any]:
        yield {"n": 1}
        for url in ("http://s.test/1", "http://s.test/2"):
            yield Request(url, body=b"x" * 485)

    whole = Whole(most_bytes=999)
    assert await whole.handle(kind(callback())) == []
    assert (whole.too_large, whole.too_many, whole.undone) == (1, 0, [3])
    assert len(await Whole(most_bytes=1000).handle(kind(callback()))) == 3


async def test_what_comes_after_the_time_out_is_dropped_and_not_held() -> None:
    whole, gate = Whole(most=5), asyncio.Event()

    async def callback() -> AsyncIterator[Any]:
        yield links(1)[0]
        await gate.wait()
        for request in links(200):
            yield request

    task = asyncio.ensure_future(whole.handle(callback()))
    for _ in range(10):
        await asyncio.sleep(0)
    whole.output.let_go(ASKED)
    gate.set()
    assert await task == []
    assert len(whole.stage.late) == 200
    assert (whole.too_many, whole.undone) == (0, [1])


async def test_a_time_out_in_the_pipelines_keeps_the_requests_out() -> None:
    gate = asyncio.Event()

    async def pipeline(item: Any) -> None:
        await gate.wait()

    whole = Whole(pipeline=pipeline)
    whole.stage.slot = type("Slot", (), {"itemproc_size": 1})()
    task = asyncio.ensure_future(whole.handle(iter([*links(2), {"n": 1}])))
    for _ in range(50):
        await asyncio.sleep(0)
    whole.output.let_go(ASKED)
    gate.set()
    assert await task == [{"n": 1}]
    assert whole.undone == [2]
