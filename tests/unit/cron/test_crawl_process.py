"""A crawl as a child process: what is left of it, and when it is ended by force."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from mocra_scrapy.cron.crawl_process import CrawlProcess, prune
from mocra_scrapy.cron.job_store import Address
from mocra_scrapy.cron.launch_spec import LaunchSpec


class Ticks:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def crawl(folder: Path, script: str, clock: Ticks, **more: float) -> CrawlProcess:
    order = LaunchSpec(
        "job", "job@x", "w", Address("memory://", "p", "n", str(folder)), "spider",
        log=str(folder / "x.log"), report=str(folder / "x.stats.json"), command=("sh", "-c", script), **more,  # type: ignore[arg-type]
    )  # fmt: skip
    made = CrawlProcess(order, clock)
    made.start()
    return made


def until_ended(process: CrawlProcess) -> int:
    deadline = time.monotonic() + 30
    while (code := process.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return code


def alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


def test_what_a_crawl_leaves_behind_is_dead_when_its_end_is_known(tmp_path: Path) -> None:
    process = crawl(tmp_path, f"sleep 1000 & echo $! > {tmp_path}/child; exit 3", Ticks())
    assert until_ended(process) == 3
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_who_does_not_leave_is_killed_after_the_grace(tmp_path: Path) -> None:
    clock = Ticks()
    process = crawl(
        tmp_path, f"trap '' TERM; echo > {tmp_path}/ready; while :; do sleep 0.05; done", clock, stop_grace=30
    )
    deadline = time.monotonic() + 30
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.stop("cancelled")
    clock.now += 29
    assert process.poll() is None
    assert alive(process.pid)
    clock.now += 2
    assert until_ended(process) == -signal.SIGKILL
    assert process.result(-signal.SIGKILL).outcome == "cancelled"


def test_a_time_out_is_counted_by_its_own_clock(tmp_path: Path) -> None:
    clock = Ticks()
    process = crawl(tmp_path, "exec sleep 1000", clock, timeout=60.0, stop_grace=5)
    clock.now += 59
    assert process.poll() is None
    clock.now += 2
    code = until_ended(process)
    assert process.result(code).outcome == "timeout"


def test_it_holds_a_pipe_to_whoever_started_it(tmp_path: Path) -> None:
    process = crawl(tmp_path, "exec sleep 1000", Ticks())
    try:
        assert any("pipe:" in str(one.readlink()) for one in Path(f"/proc/{process.pid}/fd").iterdir())
    finally:
        process.kill()
        until_ended(process)


@pytest.mark.parametrize("stored", [{"2020-01", "2020-05"}, set()])
def test_files_that_somebody_remembers_are_kept(tmp_path: Path, stored: set[str]) -> None:
    for month in range(1, 8):
        for ending in ("log", "stats.json"):
            (tmp_path / f"2020-{month:02}.{ending}").write_text("")
    prune(tmp_path, stored, 2)
    left = {path.name.partition(".")[0] for path in tmp_path.iterdir()}
    assert left == stored | {"2020-06", "2020-07"}
    prune(tmp_path / "nowhere", stored, 2)
