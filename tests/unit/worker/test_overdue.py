"""Who is looked after, when, and what happens to him; by a clock that the test moves."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request
from scrapy.http import Response
from scrapy.settings import Settings

from mocra_scrapy.models import Lease
from mocra_scrapy.settings.failures import read_failure_options
from mocra_scrapy.worker import overdue
from mocra_scrapy.worker.deliveries import CURRENT, Deliveries, Delivery
from mocra_scrapy.worker.overdue import Overdue


class Stats(dict[str, int]):
    def inc_value(self, name: str, count: int = 1) -> None:
        self[name] = self.get(name, 0) + count


class Clock:
    """Stands for ``time`` and for the loop."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Any]] = []

    def monotonic(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Any) -> Any:
        timer = SimpleNamespace(cancel=lambda: self.timers.remove(entry) if entry in self.timers else None)
        entry = (self.now + seconds, call)
        self.timers.append(entry)
        return timer

    def move(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [entry for entry in self.timers if entry[0] <= end]:
            entry = min(due, key=lambda one: one[0])
            self.timers.remove(entry)
            self.now = entry[0]
            entry[1]()
        self.now = end


class Engine:
    """Frees the engine as LetGo does: the delivery is finished."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.freed: list[str] = []
        self.told: list[tuple[str, str | None]] = []
        self.others: list[Request] = []

    def on_scraped(self, scraped: Any) -> None:
        self.scraped = scraped

    def let_go(self, request: Request, result: Any, end: Any) -> None:
        assert end == "end"
        self.freed.append(request.url)
        self.world.deliveries.finished(request)

    def failed(self, request: Request, result: Any, error: Exception) -> None:
        current = CURRENT.get()
        self.told.append((str(error), None if current is None else current.lease and current.lease.slot))

    def all_of_it(self) -> list[Request]:
        for delivery in self.world.deliveries.in_flight():
            assert delivery.request is not None
            self.world.deliveries.finished(delivery.request)
        return self.others

    def where(self, request: Request, result: Any) -> list[str]:
        return ["  File 'spider.py', in forever\n"]


class World:
    def __init__(self, clock: Clock, shared: bool = True, **settings: Any) -> None:
        self.clock = clock
        self.settled: list[tuple[str, str | None, bool]] = []
        self.results: list[Any] = []
        self.deliveries = Deliveries(self._settle, lambda names: None, lambda: None, lambda names, instant: None)
        self.stats = Stats()
        crawler: Any = SimpleNamespace(stats=self.stats, spider=SimpleNamespace(parse=self.parse))
        parts: Any = SimpleNamespace(shared=shared, backend_url="memory://")
        self.overdue = Overdue(crawler, parts, read_failure_options(Settings(settings)), deliveries=self.deliveries)
        self.engine = Engine(self)
        self.overdue.start(self.engine)  # type: ignore[arg-type]

    def parse(self, response: Response) -> None: ...

    def _settle(self, delivery: Delivery) -> None:
        assert delivery.request is not None
        fault = None if delivery.fault is None else delivery.fault[0]
        self.settled.append((delivery.request.url, fault, delivery.returned))
        self.results.append(delivery.result)

    def begin(self, name: str, *, scraped: bool = True, **meta: Any) -> Request:
        request = Request(f"http://user:secret@s.test/{name}", meta=meta)
        request = self.deliveries.hand_out(request, Lease("id", b"", "s.test", 1), None)
        self.deliveries.taken(request)
        if scraped:
            self.engine.scraped(request, Response(request.url, request=request), "end")
        return request


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(overdue, "time", clock)
    monkeypatch.setattr("mocra_scrapy.worker.deliveries.time", clock)
    monkeypatch.setattr(overdue.asyncio, "get_running_loop", lambda: clock)
    return clock


def test_a_time_out_settles_once(clock: Clock) -> None:
    world = World(clock, MOCRA_CALLBACK_TIMEOUT=10)
    request = world.begin("slow")
    world.begin("downloading", scraped=False)
    clock.move(9.9)
    assert world.settled == []
    clock.move(1.1)
    assert world.settled == [(request.url, "callback_timeout", False)]
    assert [result.url for result in world.results] == [request.url], "what was parsed may be kept"
    [(text, slot)] = world.engine.told
    assert "World.parse of http://***@s.test/slow" in text.replace("user:***", "***")
    assert "secret" not in text
    assert "MOCRA_CALLBACK_TIMEOUT" in text
    assert "in forever" in text
    assert slot == "s.test", "whoever hears spider_error is in its course"
    clock.move(100)
    world.deliveries.finished(request)
    assert len(world.settled) == 1, "its end, later, is nobody's"
    assert world.stats == {"mocra/callback/timeouts": 1}


def test_a_request_has_a_time_out_of_its_own(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    world = World(clock, MOCRA_CALLBACK_TIMEOUT=10, MOCRA_CALLBACK_NOTICE=0)
    for name, value in {"short": 2, "never": 0, "none": None, "text": "5", "wrong": "soon"}.items():
        world.begin(name, mocra_callback_timeout=value)
    clock.move(3.5)
    assert [url[-5:] for url, *_ in world.settled] == ["short"]
    clock.move(3)
    assert [url[-5:] for url, *_ in world.settled] == ["short", "/text"]
    clock.move(5)
    assert [url[-5:] for url, *_ in world.settled] == ["short", "/text", "wrong"]
    clock.move(1000)
    assert len(world.settled) == 3
    refused = [message for message in caplog.messages if "mocra_callback_timeout" in message and "soon" in message]
    assert len(refused) == 1, "told once"


def test_without_a_time_out_one_of_a_request_counts(clock: Clock) -> None:
    world = World(clock)
    world.begin("any")
    world.begin("own", mocra_callback_timeout=5)
    clock.move(100_000)
    assert [url[-3:] for url, *_ in world.settled] == ["own"]


def test_the_oldest_is_named_at_doubling_intervals(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    world = World(clock, MOCRA_CALLBACK_NOTICE=100)
    request = world.begin("old")
    clock.move(50)
    world.begin("young", scraped=False)
    with caplog.at_level(logging.WARNING):
        clock.move(49)
        assert caplog.messages == []
        clock.move(2)
        [first] = caplog.messages
        assert first.startswith("In flight for 10")
        assert "in World.parse for 10" in first.replace("test_overdue.", "")
        assert "secret" not in first
        assert "in forever" in first
        clock.move(98)
        assert len(caplog.messages) == 1
        clock.move(2)
        assert "(1 more for longer than MOCRA_CALLBACK_NOTICE = 100 s)" in caplog.messages[1]
        clock.move(400)
        assert len(caplog.messages) == 3
        world.deliveries.finished(request)
        clock.move(2)
        assert "in the downloader or its middlewares" in caplog.messages[3]


def test_nothing_is_named_where_nothing_is_wanted(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    world = World(clock, MOCRA_CALLBACK_NOTICE=0)
    world.begin("old")
    clock.move(100_000)
    assert caplog.messages == []


@pytest.mark.parametrize("shared", [True, False])
def test_a_stop_ends(shared: bool, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    world = World(clock, shared, MOCRA_STOP_GRACE=5)
    for name in range(11):
        world.begin(f"{name}", scraped=name > 0)
    world.overdue.closing()
    world.overdue.closing()
    clock.move(4.9)
    assert world.settled == []
    clock.move(0.2)
    assert len(world.settled) == 11
    assert all(returned and fault is None for _, fault, returned in world.settled)
    assert len(world.engine.freed) == 10
    [told] = caplog.messages
    assert "MOCRA_STOP_GRACE = 5 s is over. Still in flight: 11" in told
    assert ("they go back into the queue" in told) is shared
    assert ("they are gone with memory://" in told) is not shared
    assert "… and 1 more" in told
    assert "secret" not in told
    assert world.stats == {"mocra/callback/handed_back": 11}


async def test_a_worker_that_closed_in_time_is_silent(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    world = World(clock, MOCRA_STOP_GRACE=5)
    world.overdue.closing()
    await world.overdue.close()
    await world.overdue.close()
    assert clock.timers == []
    patient = World(clock, MOCRA_STOP_GRACE=0)
    patient.begin("slow")
    patient.overdue.closing()
    clock.move(100)
    assert patient.settled == [], "as long as it takes"
    idle = World(clock, MOCRA_STOP_GRACE=5)
    idle.overdue.closing()
    clock.move(100)
    assert caplog.messages == []


def test_what_comes_too_late_is_counted(clock: Clock) -> None:
    world = World(clock)
    for output in (Request("http://s.test/late"), {"an": "item"}):
        world.overdue.late_output(output)
    assert world.stats["mocra/callback/late_output"] == 2
