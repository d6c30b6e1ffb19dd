"""Alerts: what is owed, and that it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.backends.memory import MemoryBackend
from mocra_scrapy.cron import alerts
from mocra_scrapy.cron.alert_rules import event_of, owe
from mocra_scrapy.cron.alerts import Alerts
from mocra_scrapy.cron.job_store import Address, Store
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.schedule import Schedule
from mocra_scrapy.cron.state import ENDED, JobState, Run
from tests.services.listening import stop_listening


def job(**values: Any) -> Job:
    return Job(name="shop", spider="shop", schedule=Schedule("@daily"), **values)


def run(i: int, outcome: str, **values: Any) -> Run:
    return Run(id=f"shop@{i}", instant=i, due=i, state=ENDED, outcome=outcome, ended=float(i), **values)


def events(*outcomes: str) -> list[str]:
    state = JobState(runs=tuple(run(i, outcome) for i, outcome in enumerate(outcomes)))
    return [event_of(state, one) for one in state.runs]


def test_what_somebody_may_want_to_hear_of() -> None:
    assert events("failed", "failed", "succeeded", "succeeded", "missed", "succeeded") == [
        "on_failure",
        "on_failure",
        "on_success_after_failure",
        "",
        "on_missed",
        "on_success_after_failure",
    ]
    assert events("cancelled", "skipped", "replaced", "closed", "succeeded") == [""] * 5
    assert events("failed", "skipped", "cancelled", "succeeded")[-1] == "on_success_after_failure"
    assert events("unexpected", "timeout", "lost", "tripped", "overloaded") == ["on_failure"] * 5


def test_a_failure_that_is_retried_is_none_yet() -> None:
    again = Run(id="shop@1#2", instant=1, due=9, attempt=2)
    assert event_of(JobState(runs=(run(1, "failed"), again)), run(1, "failed")) == ""


def test_what_is_owed_is_written_down_once_and_only_for_what_is_fresh() -> None:
    state = JobState(runs=(run(1, "failed"), run(9000, "failed")))
    assert owe(job(), state, 9001.0) == state, "nobody asked for it"
    assert owe(job(on_missed=("x",)), state, 9001.0) == state
    told = owe(job(on_failure=("x",)), state, 9001.0)
    assert [one.alert for one in told.runs] == ["", "due:on_failure"]
    assert owe(job(on_failure=("x",)), told, 9002.0) == told


@pytest.fixture
async def store() -> Store:
    made = Store(Address("redis://nowhere", "p", "n", "f"))
    made.shared = MemoryBackend().shared_values("cron")
    await made.change("shop", lambda _: JobState(runs=(run(9, "failed", alert="due:on_failure"),)))
    return made


async def became(store: Store) -> tuple[str, int]:
    (one,) = (await store.get("shop")).state.runs
    return one.alert, one.alerts


async def test_a_command_gets_the_run_as_json(store: Store, tmp_path: Path) -> None:
    got = tmp_path / "got"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read())"
    sending = Alerts(store)
    sending.look(job(on_failure=(sys.executable, "-c", code, str(got))), (await store.get("shop")).state)
    sending.look(job(on_failure=("never",)), (await store.get("shop")).state)
    await sending.finish(30)
    assert await became(store) == ("sent:on_failure", 1)
    told = json.loads(got.read_text())
    assert (told["event"], told["job"], told["outcome"], told["instant"]) == (
        "on_failure",
        "shop",
        "failed",
        "1970-01-01T00:00:09Z",
    )


async def test_what_a_command_leaves_running_is_not_waited_for(store: Store, tmp_path: Path) -> None:
    """It would count as one that hangs, and be called again and again."""
    left = tmp_path / "left"
    sending = Alerts(store)
    sending.look(job(on_failure=("sh", "-c", f"sleep 600 & echo $! > {left}")), (await store.get("shop")).state)
    await sending.finish(300)
    os.kill(int(left.read_text()), signal.SIGKILL)
    assert await became(store) == ("sent:on_failure", 1)


async def test_one_that_hangs_is_ended_with_what_it_waits_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    hanging = asyncio.ensure_future(alerts._run(("sh", "-c", f"sh -c 'cat >&3; sleep 600' 3> {pipe}; true"), b"!"))

    async def read_until(what: bytes) -> None:
        got: bytes | None = None
        while got != what:
            await asyncio.sleep(0.01)
            with contextlib.suppress(BlockingIOError):
                got = os.read(held, 1)

    await read_until(b"!")  # it was told, so it is awaited
    hanging.cancel()
    await asyncio.wait([hanging])
    await asyncio.wait_for(read_until(b""), 60)  # nobody holds it any more
    os.close(held)


@pytest.mark.parametrize("turns", range(6))
async def test_one_that_is_given_up_while_it_starts_is_ended(turns: int) -> None:
    """Of a process, nothing or all has happened, and nothing of it is left."""
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always")
        starting = asyncio.ensure_future(alerts._run(("sleep", "600"), b"!"))
        for _ in range(turns):
            await asyncio.sleep(0)
        while not starting.done():  # more than once, as those who don't wait long do
            starting.cancel()
            await asyncio.sleep(0)
        assert starting.cancelled()
        del starting
        gc.collect()
    assert not left


class Hook:
    """A webhook: its answers, in order, the last one for ever; ``None``: it says nothing at all."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers, self.got = list(answers), list[bytes]()
        self._hanging = asyncio.Event()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        self.got.append(await reader.readexactly(int(lengths[0])))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:
            await self._hanging.wait()
        with contextlib.suppress(ConnectionError):
            writer.write(answer or b"")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def __aenter__(self) -> Hook:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/hook"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._hanging.set()
        await stop_listening(self._server)
        await self._server.wait_closed()


