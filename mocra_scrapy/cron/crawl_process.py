"""A crawl as a child process: started, stopped gently and then firmly, and judged by its exit code
and its stats.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mocra_scrapy.cron.judgement import judge, run_stats
from mocra_scrapy.cron.launch_spec import LaunchSpec


class Result(NamedTuple):
    """How a crawl ended; fields as in :class:`~mocra_scrapy.cron.state.Part`."""

    outcome: str
    reason: str
    exit_code: int
    finish_reason: str = ""
    items: int | None = None
    errors: int | None = None


class CrawlProcess:
    """One child process in a process group of its own, so that the browsers it started end with it.

    It holds a pipe to this process: when this one dies, it ends (see
    :mod:`mocra_scrapy.cron.lifeline`).

    Args:
        order: what to run.
        clock: monotonic seconds, for deadlines.
        inherit: open files that it holds, too: signs of life that end with the last who holds them.
    """

    def __init__(
        self, order: LaunchSpec, clock: Callable[[], float] = time.monotonic, inherit: Sequence[int] = ()
    ) -> None:
        self._order, self._clock, self.inherit = order, clock, inherit
        self._lifeline: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._kill_at = 0.0
        self.stopped = ""  #: why it was told to stop: the outcome that it has then

    def start(self) -> None:
        """Start the process; it reads what to crawl from its standard input and logs into the run's
        log file.
        """
        order = self._order
        Path(order.log).parent.mkdir(parents=True, exist_ok=True)
        Path(order.report).unlink(missing_ok=True)
        command = order.command or (sys.executable, "-m", "mocra_scrapy.cron.crawl_main", order.spider)
        theirs, self._lifeline = os.pipe()
        told = {
            "lifeline": theirs,
            "signs": list(self.inherit),
            "stop_grace": order.stop_grace,
            "spider": order.spider,
            "args": order.args,
            "settings": order.settings,
            "report": order.report,
            "run": order.run,
        }
        try:
            with Path(order.log).open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                    command,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(theirs, *self.inherit),
                )
        finally:
            os.close(theirs)
        self._began = self._clock()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(json.dumps(told).encode())

    @property
    def started(self) -> bool:
        """Whether there is a process, be it over or not."""
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def poll(self) -> int | None:
        """The exit code once it has ended. Also enforces the time-out, and ends by force what was
        told to stop long ago.
        """
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            self._kill_group()  # what it left behind
            return code
        now = self._clock()
        if self._order.timeout and now - self._began > self._order.timeout:
            self.stop("timeout")
        if self.stopped and now > self._kill_at:
            self._kill_group()
        return None

    def stop(self, why: str) -> None:
        """Tell it to finish what is in flight and leave; after ``stop_grace`` seconds it is killed.
        Once; later reasons don't count.
        """
        assert self._process is not None
        if not self.stopped and self._process.poll() is None:
            self.stopped, self._kill_at = why, self._clock() + self._order.stop_grace
            self._process.terminate()

    def kill(self) -> None:
        """End it now."""
        self._kill_group()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def result(self, code: int) -> Result:
        """The judgement: *code* is the exit code."""
        order, stats = self._order, _read_report(Path(self._order.report))
        outcome, reason = judge(code, stats, order.success, self.stopped, order.timeout)
        if stats is None:
            return Result(outcome, reason, code)
        known = run_stats(code, stats)
        return Result(outcome, reason, code, str(stats.get("finish_reason", "")), known["items"], known["errors"])


def report_of(path: str) -> dict[str, Any]:
    """The stats that a crawl reported; empty: none."""
    return _read_report(Path(path)) or {}


def _read_report(path: Path) -> dict[str, Any] | None:
    try:
        stats = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return stats if isinstance(stats, dict) else None


def prune(folder: Path, stored: Collection[str], keep: int) -> None:
    """Delete the files of runs that nobody remembers: neither the state (*stored*: the stems of the
    files of its runs, those that go on included), nor the newest *keep* in the folder, in case the
    state itself was lost.
    """
    runs: dict[str, list[Path]] = {}
    with contextlib.suppress(OSError):
        for path in folder.glob("*"):
            runs.setdefault(path.name.partition(".")[0], []).append(path)
    for name in sorted(runs)[: max(0, len(runs) - keep)]:
        for path in runs[name] if name not in stored else ():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def forget_files(folder: Path, job: str) -> None:
    """Delete the files of all runs of a job that is not remembered any more; *folder*:
    ``MOCRA_CRON_DIR``.
    """
    shutil.rmtree(folder / "runs" / job, ignore_errors=True)
