"""Alerts of real runners to a real web server. The crawls only write down that they were started; what
counts as success is in the jobs file.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mocra_scrapy.cron.job_store import Address, Store
from mocra_scrapy.cron.schedule import Schedule
from mocra_scrapy.cron.state import JobState
from tests.e2e.cron_runners import Runners
from tests.e2e.projects import ONE_LINE, scrapy, write_project

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
YEARLY = 'schedule = "0 0 1 1 *"\n'
GOOD, BAD = 'success = "exit_code == 0"\n', 'success = "exit_code == 1"\n'


class Hook:
    """``/hang`` answers when ``open`` is set, the others at once."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        self.open = threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.got.append((self.path, told))
                if self.path == "/hang":
                    hook.open.wait()
                try:
                    self.send_response(204)
                    self.end_headers()
                except ConnectionError:
                    pass  # whoever asked has left

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def heard(self) -> list[tuple[str, str, str]]:
        return sorted((path, told["event"], told["job"]) for path, told in self.got)

    def close(self) -> None:
        self.open.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def runners_of(tmp_path: Path) -> Iterator[Callable[[str], Runners]]:
    made: list[Runners] = []

    def make(jobs: str) -> Runners:
        project = write_project(tmp_path / "shop", "", ONE_LINE + 'MOCRA_BACKEND = "memory://"\n')
        (project / "cron.toml").write_text(jobs)
        made.append(Runners(project, "memory://"))
        return made[-1]

    yield make
    for runners in made:
        runners.kill()


def trigger(runners: Runners, *jobs: str) -> None:
    done = scrapy(runners.project, "cron", "trigger", *jobs)
    assert done.returncode == 0, done.stderr


def test_each_event_is_told_by_job_and_for_all(hook: Hook, runners_of: Callable[[str], Runners]) -> None:
    def jobs(own: str) -> str:
        """*own*: what is a success of the job ``own``."""
        return (
            f'[defaults]\non_failure = "{hook.url}/all"\non_missed = "{hook.url}/all"\n'
            f'[jobs.own]\nspider = "x"\n{YEARLY}{own}on_failure = "{hook.url}/own"\n'
            f'on_success_after_failure = "{hook.url}/own"\n'
            f'[jobs.plain]\nspider = "x"\n{YEARLY}{BAD}'
            f'[jobs.late]\nspider = "x"\nschedule = "0 * * * *"\ntimezone = "UTC"\nmisfire_grace = 1\n{GOOD}'
        )

    runners = runners_of(jobs(BAD))

    async def three_hours_ago() -> None:
        store = Store(Address("memory://", "mocra", "shop", str(runners.project / ".mocra-cron")))
        await store.open()
        identity = Schedule("0 * * * *", "UTC").identity
        await store.change("late", lambda _: JobState(last=int(time.time()) - 3 * 3600, identity=identity))
        await store.close()

    asyncio.run(three_hours_ago())
    runners.light_runner()
    trigger(runners, "own", "plain")
    runners.until_ended("own", "failed")
    runners.until(lambda: len(hook.got) >= 3, what="three alerts")
    (runners.project / "cron.toml").write_text(jobs(GOOD))
    runners.until(lambda: "changed: own" in runners.logs(), what="the new file is read")
    trigger(runners, "own")
    runners.until(lambda: ("/own", "on_success_after_failure", "own") in hook.heard(), what="it recovers")
    assert hook.heard() == [
        ("/all", "on_failure", "plain"),
        ("/all", "on_missed", "late"),
        ("/own", "on_failure", "own"),
        ("/own", "on_success_after_failure", "own"),
    ]
    runners.until(
        lambda: {run["alert"].partition(":")[0] for run in runners.history() if run["outcome"]} == {"sent"},
        what="all written down",
    )


def test_webhooks_that_hang_are_in_nobodys_way(hook: Hook, runners_of: Callable[[str], Runners]) -> None:
    """More of them than the event loop has threads: states are read and written all the same."""
    names = [f"bad{i}" for i in range(12)]
    jobs = "".join(f'[jobs.{name}]\nspider = "x"\n{YEARLY}{BAD}on_failure = "{hook.url}/hang"\n' for name in names)
    runners = runners_of(jobs + f'[jobs.good]\nspider = "x"\n{YEARLY}{GOOD}')
    runner = runners.light_runner()
    trigger(runners, *names)
    runners.until(lambda: len(hook.got) >= 8, what="eight hanging alerts")
    trigger(runners, "good")
    runners.until_ended("good", "succeeded")
    runner.terminate()
    assert runner.wait(90) == 0, "it waits for a webhook"
    assert {run["alert"] for run in runners.history() if run["outcome"] == "failed"} == {"due:on_failure"}
    hook.open.set()
    hook.got.clear()
    runners.light_runner()
    runners.until(
        lambda: [run["alert"] for run in runners.history() if run["outcome"] == "failed"] == ["sent:on_failure"] * 12,
        what="the next runner sends them",
    )
    assert {told["job"] for _, told in hook.got} == set(names)
