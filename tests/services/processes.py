"""Starting, stopping and tormenting server processes: on loopback, on free ports, ended by pid in
any event.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_running: set[Server] = set()


def unmeasured() -> dict[str, str]:
    """This process's environment without what has a process measured for its coverage: crawls take
    a good half more time with it, and their parts are measured in other tests. Commands that look
    at something or say something are measured.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")}


def free_port(below: int = 65536) -> int:
    """A port that nobody listens on now. Cluster nodes need one below 55536: their bus takes the
    port 10000 above.
    """
    for _ in range(1000):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < below and not listening(port + 10000 if below < 65536 else 0):
            return port
    raise RuntimeError(f"no free port below {below}")


def listening(port: int) -> bool:
    if not port:
        return False
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def eventually(condition: Callable[[], object], seconds: float = 90.0, what: str = "") -> None:
    """Poll *condition* until it holds.

    Raises:
        TimeoutError: it did not within *seconds*.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what or condition} did not come true within {seconds} s")
        time.sleep(0.01)


class Server:
    """One process. ``restart()`` keeps its command line, so its port and its data."""

    def __init__(self, command: Sequence[str], folder: Path, ready: Callable[[], object]) -> None:
        self.command = list(command)
        self.folder = folder
        self._ready = ready
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, env=unmeasured(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        _running.add(self)

        def up() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(
                    f"{self.command[0]} ended: {(self.folder / 'log').read_text(errors='replace')[-2000:]}"
                )
            return bool(self._ready())

        eventually(up, 20, f"{self.command[0]} answering")

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        if self.process is not None:
            self.stop()
        self.start()

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        _running.discard(self)
        if process is None or process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
            os.kill(process.pid, how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


@atexit.register
def _end_all() -> None:
    for server in list(_running):
        server.kill()
