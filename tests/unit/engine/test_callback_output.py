"""What callbacks yield, processed in Scrapy's own way and in ours: the same rules, a hundred tasks
less.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request
from scrapy.core.scraper import Scraper
from scrapy.http import Response

from mocra_scrapy.engine.callback_output import AT_A_TIME, Output
from mocra_scrapy.engine.hooks import EngineHooks

PAGE = Response("http://s.test/")
ASKED = Request(PAGE.url)


class Stage(Scraper):
    """A scraper whose pipelines are *pipeline*, in an engine that notes what it is to crawl."""

    def __init__(self, count: int, pipeline: Callable[[Any], Any] | None = None) -> None:
        self.concurrent_items = count
        self.pipeline = pipeline
        self.seen: list[Any] = []
        self.errors: list[str] = []
        self.late: list[Any] = []
        self.crawler: Any = SimpleNamespace(engine=SimpleNamespace(crawl=self._crawl))
        self.busy = self.most = 0

    def _crawl(self, request: Request) -> None:
        if request.url.endswith("refused"):
            raise RuntimeError("No open spider to crawl")
        self.seen.append(request.url)

    async def start_itemproc_async(self, item: Any, *, response: Any) -> None:
        assert response is PAGE
        self.busy += 1
        self.most = max(self.most, self.busy)
        if self.pipeline is not None:
            await self.pipeline(item)
        self.seen.append(item)
        self.busy -= 1

    def handle_spider_error(self, _failure: Any, request: Request, response: Any, spider: Any = None) -> None:  # type: ignore[override]
        self.errors.append(f"{_failure.value} {request.url}")


async def free() -> None:
    await asyncio.sleep(0)


Handle = Callable[[Stage, Any], Any]
HANDLERS: dict[str, Handle] = {
    "scrapy": lambda stage, result: Scraper.handle_spider_output_async(stage, result, ASKED, PAGE),
    "ours": lambda stage, result: Output(stage.crawler.engine, stage, free, stage.late.append).handle(
        result, ASKED, PAGE
    ),
}


def asynchronous(outputs: Iterable[Any]) -> AsyncIterator[Any]:
    async def every() -> AsyncIterator[Any]:
        for output in outputs:
            yield output

    return every()


handlers = pytest.mark.parametrize("handle", HANDLERS.values(), ids=HANDLERS)
kinds = pytest.mark.parametrize("kind", [iter, asynchronous], ids=["iterable", "async iterable"])


@handlers
@kinds
async def test_everything_arrives_and_the_end_is_when_the_last_item_is_through(handle: Handle, kind: Any) -> None:
    async def slow(item: Any) -> None:
        for _ in range(item["n"]):
            await asyncio.sleep(0)

    stage = Stage(100, slow)
    urls = [f"http://s.test/{n}" for n in range(2 * AT_A_TIME)]
    items = [{"n": n} for n in range(5)]
    await handle(stage, kind([items[4], None, *(Request(url) for url in urls), *items[:4]]))
    assert [seen for seen in stage.seen if isinstance(seen, str)] == urls
    assert all(item in stage.seen for item in items)
    assert stage.busy == 0


@handlers
@kinds
@pytest.mark.parametrize("count", [1, 3])
async def test_no_more_items_at_once_than_told(handle: Handle, kind: Any, count: int) -> None:
    async def slow(item: Any) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    stage = Stage(count, slow)
    await handle(stage, kind({"n": n} for n in range(10)))
    assert len(stage.seen) == 10
    assert stage.most == count


@handlers
@kinds
async def test_the_callback_is_asked_for_more_when_there_is_room(handle: Handle, kind: Any) -> None:
    gate, asked = asyncio.Event(), 0

    def endless() -> Iterable[Any]:
        nonlocal asked
        while not gate.is_set():
            asked += 1
            yield {"n": asked}

    async def shut(item: Any) -> None:
        await gate.wait()

    stage = Stage(4, shut)
    handling = asyncio.ensure_future(handle(stage, kind(endless())))
    for _ in range(100):
        await asyncio.sleep(0)
    assert 4 <= asked <= 3 * 4 + 2  # Scrapy has a queue of twice as many beside those that are worked on
    gate.set()
    await handling
    assert len(stage.seen) == asked


@handlers
async def test_an_item_does_not_wait_for_what_the_callback_waits_for(handle: Handle) -> None:
    done = asyncio.Event()

    async def first(item: Any) -> None:
        done.set()

    async def waits_for_its_own_item() -> AsyncIterator[Any]:
        yield {"n": 1}
        await asyncio.wait_for(done.wait(), 60)
        yield Request("http://s.test/after")

    stage = Stage(100, first)
    await handle(stage, waits_for_its_own_item())
    assert stage.seen == [{"n": 1}, "http://s.test/after"]


@handlers
@kinds
async def test_an_error_of_the_callback_is_told_and_what_came_before_it_stays(handle: Handle, kind: Any) -> None:
    def breaking() -> Iterable[Any]:
        yield {"n": 1}
        yield Request("http://s.test/a")
        raise ValueError("broken")

    stage = Stage(8)
    await handle(stage, kind(breaking()))
    assert {"n": 1} in stage.seen
    assert "http://s.test/a" in stage.seen
    assert stage.errors == ["broken http://s.test/"]


@kinds
async def test_a_request_that_the_engine_refuses_costs_nothing_else(
    kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stage = Stage(8)
    await HANDLERS["ours"](stage, kind([Request("http://s.test/refused"), {"n": 1}, Request("http://s.test/b")]))
    assert sorted(stage.seen, key=str) == sorted([{"n": 1}, "http://s.test/b"], key=str)
    assert "Could not schedule <GET http://s.test/refused>" in caplog.text
    assert "No open spider" in caplog.text


async def test_a_thousand_links_let_others_have_their_turn() -> None:
    stage, turns = Stage(8), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.ensure_future(other())
    await HANDLERS["ours"](stage, iter(Request(f"http://s.test/{n}") for n in range(1000)))
    others.cancel()
    assert len(stage.seen) == 1000
    assert turns >= 1000 // AT_A_TIME


@pytest.mark.parametrize("is_starting", [True, False])
async def test_start_goes_on_before_what_a_page_gives_is_taken_in(is_starting: bool) -> None:
    stage, before = Stage(8), []
    output = Output(stage.crawler.engine, stage, free, stage.late.append, is_starting=lambda: is_starting)
    handling = asyncio.ensure_future(output.handle(iter([Request("http://s.test/1")]), ASKED, PAGE))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(lambda: before.append(len(stage.seen)))  # as a start() that is woken
    await handling
    assert before == ([0] if is_starting else [])
    assert len(stage.seen) == 1


@kinds
async def test_a_callback_waits_while_there_is_no_room(kind: Any) -> None:
    stage, gate = Stage(8), asyncio.Event()

    async def room() -> None:
        await gate.wait()

    output = Output(stage.crawler.engine, stage, room, stage.late.append)
    links = kind(Request(f"http://s.test/{n}") for n in range(2 * AT_A_TIME))
    handling = asyncio.ensure_future(output.handle(links, ASKED, PAGE))
    for _ in range(5 * AT_A_TIME):
        await asyncio.sleep(0)
    assert len(stage.seen) == AT_A_TIME
    gate.set()
    await handling
    assert len(stage.seen) == 2 * AT_A_TIME


def hooked(scraper: Any) -> bool:
    engine = SimpleNamespace(scraper=scraper, _slot=None)
    EngineHooks(SimpleNamespace(engine=engine)).on_callback_output(free, print, lambda _: None)  # type: ignore[arg-type]
    own = vars(scraper).get("handle_spider_output_async")
    return isinstance(getattr(own, "__self__", None), Output)


def test_it_stands_in_for_scrapys_own_only() -> None:
    assert hooked(Scraper.__new__(Scraper))
    assert not hooked(Stage(1))  # a class of somebody's own
    patched = Scraper.__new__(Scraper)
    patched.handle_spider_output_async = print  # type: ignore[assignment, method-assign]
    assert not hooked(patched)
    EngineHooks(SimpleNamespace(engine=None)).on_callback_output(free, print, lambda _: None)  # type: ignore[arg-type]


def test_scrapy_looks_it_up_on_the_instance() -> None:
    """Public; with these arguments, from the oldest supported version on."""
    import inspect

    signature = inspect.signature(Scraper.handle_spider_output_async)
    assert list(signature.parameters) == ["self", "result", "request", "response"]
    assert "self.handle_spider_output_async(" in inspect.getsource(Scraper)
    assert "self.concurrent_items" in inspect.getsource(Scraper.__init__)
    assert "response" in inspect.signature(Scraper.start_itemproc_async).parameters
