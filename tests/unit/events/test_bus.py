"""What the bus promises: bounded, sampled, counted, and never in anybody's way."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from mocra_scrapy.events import outlet
from mocra_scrapy.events.post import NotNow
from mocra_scrapy.events.records import (
    EVENTS,
    BreakerClosed,
    CrawlFinished,
    Event,
    ItemScraped,
    RequestFetched,
    WorkerStateChanged,
)
from mocra_scrapy.events.sink import Refused
from mocra_scrapy.exceptions import ConfigurationError

from .sinks import ListSink, Stage, until


def item(n: object = 0) -> ItemScraped:
    return ItemScraped(f"http://a.test/{n}", "dict")


async def test_events_arrive_in_order_with_what_stands_around_them() -> None:
    stage = Stage()
    stage.bus.start()
    for n in range(250):
        stage.bus.emit(WorkerStateChanged(str(n)) if n % 2 else BreakerClosed(str(n)))
        await asyncio.sleep(0)
    await stage.bus.close()
    records = [record for batch in stage.sink.batches for record in batch]
    assert [record.number for record in records] == list(range(1, 251))
    assert all(len(batch) <= outlet.BATCH for batch in stage.sink.batches)
    assert stage.stats == {"mocra/events/sent": 250}
    assert json.loads(records[0].encoded) == {
        "schema": 1,
        "id": "worker-1:1",
        "event": "breaker.closed",
        "time": "2017-07-14T02:40:00.000000Z",
        "project": "shop",
        "crawl": "shop:books",
        "run": 3,
        "spider": "books",
        "worker": "worker-1",
        "number": 1,
        "sample": 1.0,
        "data": {"slot": "0"},
    }
    assert stage.sink.closed == 1
    stage.bus.emit(CrawlFinished())  # nobody's any more
    await stage.bus.close()
    assert len(stage.sink.names) == 250


async def test_a_sink_that_is_slow_costs_events_of_pages_first(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(queue_max=10)
    stage.sink.gate.clear()
    stage.bus.start()
    for n in range(30):
        stage.bus.emit(item(n))
    assert stage.stats["mocra/events/dropped"] == 21, "a tenth is left for the others"
    stage.bus.emit(CrawlFinished())
    stage.bus.emit(CrawlFinished())
    assert stage.stats["mocra/events/dropped"] == 22
    assert [r.levelname for r in caplog.records] == ["WARNING"], "told once"
    assert "MOCRA_EVENTS_QUEUE_MAX = 10" in caplog.text
    stage.sink.gate.set()
    await stage.bus.close()
    assert stage.sink.names == ["item.scraped"] * 9 + ["crawl.finished"]
    numbers = [record.number for batch in stage.sink.batches for record in batch]
    assert numbers == [*range(1, 10), 31], "a reader sees the gap"


async def test_a_failure_is_repeated_and_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE", 0.001)
    caplog.set_level(logging.INFO)
    secret = OSError("no way to https://u:hunter2@h/?token=abc")
    stage = Stage(ListSink(secret, NotNow("it answers 503", 0.002), ValueError()))
    stage.bus.start()
    stage.bus.emit(CrawlFinished())
    await until(lambda: stage.sink.names)
    await stage.bus.close()
    assert stage.sink.names == ["crawl.finished"]
    assert stage.stats == {"mocra/events/send_failed": 3, "mocra/events/sent": 1}
    assert [r.levelname for r in caplog.records] == ["WARNING", "INFO"]
    assert "hunter2" not in caplog.text
    assert "abc" not in caplog.text


async def test_a_batch_that_nobody_takes_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE", 0.0)
    stage = Stage(ListSink(*[OSError("no")] * outlet.TRIES, Refused("never")))
    stage.bus.start()
    stage.bus.emit(BreakerClosed("first"))
    await until(lambda: stage.stats["mocra/events/dropped"])
    assert stage.sink.calls == outlet.TRIES
    assert f"1 event for 'log' given up after {outlet.TRIES} attempts, and dropped" in caplog.text
    stage.bus.emit(BreakerClosed("second"))
    await until(lambda: stage.stats["mocra/events/dropped"] == 2)
    assert stage.sink.calls == outlet.TRIES + 1, "what is refused is not repeated"
    stage.bus.emit(BreakerClosed("third"))
    await stage.bus.close()
    assert [record.event for batch in stage.sink.batches for record in batch] == [BreakerClosed("third")]


async def test_closing_has_a_deadline_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(stop_timeout=0.05)
    stage.sink.gate.clear()
    stage.bus.start()
    for n in range(5):
        stage.bus.emit(BreakerClosed(str(n)))
    await asyncio.wait_for(stage.bus.close(), 30)
    assert stage.stats == {"mocra/events/dropped": 5}
    assert "5 events for 'log' were not sent within MOCRA_EVENTS_STOP_TIMEOUT = 0.05 s" in caplog.text
    assert stage.sink.closed == 1


async def test_closing_does_not_wait_for_the_pause_of_an_outage() -> None:
    stage = Stage(ListSink(OSError("no"), OSError("no")))
    stage.bus.start()
    stage.bus.emit(CrawlFinished())
    await until(lambda: stage.sink.calls == 1)
    await stage.bus.close()
    assert stage.sink.names == ["crawl.finished"]


async def test_a_bus_that_never_began_closes() -> None:
    stage = Stage()
    stage.bus.emit(CrawlFinished())
    await stage.bus.close()
    assert stage.stats == {"mocra/events/dropped": 1}


async def test_nothing_is_raised_into_the_crawl(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()

    class Odd(Event):
        name = "odd"

    stage.bus.emit(Odd())
    stage.bus.emit(Odd())
    assert len(caplog.records) == 1
    assert "'odd' is lost" in caplog.text


async def test_what_json_does_not_know_is_told_as_text() -> None:
    stage = Stage()
    stage.bus.start()
    stage.bus.emit(BreakerClosed({1, 2}))  # type: ignore[arg-type]
    await stage.bus.close()
    assert json.loads(stage.sink.batches[0][0].encoded)["data"] == {"slot": "{1, 2}"}


def test_only_what_a_sink_wants_is_listened_for() -> None:
    stage = Stage(events=("breaker.*", "crawl.finished"))
    wanted = {name for name, kind in EVENTS.items() if stage.bus.listening(kind)}
    assert wanted == {"breaker.opened", "breaker.closed", "breaker.tripped", "crawl.finished"}
    assert not Stage(sample_bulk=0.0).bus.listening(RequestFetched)
    assert Stage(sample_bulk=0.0).bus.listening(CrawlFinished)


def test_the_sample_is_of_pages_and_the_same_for_all_workers() -> None:
    urls = [f"http://a.test/{n}" for n in range(4000)]
    one, other = Stage(sample_bulk=0.25).bus, Stage(sample_bulk=0.25).bus
    taken = [url for url in urls if one.takes(RequestFetched, url)]
    assert 800 < len(taken) < 1200
    assert taken == [url for url in urls if other.takes(ItemScraped, url)]
    wider = Stage(sample_bulk=0.5).bus
    assert all(wider.takes(RequestFetched, url) for url in taken)


@pytest.mark.parametrize(
    ("sample", "parts"),
    [
        ({"request.fetched": 0.0}, {"request.fetched": 0.0, "item.scraped": 1.0}),
        ({"*": 0.5, "item.*": 0.1, "item.scraped": 0.2}, {"item.scraped": 0.2, "crawl.finished": 0.5}),
    ],
)
def test_a_sample_may_be_of_single_kinds(sample: dict[str, float], parts: dict[str, float]) -> None:
    bus = Stage(sample=sample, sample_bulk=None).bus
    assert {name: bus._parts[name] for name in parts} == parts


@pytest.mark.parametrize(
    ("more", "subject"),
    [
        ({"events": ("braker.opened",)}, "MOCRA_EVENTS['log']['events']"),
        ({"sample": {"request": 0.5}, "sample_bulk": None}, "MOCRA_EVENTS_SAMPLE"),
    ],
)
def test_a_pattern_that_fits_nothing_is_refused(more: dict[str, Any], subject: str) -> None:
    with pytest.raises(ConfigurationError, match="fits no event") as raised:
        Stage(**more)
    assert raised.value.subject == subject
    if subject != "MOCRA_EVENTS_SAMPLE":
        assert "Did you mean 'breaker.opened'?" in str(raised.value)
