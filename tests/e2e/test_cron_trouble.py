"""Where a runner can't run for its roles, it says so, once, with the reason; and `scrapy cron status` tells it, with
an exit code for monitoring. Real runners.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cron_runners import Runners
from tests.e2e.projects import ONE_LINE, scrapy, write_project
from tests.services.redis_server import RedisServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
JOBS = '[jobs.tick]\nspider = "x"\nschedule = "* * * * * *"\nconcurrency = "allow"\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = write_project(tmp_path / "shop", "", ONE_LINE)
    (made / "cron.toml").write_text(JOBS)
    return made


@pytest.fixture
def ended() -> Iterator[list[Runners]]:
    made: list[Runners] = []
    yield made
    for runners in made:
        runners.kill()


def test_a_corrupt_state_file(project: Path, ended: list[Runners]) -> None:
    state = project / ".mocra-cron" / "state.json"
    state.parent.mkdir()
    state.write_text('{"values": {"tick"')
    runners = Runners(project, "memory://")
    ended.append(runners)
    runner = runners.light_runner()
    runners.until(lambda: "can't run for its roles" in runners.logs(), what="it says so")
    status = scrapy(project, "cron", "status", "-s", "MOCRA_BACKEND=memory://")
    assert status.returncode == 1
    assert "state.json can't be read" in status.stderr
    assert "move it away to begin anew" in status.stderr
    assert "Traceback" not in status.stderr
    state.rename(state.with_suffix(".old"))  # as it was told
    runners.until(lambda: len(runners.started()) >= 2, what="runs are started")
    logs = runners.logs()
    assert logs.count("can't run for its roles") == 1
    assert "state.json can't be read" in logs
    assert logs.count("runs for its roles again") == 1
    assert runner.poll() is None


@pytest.mark.redis
def test_a_server_that_is_away(project: Path, ended: list[Runners], own_redis: RedisServer) -> None:
    runners = Runners(project, own_redis.url)
    ended.append(runners)
    runner = runners.light_runner()
    runners.until(lambda: runners.started(), what="runs are started")
    backend = f"MOCRA_BACKEND={own_redis.url}"
    well = scrapy(project, "cron", "status", "--json", "-s", backend)
    assert (well.returncode, json.loads(well.stdout)["problems"]) == (0, []), well.stderr
    own_redis.kill()
    runners.until(lambda: "can't run for its roles" in runners.logs(), what="it says so")
    status = scrapy(project, "cron", "status", "-s", backend, "-s", "MOCRA_START_TIMEOUT=1")
    assert status.returncode == 1
    assert own_redis.url.rpartition("/")[0].partition("//")[2] in status.stderr
    assert "Traceback" not in status.stderr
    before = len(runners.started())
    own_redis.start()
    runners.until(lambda: len(runners.started()) > before + 1, what="runs are started again")
    log = project / "process0.log"  # the whole of it
    runners.until(lambda: "runs for its roles again" in log.read_text(), what="it says so")
    # Each outage is told once, and its end: a busy machine may have had another one.
    told = re.findall(r"can't run for its roles|runs for its roles again", log.read_text())
    assert told[::2] == ["can't run for its roles"] * len(told[::2])
    assert told[1::2] == ["runs for its roles again"] * len(told[1::2]) != []
    assert runner.poll() is None


def test_a_state_folder_that_can_not_be_used(project: Path) -> None:
    (project / "taken").write_text("a file")
    options = ("-s", "MOCRA_BACKEND=memory://", "-s", f"MOCRA_CRON_DIR={project / 'taken'}")
    for verb in (("run",), ("once",), ("trigger", "tick")):
        done = scrapy(project, "cron", *verb, *options)
        assert done.returncode == 1, (verb, done.stderr)
        assert "MOCRA_CRON_DIR" in done.stderr
        assert "Traceback" not in done.stderr
    status = scrapy(project, "cron", "status", *options)
    assert status.returncode == 1
    assert "Traceback" not in status.stderr
