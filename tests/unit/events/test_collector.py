"""Each signal becomes its event; each kind of event has one that makes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy import signals as scrapy_signals
from scrapy.http import Response
from scrapy.settings import Settings
from scrapy.signalmanager import SignalManager
from scrapy.utils.misc import load_object
from scrapy.utils.test import get_crawler

from mocra_scrapy import Mocra, signals
from mocra_scrapy.events import collector, of_cron, records
from mocra_scrapy.events.bus import EventBus
from mocra_scrapy.events.collector import CrawlEvents
from mocra_scrapy.events.of_cron import CronEvents, cron_events
from mocra_scrapy.events.records import EVENTS, Event
from mocra_scrapy.events.sinks.log import LogSink
from mocra_scrapy.exceptions import ConfigurationError
from mocra_scrapy.extensions.events import Events
from mocra_scrapy.models import Term
from mocra_scrapy.settings.events import read_events

from .sinks import SOURCE, ListSink, Stage


class BookSpider(Spider):
    name = "books"


class Heard:
    """A crawler whose events a test sees."""

    def __init__(self, **settings: Any) -> None:
        given = {"MOCRA_EVENTS": "log", "MOCRA_EVENTS_SAMPLE": 1, **settings}
        self.crawler = get_crawler(BookSpider, given, prevent_warnings=False)
        self.crawler.spider = BookSpider()
        self.mocra = Mocra.from_crawler(self.crawler)
        options = read_events(self.crawler.settings)
        assert options is not None
        self.events = CrawlEvents(self.mocra, options)
        self.told: list[Event] = []
        self.events.bus.emit = self.told.append  # type: ignore[method-assign]

    def send(self, signal: object, **arguments: Any) -> None:
        results = self.crawler.signals.send_catch_log(signal, spider=self.crawler.spider, **arguments)
        for _, result in results:
            assert not isinstance(getattr(result, "value", None), Exception), result


REQUEST = Request("http://a.test/1", meta={"download_slot": "a.test", "download_latency": 0.25, "depth": 2})
RESPONSE = Response("http://a.test/2", status=201, body=b"12345", request=REQUEST)
TERM = Term("boss", "w", 17, 5.0)
FAILURE = load_object("twisted.python.failure.Failure")(ValueError("bad"))
CASES: list[tuple[object, dict[str, Any], Event]] = [
    (signals.crawl_finished, {"crawl": "c", "run": 3}, records.CrawlFinished()),
    (signals.backend_unavailable, {"error": OSError("no")}, records.BackendUnavailable("no")),
    (signals.backend_available, {"seconds": 1.23456}, records.BackendAvailable(1.235)),
    (signals.worker_state_changed, {"state": "paused"}, records.WorkerStateChanged("paused")),
    (signals.worker_lost, {}, records.WorkerLost()),
    (signals.worker_died, {"worker": "b", "held": 4}, records.WorkerDied("b", 4)),
    (signals.leader_elected, {"role": "boss", "term": TERM}, records.LeaderElected("boss", 17)),
    (signals.leader_lost, {"role": "boss", "term": TERM}, records.LeaderLost("boss", 17)),
    (
        signals.breaker_opened,
        {"slot": "s", "hold": 5.0, "times": 2, "failed": 7, "total": 9, "kinds": {"timeout": 7}},
        records.BreakerOpened("s", 5.0, 2, 7, 9, {"timeout": 7}),
    ),
    (signals.breaker_closed, {"slot": "s"}, records.BreakerClosed("s")),
    (signals.breaker_tripped, {"failed": 7, "total": 9, "kinds": {}}, records.BreakerTripped(7, 9, {})),
    (signals.slot_held, {"slot": "s", "seconds": 9.0, "why": "429"}, records.SlotHeld("s", 9.0, "429")),
    (signals.slot_slowed, {"slot": "s", "interval": 0.5}, records.SlotSlowed("s", 0.5)),
    (signals.slot_given_up, {"slot": "s", "why": "dead"}, records.SlotGivenUp("s", "dead")),
    (
        scrapy_signals.response_received,
        {"response": RESPONSE, "request": REQUEST},
        records.RequestFetched("http://a.test/1", "GET", 201, "a.test", 5, 0.25, 0, 2),
    ),
    (
        signals.request_buried,
        {"request": REQUEST, "reason": "retry", "kind": "timeout", "record": False, "detail": "Trace\n  x\nE: no\n"},
        records.RequestDead("http://a.test/1", "a.test", "retry", "timeout", False, "E: no"),
    ),
    (scrapy_signals.item_scraped, {"item": {}, "response": RESPONSE}, records.ItemScraped("http://a.test/1", "dict")),
    (
        scrapy_signals.item_dropped,
        {"item": {}, "response": RESPONSE, "exception": ValueError("old")},
        records.ItemDropped("http://a.test/1", "dict", "old"),
    ),
    (
        scrapy_signals.item_error,
        {"item": {}, "response": None, "failure": FAILURE},
        records.ItemFailed("", "dict", "ValueError: bad"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("signal", "arguments", "event"), CASES, ids=[event.name for *_, event in CASES])
def test_each_signal_becomes_its_event(signal: object, arguments: dict[str, Any], event: Event) -> None:
    heard = Heard()
    heard.send(signal, **arguments)
    assert heard.told == [event]


def test_what_came_from_a_cache_took_no_time() -> None:
    heard = Heard()
    response = Response("http://a.test/1", flags=["cached"], request=REQUEST)
    heard.send(scrapy_signals.response_received, response=response, request=REQUEST)
    [event] = heard.told
    assert isinstance(event, records.RequestFetched)
    assert event.seconds is None


async def test_the_beginning_and_the_end() -> None:
    heard = Heard()
    sink = ListSink()
    heard.events.bus = EventBus(Stage().options, [sink], SOURCE, count=lambda *_: None)
    heard.send(scrapy_signals.spider_opened)
    await heard.crawler.signals.send_catch_log_async(
        scrapy_signals.spider_closed, spider=heard.crawler.spider, reason="finished"
    )
    assert sink.names == ["crawl.began", "worker.opened", "worker.closed"]
    assert sink.closed == 1


async def test_what_the_cache_did_is_told_at_the_end() -> None:
    heard, sink = Heard(), ListSink()
    heard.events.bus = EventBus(Stage().options, [sink], SOURCE, count=lambda *_: None)
    heard.send(scrapy_signals.spider_opened)
    stats = heard.crawler.stats
    for n, name in enumerate(collector.CACHE_STATS.values(), 1):
        stats.set_value(name, n)
    await heard.crawler.signals.send_catch_log_async(
        scrapy_signals.spider_closed, spider=heard.crawler.spider, reason="finished"
    )
    assert sink.names == ["crawl.began", "worker.opened", "cache.used", "worker.closed"]


def test_every_event_is_made_somewhere() -> None:
    text = Path(collector.__file__).read_text() + Path(of_cron.__file__).read_text()
    made = set(re.findall(r"records\.(\w+)\(", text)) | {kind.__name__ for _, kind in of_cron.KINDS}
    assert made == {kind.__name__ for kind in EVENTS.values()}


def test_only_what_somebody_wants_is_heard() -> None:
    heard = Heard(MOCRA_EVENTS={"log": {"events": "breaker.*"}})
    for signal, arguments, _ in CASES:
        heard.send(signal, **arguments)
    assert {event.name for event in heard.told} == {"breaker.opened", "breaker.closed", "breaker.tripped"}


def test_pages_that_are_not_in_the_sample_are_not_told() -> None:
    heard = Heard(MOCRA_EVENTS_SAMPLE=1e-9)
    for signal, arguments, _ in CASES[14:18]:
        heard.send(signal, **arguments)
    assert [event.name for event in heard.told] == ["request.dead"]


def test_nothing_is_heard_of_requests_that_are_scheduled() -> None:
    """Whoever connected to it would make each known link dearer, see ``EngineHooks.listen_again``."""
    heard = Heard()
    for signal in (scrapy_signals.request_scheduled, scrapy_signals.request_dropped):
        assert heard.crawler.signals.send_catch_log(signal, request=REQUEST, spider=heard.crawler.spider) == []


def test_the_extension_is_placed_only_where_somebody_wants_it() -> None:
    addons = {"ADDONS": {"mocra_scrapy.Addon": 300}}
    crawler = get_crawler(BookSpider, addons, prevent_warnings=False)
    assert Events not in crawler.settings.getdict("EXTENSIONS")
    crawler = get_crawler(BookSpider, {**addons, "MOCRA_EVENTS": "log"}, prevent_warnings=False)
    assert Events in crawler.settings.getdict("EXTENSIONS")
    assert isinstance(Events.from_crawler(crawler).events, CrawlEvents)
    with pytest.raises(ConfigurationError, match="'lug' is no sink"):
        get_crawler(BookSpider, {**addons, "MOCRA_EVENTS": "lug"}, prevent_warnings=False)


@pytest.mark.parametrize(
    ("signal", "name"),
    [
        (signals.cron_run_ended, "cron.ended"),
        (signals.cron_run_failed, "cron.failed"),
        (signals.cron_run_missed, "cron.missed"),
        (signals.cron_run_recovered, "cron.recovered"),
    ],
)
async def test_the_events_of_cron(signal: object, name: str) -> None:
    stage, manager = Stage(), SignalManager()
    events = CronEvents(stage.bus, manager)
    stage.bus.start()
    manager.send_catch_log(signal, job="shop", run={"id": "shop@1", "outcome": "failed", "reason": None, "parts": []})
    await stage.bus.close()
    [[record]] = stage.sink.batches
    assert (record.event.name, record.told()["data"]) == (
        name,
        {"job": "shop", "run_id": "shop@1", "outcome": "failed", "reason": ""},
    )
    del events


async def test_a_runner_tells_them_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    async def send(_: Any, batch: Any) -> None:
        told.extend(record.event.name for record in batch)

    monkeypatch.setattr(LogSink, "send", send)
    manager = SignalManager()
    run = {"id": "shop@1", "outcome": "succeeded"}
    async with cron_events(Settings({"MOCRA_EVENTS": "log"}), manager, runner="r", project="shop"):
        manager.send_catch_log(signals.cron_run_ended, job="shop", run=run)
    async with cron_events(Settings(), manager, runner="r", project="shop"):
        manager.send_catch_log(signals.cron_run_ended, job="shop", run=run)
    assert told == ["cron.ended"]
