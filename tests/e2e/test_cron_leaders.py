"""Three runners on one Redis; the leader is killed, cut off and paused at and around fire times: every
instant is started exactly once.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import pytest

from tests.e2e.cron_runners import Runners, gaps, seconds_between_starts, sleep_until
from tests.e2e.projects import write_project
from tests.services import warm
from tests.services.faultproxy import FaultProxy
from tests.services.redis_server import RedisServer

# Alone: launchers that are started late make a busy machine busier.
pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.chaos, pytest.mark.alone]

#: How many are started while leaders are tormented; `make soak`: 200.
INSTANTS = int(os.environ.get("CHAOS_INSTANTS", "20"))
JOB = """\
[jobs.tick]
spider = "first"
schedule = "*/EVERY * * * * *"
concurrency = "allow"
success = "exit_code == 0"
history = 1000
"""


#: What befalls the leader, and when, as a part of the time between two instants: just before one, right
#: at it, between the intent and the start, while the launcher claims.
TORMENTS = (
    ("kill", -0.03),
    ("kill", 0.0),
    ("cut_off", -0.01),
    ("kill", 0.03),
    ("kill", 0.25),
    ("pause", -0.01),
    ("kill", 0.0),
    ("cut_off", 0.03),
)


class Trio:
    """Three runners, each behind a proxy of its own, so are the launchers that it starts.

    Attributes:
        suffered: how often what befell a leader.
    """

    def __init__(self, runners: Runners, proxies: list[FaultProxy]) -> None:
        self.runners, self.suffered = runners, Counter[str]()
        self._proxies: dict[warm.AnyProcess, FaultProxy] = {}
        for proxy in proxies:
            self._start(proxy)

    def _start(self, proxy: FaultProxy) -> None:
        self._proxies[self.runners.light_runner(backend=f"redis://127.0.0.1:{proxy.port}/0")] = proxy

    def torment(self, how: str, leader: warm.AnyProcess) -> None:
        self.suffered[how] += 1
        getattr(self, f"_{how}")(leader)

    def _next_start(self, what: str) -> None:
        seen = len(self.runners.started())
        self.runners.until(lambda: len(self.runners.started()) > seen, what=f"a start {what}")

    def _kill(self, leader: warm.AnyProcess) -> None:
        leader.send_signal(signal.SIGKILL)
        leader.wait()
        self._start(self._proxies.pop(leader))
        self._next_start("under the next leader")

    def _cut_off(self, leader: warm.AnyProcess) -> None:
        """For longer than its lease, and its launchers with it."""
        proxy = self._proxies[leader]
        proxy.blackhole = True
        self._others_lead(leader)
        proxy.heal()
        proxy.reset()
        self._next_start("when it is back")

    def _pause(self, leader: warm.AnyProcess) -> None:
        """For longer than its lease: it wakes up believing nothing, and what it still sends is refused."""
        leader.send_signal(signal.SIGSTOP)
        self._others_lead(leader)
        leader.send_signal(signal.SIGCONT)
        self._next_start("with both awake")

    def _others_lead(self, leader: warm.AnyProcess) -> None:
        other = self.runners.leader(but=leader)
        self._next_start("under the next leader")
        assert other.poll() is None
        assert leader.poll() is None


@pytest.fixture
def every() -> int:
    return seconds_between_starts()


@pytest.fixture
def proxies(redis_single: RedisServer) -> Iterator[list[FaultProxy]]:
    with ExitStack() as stack:
        yield [stack.enter_context(FaultProxy(redis_single.port)) for _ in range(3)]


@pytest.fixture
def runners(tmp_path: Path, redis_url: str, every: int, proxies: list[FaultProxy]) -> Iterator[Runners]:
    project = write_project(tmp_path / "shop", "")
    (project / "cron.toml").write_text(JOB.replace("EVERY", str(every)))
    made = Runners(project, redis_url)
    yield made
    made.kill()


@pytest.mark.timeout(600 + 30 * INSTANTS)
def test_every_instant_has_exactly_one_start(runners: Runners, proxies: list[FaultProxy], every: int) -> None:
    began, trio = time.monotonic(), Trio(runners, proxies)
    runners.until(lambda: len(runners.started()) >= 2, what="two starts")
    for how, fraction in cycle(TORMENTS):
        if len(runners.started()) >= INSTANTS and set(trio.suffered) == {"kill", "cut_off", "pause"}:
            break
        leader = runners.leader()
        sleep_until(fraction, every)
        trio.torment(how, leader)
    for process in runners.all:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(90)
    runs = []

    def all_ended() -> bool:
        runs[:] = runners.history("tick")
        return all(run["state"] == "ended" for run in runs)

    # What was intended when the last one left waits for the next runner: here it comes.
    if not all_ended():
        last = runners.light_runner()
        runners.until(all_ended_but_the_newest(runners), 240, "old intents started")
        last.terminate()
        last.wait(90)
    starts = Counter(runners.started())
    assert {run for run, count in starts.items() if count > 1} == set()
    runs = runners.history("tick")
    done = [run for run in runs if run["state"] == "ended"]
    assert {run["outcome"] for run in done} == {"succeeded"}
    assert {run["id"] for run in done} <= set(starts), "recorded, never started"
    assert gaps((run["instant"] for run in runs), every) == [], "an instant was forgotten"
    assert len(done) >= INSTANTS
    figures = {"started_once": len(starts), "recorded": len(runs), "seconds": round(time.monotonic() - began)}
    print(json.dumps({**figures, **trio.suffered}))


def all_ended_but_the_newest(runners: Runners):  # type: ignore[no-untyped-def]
    before = {run["id"] for run in runners.history("tick")}

    def look() -> bool:
        return all(run["state"] == "ended" for run in runners.history("tick") if run["id"] in before)

    return look
