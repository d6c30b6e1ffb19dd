"""Pause, resume, drain of a scheduler without an engine around it; parts of a crawler; live
settings.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import ref

import pytest
from scrapy import Request
from scrapy.exceptions import CloseSpider, DontCloseSpider, NotConfigured
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.test import get_crawler

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.control import Control
from mocra_scrapy.control import live_settings as live
from mocra_scrapy.exceptions import ConfigurationError, NotSupported
from mocra_scrapy.extensions.control import WorkerControl
from mocra_scrapy.extensions.workers import WorkerReports
from mocra_scrapy.runtime import Mocra
from mocra_scrapy.scheduler import Scheduler

from .scheduling import CRAWL, URLS, OneSpider, dequeue, eventually, holds_what_it_counts

SETTINGS = {
    "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",
    "MOCRA_EXCHANGE_INTERVAL": 0,
    "MOCRA_IDLE_POLL": 0.05,
    "MOCRA_HEARTBEAT": 0.1,
    "ADDONS": {"mocra_scrapy.Addon": 300},
    "MOCRA_BACKEND": "memory://flow",
    "MOCRA_PREFETCH": 16,  # leased ahead, as from a server
}


@pytest.fixture
def backend() -> MemoryBackend:
    """Another holder of the same store."""
    return MemoryBackend("memory://flow")


@asynccontextmanager
async def working(**settings: Any) -> AsyncIterator[Scheduler]:
    crawler = get_crawler(OneSpider, {**SETTINGS, **settings}, prevent_warnings=False)
    crawler.spider = crawler._create_spider()
    scheduler = Scheduler.from_crawler(crawler)
    await maybe_deferred_to_future(scheduler.open(crawler.spider))  # type: ignore[arg-type]
    try:
        yield scheduler
        holds_what_it_counts(scheduler)
    finally:
        await maybe_deferred_to_future(scheduler.close("finished"))  # type: ignore[arg-type]


def told(backend: MemoryBackend) -> Control:
    return Control(backend, CRAWL)


async def pending(scheduler: Scheduler) -> int:
    return (await scheduler.mocra.queue.size()).pending


async def test_a_paused_worker_takes_nothing_and_hands_back(backend: MemoryBackend) -> None:
    async with working() as scheduler:
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        first = await dequeue(scheduler)
        await eventually(lambda: scheduler.worker.inbox.leased == 2)
        await told(backend).pause()
        await eventually(lambda: scheduler.mocra.worker_state.state == "paused")
        assert scheduler.next_request() is None
        assert not scheduler.worker.inbox
        await eventually(lambda: not scheduler.worker.outbox)
        assert await pending(scheduler) == 2
        scheduler.enqueue_request(Request("http://foo.test/more"))
        await eventually(lambda: not scheduler.worker.outbox)
        assert await pending(scheduler) == 3, "what callbacks yield is stored"
        assert scheduler.next_request() is None
        with pytest.raises(DontCloseSpider):
            scheduler.worker.handler.on_idle(False)
        await told(backend).resume()
        rest = [(await dequeue(scheduler)).url for _ in range(3)]
        assert sorted([first.url, *rest]) == sorted([*URLS, "http://foo.test/more"])


async def test_a_pause_starves_no_polite_crawl(backend: MemoryBackend) -> None:
    """What goes back by a pause is no load any more: where one request at a time may go, nothing
    would be leased for ever.
    """
    polite = {"MOCRA_THROTTLE": {"foo.test": {"delay": 0.05, "concurrency": 1}}}
    async with working(**polite) as scheduler:
        for n in range(6):
            scheduler.enqueue_request(Request(f"http://foo.test/{n}"))
        fetched = [(await dequeue(scheduler)).url]
        for _ in range(3):
            assert scheduler.worker is not None
            await eventually(lambda: scheduler.worker and scheduler.worker.inbox.leased)
            await told(backend).pause()
            await eventually(lambda: scheduler.mocra.worker_state.state == "paused")
            await told(backend).resume()
            fetched.append((await dequeue(scheduler)).url)
        while len(fetched) < 6:
            fetched.append((await dequeue(scheduler)).url)
        assert sorted(fetched) == [f"http://foo.test/{n}" for n in range(6)]


async def test_a_worker_that_starts_paused_never_takes_anything(backend: MemoryBackend) -> None:
    await told(backend).pause()
    async with working() as scheduler:
        scheduler.enqueue_request(Request(URLS[0]))
        await eventually(lambda: not scheduler.worker.outbox)
        await scheduler.worker.status.changed()  # type: ignore[union-attr]
        assert await pending(scheduler) == 1
        assert scheduler.mocra.worker_state.state == "paused"
        await told(backend).resume()
        assert (await dequeue(scheduler)).url == URLS[0]


async def test_a_draining_worker_finishes_what_it_holds(backend: MemoryBackend) -> None:
    async with working() as scheduler:
        for url in URLS:
            scheduler.enqueue_request(Request(url))
        out = await eventually(scheduler.next_request)
        await eventually(lambda: scheduler.worker.inbox.leased == 2)
        await told(backend).drain()
        await eventually(lambda: scheduler.mocra.worker_state.state == "draining")
        assert [(await dequeue(scheduler)).url for _ in range(2)] == URLS[1:]
        scheduler.enqueue_request(Request("http://foo.test/more"))
        await eventually(lambda: not scheduler.worker.outbox)
        assert scheduler.next_request() is None
        assert await pending(scheduler) == 1, "that is for others"
        assert not scheduler.mocra.worker_state.leave_when_drained()
        scheduler.worker.deliveries.finished(out)
        await eventually(scheduler.mocra.worker_state.leave_when_drained)
        with pytest.raises(CloseSpider) as raised:
            scheduler.worker.handler.on_idle(False)
        assert raised.value.reason == "mocra_drained"


async def test_old_orders_are_for_others(backend: MemoryBackend) -> None:
    await told(backend).stop()
    await told(backend).drain()
    async with working() as scheduler:
        await told(backend).pause()
        await eventually(lambda: scheduler.mocra.worker_state.paused)
        assert scheduler.mocra.worker_state.state == "paused"
        store = backend.shared_values(f"control:{CRAWL}")
        await store.put("order", b'{"verb": "dance"}')
        await store.put("order", b"[]")
        await store.put("paused", None)
        await eventually(lambda: not scheduler.mocra.worker_state.paused)
        assert scheduler.mocra.worker_state.state == "running"


async def test_one_worker_by_its_name(backend: MemoryBackend) -> None:
    async with working() as here, working() as there:
        control = told(backend)
        with pytest.raises(ConfigurationError, match="There are: "):
            await control.pause("nobody")
        await eventually(lambda: here.mocra.worker_state.state == there.mocra.worker_state.state == "running")
        await control.pause(here.mocra.worker)
        await eventually(lambda: here.mocra.worker_state.paused)
        assert not there.mocra.worker_state.paused
        assert list(await control.paused()) == [here.mocra.worker]
        reports = {report.worker: report.facts for report in await control.workers()}
        assert set(reports) == {here.mocra.worker, there.mocra.worker}
        assert reports[there.mocra.worker]["state"] == "running"
    assert list(await control.paused()) == [], "it took that with it"
    assert list(await control.workers()) == []


async def test_live_settings_follow_and_come_back(
    backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    handler = logging.NullHandler()
    monkeypatch.setattr(live, "get_scrapy_root_handler", lambda: handler)
    control = told(backend)
    await control.set("CONCURRENT_REQUESTS", 5)
    async with working(LOG_LEVEL="INFO", MOCRA_PREFETCH=None) as scheduler:
        mocra = scheduler.mocra
        assert (mocra.options.concurrency, mocra.options.prefetch) == (5, 5), "set before it came"
        await control.set("MOCRA_PREFETCH", "2")
        await eventually(lambda: mocra.options.prefetch == 2)
        await control.set("CONCURRENT_REQUESTS", 9)
        await eventually(lambda: mocra.options.concurrency == 9)
        assert mocra.options.prefetch == 2, "chosen"
        await control.set("LOG_LEVEL", "ERROR")
        await eventually(lambda: handler.level == logging.ERROR)
        assert dict(await control.settings()) == {"CONCURRENT_REQUESTS": 9, "MOCRA_PREFETCH": 2, "LOG_LEVEL": "ERROR"}
        for name in ("MOCRA_PREFETCH", "LOG_LEVEL", "CONCURRENT_REQUESTS"):
            await control.reset(name)
        await eventually(lambda: (mocra.options.concurrency, mocra.options.prefetch) == (16, 16))
        assert handler.level == logging.INFO
        assert mocra.options == mocra.own_options
        await backend.shared_values(f"control:{CRAWL}").put("setting:CONCURRENT_REQUESTS", b"-3")
        await eventually(lambda: "'setting:CONCURRENT_REQUESTS' in the store is not usable" in caplog.text)
        assert mocra.options.concurrency == 16


async def test_a_setting_of_ones_own(backend: MemoryBackend, caplog: pytest.LogCaptureFixture) -> None:
    applied: list[Any] = []
    live.live_setting("MY_BUDGET", live.whole("MY_BUDGET", 0, 10), lambda mocra, value: applied.append(value))
    live.live_setting("MY_ERROR", str, lambda mocra, value: 1 / 0)
    try:
        async with working():
            await told(backend).set("MY_BUDGET", 3)
            await eventually(lambda: applied == [3])
            with pytest.raises(ConfigurationError, match="MY_BUDGET: 11"):
                await told(backend).set("MY_BUDGET", 11)
            await told(backend).set("MY_ERROR", "x")
            await eventually(lambda: "could not be applied" in caplog.text)
    finally:
        del live.LIVE_SETTINGS["MY_BUDGET"], live.LIVE_SETTINGS["MY_ERROR"]


def test_a_backend_that_lacks_a_tool_only_disables_an_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(*_: object) -> None:
        raise NotSupported("MOCRA_BACKEND", "it has no such thing", "Use redis://")

    crawler = get_crawler(OneSpider, {"MOCRA_BACKEND": "memory://"}, prevent_warnings=False)
    backend = Mocra.from_crawler(crawler).backend
    for name, extension in (("shared_values", WorkerControl), ("worker_registry", WorkerReports)):
        monkeypatch.setattr(backend, name, lacks)
        with pytest.raises(NotConfigured, match="Use redis://"):
            extension.from_crawler(crawler)
    with pytest.raises(NotSupported):
        Mocra.from_crawler(crawler).shared("x", 1)


async def test_nothing_keeps_a_crawler_that_is_done() -> None:
    async with working() as scheduler:
        flow = scheduler.mocra.worker_state
        assert flow.run > 0
    assert (flow.held["in_flight"], flow.run, flow.state) == (0, 0, "stopping")
    assert (flow._worker, flow._when_attached) == (None, []), "each of them holds the crawler"
    crawler = get_crawler(OneSpider, SETTINGS, prevent_warnings=False)
    mocra = Mocra.from_crawler(crawler)
    mocra.leader("role")
    mocra.shared("x", 1)
    gone = ref(crawler)
    del crawler, mocra
    gc.collect()
    assert gone() is None
