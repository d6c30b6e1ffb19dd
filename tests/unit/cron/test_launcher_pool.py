"""Launchers: how many start at once. What they do is shown with real ones (tests/integration/cron)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mocra_scrapy.cron import launcher_pool
from mocra_scrapy.cron.job_store import Address
from mocra_scrapy.cron.launch_spec import LaunchSpec
from mocra_scrapy.cron.launcher_pool import PATIENCE, STARTING, Launches
from mocra_scrapy.cron.local_processes import LAUNCHER
from tests.services.processes import eventually


class FakeProcess:
    made: ClassVar[list[FakeProcess]] = []

    def __init__(self, command: tuple[str, ...], **_: Any) -> None:
        self.run, self.code = command[-2], None
        self.made.append(self)

    def poll(self) -> int | None:
        return self.code


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[FakeProcess]:
    monkeypatch.setattr(FakeProcess, "made", [])
    monkeypatch.setattr(launcher_pool.subprocess, "Popen", FakeProcess)
    return FakeProcess.made


def test_a_bounded_number_starts_at_once(started: list[FakeProcess], tmp_path: Path) -> None:
    """A hundred jobs for the same minute: the others follow as these begin their crawls."""
    now = 0.0
    launches = Launches(Address("", "", "", str(tmp_path)), tmp_path, lambda: now)
    runs = [f"job{i}@x" for i in range(100)]

    def look() -> int:
        for run in runs:
            launches.start(run, LaunchSpec(run[:-2], run, "w", Address("", "", "", ""), "spider", "log", "report"))
        return len(started)

    assert look() == look() == STARTING
    for run in runs[:3]:
        launches.forget(run)  # it has begun: it lives, and is in nobody's way
    del runs[:3]
    assert look() == STARTING + 3
    assert [one.run for one in started] == [f"job{i}@x" for i in range(STARTING + 3)], "in order, none twice"
    started[3].code = 1  # dead before it began
    assert look() == STARTING + 4, "another one, and this one again later"
    assert len(launches.living()) == STARTING + 3
    now = PATIENCE
    assert look() == 2 * STARTING + 4, "those that wait for something hold nobody up"


def test_what_an_earlier_leader_on_this_machine_started_is_waited_for(tmp_path: Path) -> None:
    address = Address("redis://:secret@host/0", "mocra", "shop", str(tmp_path))
    other = Address("redis://:secret@host/0", "mocra", "garden", str(tmp_path))
    now = 0.0

    def left_by_another(state: str) -> subprocess.Popen[bytes]:
        command = ("sh", "-c", "read line", LAUNCHER, "tick@x", state)
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
        # Popen returns when the program is being loaded; its command line comes a moment later.
        eventually(lambda: LAUNCHER in Path(f"/proc/{process.pid}/cmdline").read_text())
        return process

    def started(launches: Launches) -> bool:
        order = LaunchSpec("tick", "tick@x", "w", address, "spider", "log", "report")
        return launches.start("tick@x", order)

    with left_by_another(address.digest) as theirs:
        launches, elsewhere = Launches(address, tmp_path, lambda: now), Launches(other, tmp_path, lambda: now)
        launches.adopt()
        elsewhere.adopt()
        assert (launches.living(), elsewhere.living()) == ({"tick@x"}, set())
        assert not started(launches)
        now = PATIENCE + 1
        assert launches.living() == set(), "it hangs, for all that is known here: another one may do better"
        now = 1.0
        theirs.kill()
        theirs.wait()
        assert launches.living() == set()
        assert not started(launches), "a moment later"
