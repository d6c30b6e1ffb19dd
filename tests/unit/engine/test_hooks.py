"""One test for each private name of Scrapy's that ``mocra_scrapy.engine`` touches: a Scrapy that changes one
fails here first, by name.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request, Spider, signals
from scrapy.core import downloader
from scrapy.core.engine import ExecutionEngine, _Slot
from scrapy.crawler import Crawler
from scrapy.settings import Settings

import mocra_scrapy
from mocra_scrapy.engine.hooks import EngineHooks

SOURCE = inspect.getsource(ExecutionEngine)
SLOT = inspect.getsource(_Slot)


def test_engine_slot() -> None:
    assert "self._slot: " in SOURCE
    assert "self._slot = _Slot(" in SOURCE


def test_slot_remove_request() -> None:
    """Called through the instance, once a scheduled request, after its pipelines."""
    assert list(inspect.signature(_Slot.remove_request).parameters) == ["self", "request"]
    assert "_slot.remove_request(" in SOURCE


def test_slot_close() -> None:
    """Called before requests in flight are waited for."""
    assert "self._slot.close()" in SOURCE
    assert inspect.signature(_Slot.close).parameters.keys() == {"self"}


def test_slot_closing() -> None:
    assert "self.closing: " in SLOT


def test_slot_nextcall_schedule() -> None:
    assert "self.nextcall" in SLOT
    from scrapy.utils.reactor import CallLaterOnce

    assert callable(CallLaterOnce.schedule)


def test_engine_start() -> None:
    """Made before ``scheduler.open``, iterated after it."""
    assert "self._start = " in SOURCE
    opening = inspect.getsource(ExecutionEngine.open_spider_async)
    assert opening.index("self._start = ") < opening.index("scheduler.open(")


def test_engine_close_spider_async() -> None:
    assert "reason" in inspect.signature(ExecutionEngine.close_spider_async).parameters


def test_engine_paused_and_downloader() -> None:
    assert "self.paused" in SOURCE
    assert "self.downloader" in SOURCE


def test_downloader_slots() -> None:
    crawler = Crawler(Spider, Settings({"CONCURRENT_REQUESTS_PER_DOMAIN": 3}))
    source = inspect.getsource(downloader.Downloader)
    for name in ("slots", "active", "get_slot_key", "domain_concurrency", "per_slot_settings"):
        assert f"self.{name}" in source or hasattr(downloader.Downloader, name), name
    signature = inspect.signature(downloader.Slot).parameters
    slot = downloader.Slot(
        concurrency=2, delay=0, **({"jitter": 0} if "jitter" in signature else {"randomize_delay": False})
    )
    assert (slot.concurrency, len(slot.active)) == (2, 0)
    assert crawler.settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN") == 3


def test_scraper_spidermw_middlewares() -> None:
    """Which spider middlewares are on is known when the scheduler is opened."""
    from scrapy.core.scraper import Scraper
    from scrapy.middleware import MiddlewareManager

    assert "self.scraper" in SOURCE
    assert "self.spidermw" in inspect.getsource(Scraper.__init__)
    assert "self.middlewares" in inspect.getsource(MiddlewareManager.__init__)
    spidermw = type("M", (), {"middlewares": ("a", "b")})()
    assert engine_with(FakeSlot(), scraper=type("S", (), {"spidermw": spidermw})()).spider_middlewares == ("a", "b")
    assert engine_with(FakeSlot()).spider_middlewares == ()


def test_no_other_file_touches_private_names() -> None:
    package = Path(mocra_scrapy.__file__).parent
    private = {"_slot", "_start", "nextcall", "remove_request", "_engine_closing"}
    for path in package.rglob("*.py"):
        if path.is_relative_to(package / "engine"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in private:
                owner = ast.unparse(node.value)
                assert owner in ("self", "cls"), f"{path.name}: {ast.unparse(node)}"


def test_engine_scraper() -> None:
    """Public; looked up on the instance each time, with what was downloaded, or the Failure, first."""
    from scrapy.core import scraper

    assert "self.scraper" in SOURCE
    assert "self.scraper.enqueue_scrape(" in SOURCE
    assert list(inspect.signature(scraper.Scraper.call_spider_async).parameters) == ["self", "result", "request"]
    assert list(inspect.signature(scraper.Scraper.enqueue_scrape).parameters)[:3] == ["self", "result", "request"]
    scrape = inspect.getsource(scraper.Scraper._scrape)
    assert scrape.count("self.call_spider_async") == 2


def test_engine_process_start_next() -> None:
    """One item or request of ``start()``; at the end ``_start`` is ``None``."""
    step = inspect.getsource(ExecutionEngine._process_start_next)
    assert list(inspect.signature(ExecutionEngine._process_start_next).parameters) == ["self"]
    assert "except StopAsyncIteration:\n            self._start = None" in step
    assert "self.scraper.spidermw.process_start()" in SOURCE


# ---------------------------------------------------------------------- what is made of them


class FakeSlot:
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.closing = None
        self.nextcall = self

    def remove_request(self, request: Any) -> None:
        self.told.append(("removed", request))
        if request == "bad":
            raise ValueError("not in progress")

    def close(self) -> str:
        self.told.append("closed")
        return "deferred"

    def schedule(self) -> None:
        self.told.append("woken")


def engine_with(slot: Any, **more: Any) -> EngineHooks:
    engine = type("E", (), {"_slot": slot, **more})()
    return EngineHooks(type("C", (), {"engine": engine})())  # type: ignore[arg-type]


def test_finished_is_told_after_the_engine_let_go() -> None:
    slot = FakeSlot()
    engine = engine_with(slot)
    engine.on_finished(lambda request: slot.told.append(("done", request)))  # type: ignore[arg-type]
    slot.remove_request("r")
    with pytest.raises(ValueError, match="not in progress"):
        slot.remove_request("bad")
    assert slot.told == [("removed", "r"), ("done", "r"), ("removed", "bad"), ("done", "bad")]


def test_closing_is_told_before_requests_in_flight_are_waited_for() -> None:
    slot = FakeSlot()
    engine = engine_with(slot)
    engine.on_closing(lambda: slot.told.append("closing"))
    assert slot.close() == "deferred"  # type: ignore[comparison-overlap]
    assert slot.told == ["closing", "closed"]


def test_a_closing_engine_is_not_woken() -> None:
    slot = FakeSlot()
    engine = engine_with(slot)
    engine.wake()
    slot.closing = True  # type: ignore[assignment]
    engine.wake()
    assert slot.told == ["woken"]


def test_an_engine_that_is_being_opened_is_not_woken() -> None:
    """It asks by itself when it begins, and before that its pipelines may not be open."""
    slot = FakeSlot()
    assert "self.running = True" in SOURCE
    engine_with(slot, running=False).wake()
    assert slot.told == []
    engine_with(slot, running=True, scraper=SimpleNamespace(slot=None)).wake()  # as in a shell
    assert slot.told == []
    engine_with(slot, running=True).wake()
    assert slot.told == ["woken"]


@pytest.mark.parametrize("crawler", [type("C", (), {})(), type("C", (), {"engine": None})()])
def test_without_an_engine_nothing_is_hooked(crawler: Any) -> None:
    engine = EngineHooks(crawler)
    engine.on_finished(print)
    engine.on_closing(print)
    engine.wake()
    engine.close_spider("x")
    assert not engine.wrap_start(lambda start: start)
    assert engine.slot_of(Request("http://Site.test:8000/a")) == "site.test"
    assert engine.slot_of(Request("data:,x")) == ""
    assert engine.slot_of(Request("http://a.test", meta={"download_slot": "mine"})) == "mine"
    assert (engine.concurrency_of("x"), engine.active_in("x"), engine.downloading, engine.paused) == (8, 0, 0, False)


def test_known_requests_are_answered_before_signals_that_nobody_hears() -> None:
    from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
    from scrapy.signalmanager import SignalManager

    class Crawler:
        def __init__(self) -> None:
            self.signals = SignalManager(self)
            self.asked: list[Any] = []
            self.engine = type("E", (), {"_slot": None, "crawl": staticmethod(self.asked.append)})()

    crawler = Crawler()
    engine = EngineHooks(crawler)  # type: ignore[arg-type]
    offsite = OffsiteMiddleware.__new__(OffsiteMiddleware)
    crawler.signals.connect(offsite.request_scheduled, signals.request_scheduled)
    engine.on_crawl(lambda request: str(request) == "known")
    for request in ("known", "new"):
        crawler.engine.crawl(request=request)
    assert crawler.asked == ["new"]

    def hears(request: Any, spider: Any) -> None: ...

    for signal in (signals.request_scheduled, signals.request_dropped):
        crawler.signals.connect(hears, signal)
        engine.listen_again()
        crawler.engine.crawl(request="known")
        assert crawler.asked.pop() == "known", "somebody hears it: Scrapy's own way"
        crawler.signals.disconnect(hears, signal)
    engine.listen_again()
    crawler.engine.crawl(request="known")
    assert crawler.asked == ["new"]


def test_engine_crawl() -> None:
    """Public; the scraper looks it up on the instance each time."""
    from scrapy.core import scraper

    assert "engine.crawl(request=" in inspect.getsource(scraper)
    assert list(inspect.signature(ExecutionEngine.crawl).parameters) == ["self", "request"]


async def test_failed_downloads_that_no_errback_takes_are_told() -> None:
    from scrapy.http import Response

    class Failing:
        def __init__(self, value: Exception) -> None:
            self.value = value

    class Scraper:
        def enqueue_scrape(self, result: Any, request: Any, spider: Any = None) -> str:
            return "enqueued"

        async def call_spider_async(self, result: Any, request: Any) -> Any:
            if isinstance(request, Exception):
                raise request
            return "output"

    told: list[Any] = []
    scraper = Scraper()
    engine_with(FakeSlot(), scraper=scraper).on_download_failed(told.append)
    down, mine = Failing(OSError("down")), Failing(ValueError("of a spider middleware"))
    assert scraper.enqueue_scrape(down, "r", spider=None) == "enqueued"
    with pytest.raises(OSError, match="down"):
        await scraper.call_spider_async(down, down.value)
    assert told == [down]
    # Taken by an errback; an errback's own exception; never downloaded; a response.
    scraper.enqueue_scrape(down, "r")
    assert await scraper.call_spider_async(down, "r") == "output"
    scraper.enqueue_scrape(down, "r")
    with pytest.raises(KeyError):
        await scraper.call_spider_async(down, KeyError("of the errback"))
    with pytest.raises(ValueError, match="middleware"):
        await scraper.call_spider_async(mine, mine.value)
    page = Response("http://s.test/")
    scraper.enqueue_scrape(page, "r")
    with pytest.raises(KeyError):
        await scraper.call_spider_async(page, KeyError("of the callback"))
    assert told == [down]


async def test_what_callbacks_give_is_wrapped_before_a_spider_middleware_sees_it() -> None:
    class Scraper:
        async def call_spider_async(self, result: Any, request: Any) -> Any:
            return result, request

    scraper = Scraper()
    engine_with(FakeSlot(), scraper=scraper).wrap_output(lambda output: ("wrapped", output))
    assert await scraper.call_spider_async("page", "request") == ("wrapped", ("page", "request"))
