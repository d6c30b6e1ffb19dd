"""Five contenders, and everything that can happen to them and to their server: no effect of a stale
term is ever accepted.

Careless on purpose, see ``contender.py``: an old leader goes on writing with its old number. What
the server accepted, in the server's order, must have numbers that never fall; whoever believes must
not be overtaken; and somebody leads again in every case.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.contender import TIMES
from tests.services import warm
from tests.services.faultproxy import FaultProxy
from tests.services.processes import Stopwatch, eventually, unmeasured
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.e2e]

ROOT = Path(__file__).parents[2]
#: What a slow, shared machine may add to a time that is promised.
SLACK = 3.0
KEY = {"leader": "mocra:{+lead:boss}:term", "lock": "mocra:{+lock:boss}:permits"}


class Crowd:
    """The contenders and what they wrote down."""

    def __init__(self, kind: str, port: int, folder: Path) -> None:
        self.kind = kind
        self.file = folder / "events.jsonl"
        self.file.touch()
        self.all = {}
        for i in range(5):
            command = [sys.executable, "-m", "tests.e2e.contender", kind, f"redis://127.0.0.1:{port}/0", f"c{i}"]
            with (folder / f"c{i}.log").open("wb") as log:
                self.all[f"c{i}"] = warm.start(
                    [*command, str(self.file)], cwd=ROOT, env=unmeasured(), stdout=log, stderr=log
                )

    def events(self, kind: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.file.read_text().splitlines() if line.endswith("}")]
        return [event for event in found if event["event"] == kind]

    def accepted(self, **match: Any) -> list[dict[str, Any]]:
        """Accepted effects in the server's order."""
        found = (e for e in self.events("effect") if e["accepted"] and all(e[k] == v for k, v in match.items()))
        return sorted(found, key=lambda e: int(e["version"]))

    def leads(self, after: float = 0.0, but: int = 0, seconds: float = 60) -> dict[str, Any]:
        """The first effect later than *after* with a number greater than *but*, by one who believes
        in it.
        """

        def found() -> dict[str, Any] | None:
            believed = {(e["name"], e["number"]) for e in self.events("believes") if e["at"] > after}
            good = (
                e
                for e in self.accepted()
                if e["at"] > after and e["number"] > but and (e["name"], e["number"]) in believed
            )
            return next(good, None)

        eventually(found, seconds, "somebody leads")
        first = found()
        assert first is not None
        return first

    def who(self) -> dict[str, Any]:
        """The last one whose effect was accepted, and who believes."""
        return self.leads(time.monotonic())

    def watch(self, server: RedisServer) -> Stopwatch:
        """What others take of the machine from now on."""
        return Stopwatch(server.pid, *(process.pid for process in self.all.values()))

    def send(self, name: str, number: signal.Signals) -> None:
        os.kill(self.all[name].pid, number)

    def end(self) -> None:
        for process in self.all.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@pytest.fixture(params=["leader", "lock"])
def crowd(request: pytest.FixtureRequest, own_redis: RedisServer, tmp_path: Path) -> Iterator[tuple[Crowd, FaultProxy]]:
    with FaultProxy(own_redis.port) as proxy:
        made = Crowd(request.param, proxy.port, tmp_path)
        yield made, proxy
        made.end()


def overtaken(crowd: Crowd, begin: float, end: float) -> list[tuple[Any, Any]]:
    """Beliefs in a number at a time when a greater one was believed in already."""
    found, greatest = [], {"number": 0}
    for event in sorted(crowd.events("believes"), key=lambda e: float(e["at"])):
        if begin <= event["at"] <= end:
            if event["number"] < greatest["number"]:
                found.append((greatest, event))
            greatest = max(greatest, event, key=lambda e: e["number"])
    return found


def test_no_stale_term_has_an_effect(crowd: tuple[Crowd, FaultProxy], own_redis: RedisServer) -> None:
    people, proxy = crowd
    began = time.monotonic()
    first = people.leads()

    # Stopped for longer than the lease: another one leads; the stopped one wakes up, and all that
    # it still writes is refused.
    people.send(first["name"], signal.SIGSTOP)
    stopped, watch = time.monotonic(), people.watch(own_redis)
    second = people.leads(stopped, first["number"])
    assert second["name"] != first["name"]
    assert second["at"] - stopped < TIMES["lease"] + 1.25 * TIMES["retry"] + SLACK + watch.waited()
    people.send(first["name"], signal.SIGCONT)
    eventually(lambda: [e for e in people.events("effect") if e["name"] == first["name"] and not e["accepted"]])

    # Killed.
    people.send(people.who()["name"], signal.SIGKILL)
    killed, watch = time.monotonic(), people.watch(own_redis)
    third = people.leads(killed, second["number"])
    assert third["at"] - killed < TIMES["lease"] + 1.25 * TIMES["retry"] + SLACK + watch.waited()

    # The server is stopped, then killed; it keeps what it was told.
    own_redis.pause()
    paused = time.monotonic()
    eventually(lambda: time.monotonic() - paused > 2 * TIMES["lease"])
    own_redis.resume()
    fourth = people.leads(time.monotonic())
    own_redis.kill()
    own_redis.start()
    fifth = people.leads(time.monotonic())
    assert fifth["number"] >= fourth["number"] >= third["number"]

    # Answers get lost, again and again.
    for _ in range(20):
        proxy.cut_after = 0
        eventually(lambda: proxy.cut_after is None)
    proxy.heal()
    sixth = people.leads(time.monotonic())
    assert overtaken(people, began, time.monotonic()) == []

    # Its record is deleted by hand: another term begins, whoever wins it.
    with own_redis.client() as client:
        assert client.delete(KEY[people.kind])
    seventh = people.leads(time.monotonic(), sixth["number"])

    # The server comes back empty: the fence went with what it protects, and grows anew with the
    # first effect of the next term.
    own_redis.kill()
    before = people.accepted()
    shutil.rmtree(own_redis.folder)
    own_redis.start()
    eighth = people.leads(time.monotonic(), seventh["number"])
    assert eighth["number"] > seventh["number"]

    after = [event for event in people.accepted() if event["version"] >= eighth["version"]]
    for effects in (before, after):
        numbers = [event["number"] for event in effects]
        assert numbers == sorted(numbers), "an effect of a stale term was accepted"
    assert len({event["number"] for event in before}) >= 4
    refused = [event for event in people.events("effect") if not event["accepted"]]
    assert len(refused) > 10, "nobody was careless enough"
