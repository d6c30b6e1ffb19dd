"""The engine is freed of what does not return; what comes later is dropped and counts once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from scrapy import Request
from scrapy.core.engine import ExecutionEngine, _Slot
from scrapy.core.scraper import Scraper, Slot
from scrapy.http import Response

from mocra_scrapy.engine.callback_output import Output
from mocra_scrapy.engine.let_go import BUG, LOGGER, LetGo, callback_name
from mocra_scrapy.engine.whereabouts import tasks_of, waiting_at
from tests.unit.engine.test_callback_output import ASKED, PAGE, Stage, free


def test_private_names() -> None:
    assert "self.inprogress" in inspect.getsource(_Slot)
    assert "is_idle" in vars(Slot)
    assert "self.slot.closing and self.slot.is_idle()" in inspect.getsource(Scraper._check_if_closing)
    assert "queue" in inspect.getsource(Slot.__init__)
    assert BUG in inspect.getsource(Scraper.enqueue_scrape)
    assert inspect.getmodule(Scraper).__name__ == LOGGER  # type: ignore[union-attr]
    assert "self.scraper.enqueue_scrape(result, request)" in inspect.getsource(ExecutionEngine)
    assert "itemproc_size" in inspect.getsource(Slot)


class Waiting:
    """Output of a callback that waits for *gate* after its first request and item."""

    def __init__(self) -> None:
        self.stage = Stage(8)
        self.stage.slot = Slot()
        self.gate = asyncio.Event()
        self.output = Output(self.stage.crawler.engine, self.stage, free, self.stage.late.append)

    async def outputs(self) -> AsyncIterator[Any]:
        yield Request("http://s.test/1")
        yield {"n": 1}
        await self.gate.wait()
        yield Request("http://s.test/2")
        yield {"n": 2}
        yield None


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_comes_late_is_dropped() -> None:
    page = Waiting()
    handling = asyncio.ensure_future(page.output.handle(page.outputs(), ASKED, PAGE))
    await turns()
    page.output.let_go(ASKED)
    page.gate.set()
    await handling
    assert page.stage.seen == ["http://s.test/1", {"n": 1}]
    assert [getattr(one, "url", one) for one in page.stage.late] == ["http://s.test/2", {"n": 2}]
    again = asyncio.ensure_future(page.output.handle(page.outputs(), ASKED, PAGE))
    await again
    assert len(page.stage.seen) == 6, "the same object once more is a request like any other"


async def test_a_callback_that_has_given_nothing_yet() -> None:
    page = Waiting()
    page.output.let_go(ASKED)
    page.gate.set()
    await page.output.handle(page.outputs(), ASKED, PAGE)
    assert page.stage.seen == []
    assert len(page.stage.late) == 4


async def test_an_item_that_waits_for_room_in_the_pipelines_is_late_too() -> None:
    page = Waiting()
    page.stage.concurrent_items = 1
    stuck = asyncio.Event()
    page.stage.pipeline = lambda item: stuck.wait()
    handling = asyncio.ensure_future(page.output.handle(iter([{"n": 1}, {"n": 2}, {"n": 3}]), ASKED, PAGE))
    await turns()
    assert len(page.output.waiting(ASKED)) == 1
    page.stage.slot.itemproc_size = 1  # as Scrapy counts it
    page.output.let_go(ASKED)
    assert page.stage.slot.itemproc_size == 0, "nobody waits for it"
    stuck.set()
    await handling
    await turns()
    assert page.stage.slot.itemproc_size == 1, "Scrapy counts its end as well: that makes 0"
    assert page.stage.seen == [{"n": 1}]
    assert page.stage.late == [{"n": 2}, {"n": 3}]
    assert page.output.waiting(ASKED) == []


async def test_many_late_requests_leave_the_loop_room() -> None:
    page = Waiting()
    page.output.let_go(ASKED)
    links = (Request(f"http://s.test/{n}") for n in range(500))
    handling = asyncio.ensure_future(page.output.handle(links, ASKED, PAGE))
    await turns(3)
    assert not handling.done()
    await handling
    assert len(page.stage.late) == 500


class Engine:
    """Of an engine: what a stop touches."""

    def __init__(self) -> None:
        self.scraper: Any = type("S", (), {})()
        self.scraper.slot = Slot()
        self.scraper.enqueue_scrape = lambda result, request: self.enqueued.append(request)
        self.enqueued: list[Request] = []
        self.scraper._check_if_closing = lambda: self.checked.append(1)
        self.checked: list[int] = []
        self.removed: list[Request] = []
        self._slot: Any = type("E", (), {"inprogress": set(), "remove_request": self._remove})()

    def _remove(self, request: Request) -> None:
        self._slot.inprogress.remove(request)
        self.removed.append(request)


class Hooks:
    def __init__(self, engine: Engine | None) -> None:
        self._engine = engine
        self._slot = None if engine is None else engine._slot


def test_a_stop_lets_go_of_all_and_the_end_that_comes_after_all_is_no_second_one() -> None:
    engine = Engine()
    one, two = Request("http://s.test/1"), Request("http://s.test/2")
    engine._slot.inprogress.update((one, two))
    engine.scraper.slot.itemproc_size = 1  # of start()
    let_go = LetGo(Hooks(engine), None)  # type: ignore[arg-type]
    scraped: list[Request] = []
    let_go.on_scraped(lambda request, result, end: scraped.append(request))
    engine.scraper.enqueue_scrape("an answer", one)
    assert set(let_go.all_of_it()) == {one, two}
    assert not engine._slot.inprogress
    assert engine.scraper.slot.is_idle()
    engine.scraper.enqueue_scrape("an answer", one)  # the download ends: no callback is called
    assert scraped == engine.enqueued == [one]
    engine._slot.remove_request(one)
    assert sorted(r.url for r in engine.removed) == [one.url, two.url]
    with pytest.raises(KeyError):
        engine._slot.remove_request(one)
    engine.scraper.slot.closing = type("D", (), {"called": False})()
    assert let_go.all_of_it() == []
    assert engine.checked == [1], "the scraper may be waiting for that"


def test_where_there_is_no_engine_nothing_happens() -> None:
    let_go = LetGo(Hooks(None), None)  # type: ignore[arg-type]
    let_go.on_scraped(lambda *_: None)
    assert let_go.all_of_it() == []
    assert let_go._items(ASKED) == []


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_where_a_callback_waits() -> None:
    request, never = Request("http://s.test/"), asyncio.Event()

    async def deep() -> AsyncIterator[int]:
        yield 1
        await never.wait()

    async def callback() -> AsyncIterator[int]:
        async for number in deep():
            yield number

    async def scraping(request: Request) -> None:
        async for _ in callback():
            pass

    task = asyncio.ensure_future(scraping(request))
    await turns()
    text = "".join(waiting_at(request, PAGE, []))
    places = [text.find(name) for name in ("in callback", "in deep", "await never.wait()", "in wait\n")]
    assert places == sorted(places)
    assert -1 not in places
    assert waiting_at(Request("http://s.test/"), None, []) == []
    await ended(task)


async def test_where_what_scrapy_gives_a_task_of_its_own_waits() -> None:
    """A coroutine, or a coroutine of a pipeline: the chain of the response ends at a Deferred."""
    request, response, never = Request("http://s.test/"), Response("http://s.test/"), asyncio.Event()

    async def coroutine(response: Response) -> None:
        await never.wait()

    async def process_item(item: Any) -> None:
        await never.wait()

    async def outer(waits: Any, **known: Any) -> None:
        await waits

    async def of_item(item: Any, waits: Any) -> None:
        await waits

    inner = asyncio.ensure_future(coroutine(response))
    scraping = asyncio.ensure_future(outer(inner, result=response))
    item = {"n": 1}
    of_pipeline = asyncio.ensure_future(process_item(item))
    in_pipelines = asyncio.ensure_future(of_item(item, of_pipeline))
    await turns()
    assert "in coroutine" in "".join(waiting_at(request, response, []))
    text = "".join(waiting_at(request, response, [in_pipelines]))
    assert "in of_item" in text, "an item says more than the page that waits for it"
    assert {inner} <= set(tasks_of(response))
    assert tasks_of(None) == []
    await ended(inner, scraping, of_pipeline, in_pipelines)


def test_names_of_callbacks() -> None:
    class Books:
        def parse(self, response: Response) -> None: ...
        def failed(self, failure: Any) -> None: ...

    spider = Books()
    response = Response("http://s.test/", request=Request("http://s.test/", errback=spider.failed))
    request = response.request
    assert request is not None
    assert callback_name(request, response, spider).endswith("Books.parse")
    assert callback_name(request, object(), spider).endswith("Books.failed")
    assert callback_name(Request("http://s.test/", callback=print), Response("http://s.test/"), spider) == "print"