def http(status: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: 0", b"Connection: close", *headers, b"", b""))


OK, BROKEN, MOVED = http(b"200 OK"), http(b"500 Out of order"), http(b"301 Moved", b"Location: http://127.0.0.1:9/")


async def test_a_webhook_is_posted_to(store: Store) -> None:
    async with Hook(OK) as hook:
        sending = Alerts(store)
        sending.look(job(on_failure=(hook.url,)), (await store.get("shop")).state)
        await sending.finish(30)
    assert await became(store) == ("sent:on_failure", 1)
    assert json.loads(hook.got[0])["job"] == "shop"


async def test_a_webhook_that_fails_is_tried_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "AGAIN", 0.0)
    async with Hook(BROKEN, b"no HTTP\r\n\r\n", OK) as hook:
        sending = Alerts(store)
        sending.look(job(on_failure=(hook.url,)), (await store.get("shop")).state)
        await sending.finish(30)
    assert await became(store) == ("sent:on_failure", 3)
    assert len(hook.got) == 3


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (BROKEN, "the webhook answers 500 Out of order"),
        (b"no HTTP\r\n\r\n", "no HTTP"),
        (b"", "closed connection without response"),
        (MOVED, "it redirects to http://127.0.0.1:9/: write that URL"),
        (None, "no answer within 0.3 s"),
    ],
)
async def test_a_webhook_that_never_takes_it_is_given_up(
    answer: bytes | None, why: str, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerts, "AGAIN", 0.0)
    if answer is None:
        monkeypatch.setattr(alerts, "PATIENCE", 0.3)
    async with Hook(answer) as hook:
        sending = Alerts(store)
        sending.look(job(on_failure=(hook.url,)), (await store.get("shop")).state)
        await sending.finish(60)
    assert await became(store) == ("failed:on_failure", 5)
    assert len([line for line in caplog.messages if "Alert on_failure of shop@9, try" in line and why in line]) == 5


async def test_a_webhook_whose_server_is_down_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "AGAIN", 0.0)
    async with Hook(OK) as hook:
        pass
    sending = Alerts(store)
    sending.look(job(on_failure=(hook.url,)), (await store.get("shop")).state)
    await sending.finish(60)
    assert await became(store) == ("failed:on_failure", 5)


async def test_it_is_tried_again_and_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "AGAIN", 0.0)
    tries: list[str] = []

    def send(target: tuple[str, ...], told: bytes) -> None:
        tries.append(target[0])
        if len(tries) < 3:
            raise OSError("connection refused")

    sending = Alerts(store, send)
    sending.look(job(on_failure=("x",)), (await store.get("shop")).state)
    await sending.finish(30)
    assert await became(store) == ("sent:on_failure", 3)


async def test_it_is_given_up_in_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(alerts, "AGAIN", 0.0)
    sending = Alerts(store)
    command = (sys.executable, "-c", "import sys; sys.exit('no mail today')")
    sending.look(job(on_failure=command), (await store.get("shop")).state)
    await sending.finish(60)
    assert await became(store) == ("failed:on_failure", 5)
    assert "exit code 1: no mail today" in caplog.text


async def test_a_leader_that_leaves_leaves_it_to_the_next(store: Store) -> None:
    sending = Alerts(store)
    sending.look(job(on_failure=(sys.executable, "-c", "import time; time.sleep(60)")), (await store.get("shop")).state)
    await asyncio.sleep(0)
    await sending.end()
    assert await became(store) == ("due:on_failure", 0)


async def test_what_was_read_before_it_was_sent_sends_nothing(store: Store) -> None:
    """A look at a job takes its state and goes on a while later: meanwhile its alert may have been sent."""
    tries: list[str] = []
    sending = Alerts(store, lambda target, told: tries.append(target[0]))
    before = (await store.get("shop")).state
    for _ in range(2):
        sending.look(job(on_failure=("x",)), before)
        await sending.finish(30)
    assert len(tries) == 1
    sending.look(job(on_failure=("x",)), (await store.get("shop")).state)
    sending.look(job(on_failure=("x",)), before)  # it is owed anew
    await sending.finish(30)
    assert len(tries) == 2
