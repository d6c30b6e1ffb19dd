"""Storing, where the log is away: over the memory backend's queue, with a writer that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from secrets import token_hex
from typing import Any, cast

import pytest

from mocra_scrapy.backends.composite.backlog import Backlog
from mocra_scrapy.backends.composite.queue import KafkaRequestQueue
from mocra_scrapy.backends.composite.storing import Call, Storing
from mocra_scrapy.backends.kafka.address import read_address
from mocra_scrapy.backends.kafka.log_names import Log, LogNames, LogPartition
from mocra_scrapy.backends.kafka.log_values import Outgoing, Refused, Written
from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.exceptions import BackendUnavailable
from mocra_scrapy.interfaces import ILoggedQueue
from mocra_scrapy.models import UNBOUNDED, Entry, QueueOptions
from mocra_scrapy.models.log import LogOptions

PLACE = LogPartition("normal", 0)


class Away:
    """A writer whose brokers answer when they are back."""

    def __init__(self) -> None:
        self.back, self.given_up, self.written = asyncio.Event(), 0, list[Outgoing]()

    async def write(self, batch: Sequence[Outgoing]) -> list[Written | Refused]:
        self.written = list(batch)
        try:
            await self.back.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return [Written(PLACE, at) for at, _ in enumerate(batch)]


class Stage:
    """A worker whose lease is a few milliseconds long; *looks*: its calls."""

    def __init__(self) -> None:
        # A clock that stands: nobody dies of a busy machine.
        self.backend = MemoryBackend(f"memory://{token_hex(6)}", clock=lambda: 0.0)
        self.window = cast("ILoggedQueue", self.backend.request_queue("crawl", QueueOptions(lease=0.006)))
        self.calls: list[int] = []
        self.writer: Any = Away()
        self.storing = Storing(self.window, self.writer, Backlog(), "crawl", 100)
        kept = self.window.exchange_logged

        async def noted(worker: str, call: int, *args: Any, **more: Any) -> Any:
            self.calls.append(call)
            return await kept(worker, call, *args, **more)

        self.window.exchange_logged = noted  # type: ignore[method-assign]

    async def until(self, condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.001)

        await asyncio.wait_for(wait(), 60)


@pytest.fixture
async def stage() -> Stage:
    one = Stage()
    await one.window.join("a")
    return one


async def pushed(stage: Stage, call: Call) -> None:
    entries = [Entry(b"x", "s", fingerprint=b"x"), Entry(b"y", "s", fingerprint=b"y", budgets=("seed:x",))]
    await stage.storing.store("a", call, entries, UNBOUNDED)


async def test_a_lease_is_renewed_while_brokers_are_away(stage: Stage) -> None:
    call = Call(3)
    storing = asyncio.ensure_future(pushed(stage, call))
    await stage.until(lambda: len(stage.calls) >= 5)
    assert set(stage.calls) == {6}, "the same call, as often as is needed"
    stage.writer.back.set()
    await storing
    assert call.stored is not None
    assert (len(call.stored.moved), call.stored.at) == (2, [(str(PLACE), 0), (str(PLACE), 1)])
    # What the log gets says as what it is in transit, and what is to be forgotten if a budget withdraws it.
    tokens = [("a", lease.token) for lease in call.stored.moved]
    assert [(one.transit, one.fingerprint) for one in stage.writer.written] == [(tokens[0], None), (tokens[1], b"y")]


async def test_who_was_taken_for_dead_writes_no_more(stage: Stage) -> None:
    call = Call(3)
    storing = asyncio.ensure_future(pushed(stage, call))
    await stage.until(lambda: len(stage.calls) >= 2)
    await stage.window.join("b")
    assert await stage.window.declare_dead("a") == 2
    await stage.window.exchange("b", 1)
    await storing
    assert stage.writer.given_up == 1
    assert call.held is not None
    assert call.held.lost
    assert call.stored is not None
    assert (len(call.stored.moved), len(call.stored.keep)) == (0, 2)


async def test_a_failing_window_is_told(stage: Stage) -> None:
    call = Call(3)
    storing = asyncio.ensure_future(pushed(stage, call))
    await stage.until(lambda: len(stage.calls) >= 2)

    async def fails(*args: Any, **more: Any) -> Any:
        raise ConnectionError

    failing: Callable[..., Awaitable[Any]] = fails
    stage.window.exchange_logged = failing  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await storing
    assert (stage.writer.given_up, call.stored) == (1, None)


async def test_who_begins_is_as_patient_as_the_project_says(stage: Stage) -> None:
    log = Log(read_address("MOCRA_QUEUE_BACKEND", "kafka://127.0.0.1:9", {}), LogNames("t", "crawl"), LogOptions())
    answers = [0.0, 60.0]
    queue = KafkaRequestQueue(stage.window, log, patience=lambda: answers.pop(0))
    calls = 0

    async def second() -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise BackendUnavailable("nobody has the group")
        return "here"

    with pytest.raises(BackendUnavailable, match=r"nobody has the group \(MOCRA_START_TIMEOUT = 0 s\)"):
        await queue._patiently(second)
    assert await queue._patiently(second) == "here"
