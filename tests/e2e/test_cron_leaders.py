"""Three runners on one Redis, the leader killed and paused at and around fire times: every instant
is started exactly once.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from tests.e2e.cron_runners import Runners, gaps, seconds_between_starts, sleep_until
from tests.e2e.projects import write_project

# Alone: launchers that are started late make a busy machine busier.
pytestmark = [pytest.mark.e2e, pytest.mark.redis, pytest.mark.chaos, pytest.mark.alone]

#: How long the killing goes on; `make soak`: 200.
INSTANTS = int(os.environ.get("CHAOS_INSTANTS", "20"))
JOB = """\
[jobs.tick]
spider = "first"
schedule = "*/EVERY * * * * *"
concurrency = "allow"
success = "exit_code == 0"
history = 1000
"""


@pytest.fixture
def every() -> int:
    return seconds_between_starts()


@pytest.fixture
def runners(tmp_path: Path, redis_url: str, every: int) -> Iterator[Runners]:
    project = write_project(tmp_path / "shop", "")
    (project / "cron.toml").write_text(JOB.replace("EVERY", str(every)))
    made = Runners(project, redis_url)
    yield made
    made.kill()


@pytest.mark.timeout(600 + 30 * INSTANTS)
def test_every_instant_has_exactly_one_start(runners: Runners, every: int) -> None:
    for _ in range(3):
        runners.light_runner()
    runners.until(lambda: len(runners.started()) >= 2, what="two starts")
    # Just before an instant, right at it, between the intent and the start, and while the launcher
    # claims.
    for kills, fraction in enumerate(cycle((-0.03, 0.0, 0.03, 0.25))):
        if kills >= 4 and len(runners.started()) >= INSTANTS:
            break
        leader = runners.leader()
        sleep_until(fraction, every)
        leader.send_signal(signal.SIGKILL)
        leader.wait()
        runners.light_runner()
        seen = len(runners.started())
        runners.until(lambda seen=seen: len(runners.started()) > seen, what="a start under the next leader")
    # Paused for longer than its lease: it wakes up believing nothing, and what it still sends is
    # refused.
    leader = runners.leader()
    sleep_until(-0.01, every)
    leader.send_signal(signal.SIGSTOP)
    other = runners.leader(but=leader)
    seen = len(runners.started())
    runners.until(lambda: len(runners.started()) > seen, what="a start under the next leader")
    leader.send_signal(signal.SIGCONT)
    seen = len(runners.started())
    runners.until(lambda: len(runners.started()) > seen + 2, 240, "starts with both awake")
    assert other.poll() is None
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


def all_ended_but_the_newest(runners: Runners):  # type: ignore[no-untyped-def]
    before = {run["id"] for run in runners.history("tick")}

    def look() -> bool:
        return all(run["state"] == "ended" for run in runners.history("tick") if run["id"] in before)

    return look
