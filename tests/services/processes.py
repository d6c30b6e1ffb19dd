"""Starting, stopping and tormenting server processes: on loopback, on free ports, ended by pid in
any event.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import itertools
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import IO

_running: set[Server] = set()


def unmeasured() -> dict[str, str]:
    """This process's environment without what has a process measured for its coverage: crawls take
    a good half more time with it, and their parts are measured in other tests. Commands that look
    at something or say something are measured.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")}


#: Below what outgoing connections are given (32768 and up), or one of them may have the port of a
#: server that is down for a moment. The bus of a cluster's node takes the port 10000 above its own:
#: that is below too.
PORTS, BLOCK = range(10000, 20000), 200


def _own_block() -> tuple[range, IO[str]]:
    """Ports that no other test process of this machine takes its own from, while the file is open."""
    blocks = [PORTS[start : start + BLOCK] for start in range(0, len(PORTS), BLOCK)]
    folder = Path(tempfile.gettempdir()) / f"mocra-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for block in blocks:
        held = (folder / str(block[0])).open("w")
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
        else:
            return block, held
    raise RuntimeError(f"{len(blocks)} processes have ports of their own by {folder}")


def block_of_ports(count: int) -> tuple[list[int], IO[str]]:
    """*count* free ports of a block of their own. The file has a shared lock on it: what other
    processes lock in the same way keeps it theirs when this one has ended.
    """
    block, held = _own_block()
    fcntl.flock(held, fcntl.LOCK_SH)
    return list(itertools.islice(filter(_free, block), count)), held


class _Ports:
    """This process's, until it ends."""

    def __init__(self) -> None:
        block, self.held = _own_block()
        self.turn = itertools.cycle(block)

    def next(self) -> int:
        """Round and round: one that was just given back is the last to be given again."""
        for port in itertools.islice(self.turn, BLOCK):
            if _free(port) and _free(port + len(PORTS)):
                return port
        raise RuntimeError(f"no free port among the {BLOCK} of {self.held.name}")


@cache
def _ports() -> _Ports:
    return _Ports()


def free_port() -> int:
    """A port that nobody listens on, nor on the one 10000 above it; this process's, even while its
    server is stopped.
    """
    return _ports().next()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


#: s between two looks of `eventually`.
SHORTEST, LONGEST = 0.01, 0.25


def eventually(condition: Callable[[], object], seconds: float = 180.0, what: str = "") -> None:
    """Poll *condition* until it holds. What takes this process much to look at is looked at less often:
    looking would else take a processor from what is waited for. Time in which others run is not
    counted, so on a busy machine it looks as often.

    Raises:
        TimeoutError: it did not within *seconds*.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.thread_time()
        if condition():
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what or condition} did not come true within {seconds} s")
        time.sleep(min(max(SHORTEST, 4 * (time.thread_time() - began)), LONGEST))


class Stopwatch:
    """Seconds since it was made, without those in which this process or one of *pids* could have run
    and others did: a time that is promised holds on a busy machine too.
    """

    def __init__(self, *pids: int) -> None:
        self._processes = [Path(f"/proc/{pid}/schedstat") for pid in ("self", *pids)]
        self._waited = [self._of(process) for process in self._processes]
        self.began = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self.began - self.waited()

    def waited(self) -> float:
        """Seconds for which they waited for a processor, added up. 0 where the kernel does not say."""
        now = map(self._of, self._processes)
        return sum(max(0.0, new - old) for new, old in zip(now, self._waited, strict=True))

    @staticmethod
    def _of(process: Path) -> float:
        try:
            return int(process.read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0


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
