"""A crawl as a child process: started, stopped gently and then firmly, and judged by its exit code
and its stats.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mocra_scrapy.cron.expression import BadExpression, Expression
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

    Args:
        order: what to run.
        clock: monotonic seconds, for deadlines.
    """

    def __init__(self, order: LaunchSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self._order, self._clock = order, clock
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
        told = {
            "spider": order.spider,
            "args": order.args,
            "settings": order.settings,
            "report": order.report,
            "run": order.run,
        }
        with Path(order.log).open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )
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
        stats = _read_report(Path(self._order.report))
        known = stats is not None
        stats = stats or {}
        finish = str(stats.get("finish_reason", ""))
        items, errors = stats.get("item_scraped_count", 0), stats.get("log_count/ERROR", 0)
        outcome, reason = self._judge(
            code, finish, {**stats, "exit_code": code, "items": items, "errors": errors}, known
        )
        return Result(outcome, reason, code, finish, items if known else None, errors if known else None)

    def _judge(self, code: int, finish: str, stats: dict[str, Any], known: bool) -> tuple[str, str]:  # noqa: PLR0911 - a table
        order = self._order
        if self.stopped == "timeout":
            return "timeout", f"it took longer than timeout = {order.timeout:g} s"
        if self.stopped:
            return self.stopped, {"cancelled": "a person cancelled it", "replaced": "the next run was due"}.get(
                self.stopped, "its launcher was told to stop"
            )
        if order.success:
            try:
                held = Expression(order.success).holds(stats)
            except BadExpression as error:
                return "failed", str(error)
            return ("succeeded", "") if held else ("failed", f"{order.success} does not hold")
        if code != 0:
            how = f"it was ended by signal {-code}" if code < 0 else f"exit code {code}"
            return "failed", f"{how}; see its log"
        if not known:
            return "failed", "it wrote no stats: no crawl took place; see its log"
        if finish == "shutdown":
            return "stopped", "somebody told the crawl to stop"
        return "succeeded", ""


def _read_report(path: Path) -> dict[str, Any] | None:
    try:
        stats = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return stats if isinstance(stats, dict) else None


def prune(folder: Path, keep: int) -> None:
    """Delete the files of all but the newest *keep* runs: names begin with the instant."""
    runs: dict[str, list[Path]] = {}
    for path in folder.glob("*"):
        runs.setdefault(path.name.partition(".")[0], []).append(path)
    for name in sorted(runs)[: max(0, len(runs) - keep)]:
        for path in runs[name]:
            path.unlink(missing_ok=True)
