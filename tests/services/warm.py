"""Processes of this interpreter without its cold start: ``python -m scrapy crawl`` takes 0.9 s of CPU
to its first request, and 0.1 when forked from :mod:`tests.services.zygote`, which each pytest
process has once.

What can't be the same in a forked child starts for real: other commands, another interpreter or
locale, flags, variables that an interpreter reads at its start; all of them with ``TESTS_COLD=1`` or
off Linux; and what asks for ``cold``. Tests do that where the start itself or the process's own
command line is what they are about.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Union

PROGRAM = Path(__file__).with_name("zygote.py")
#: Variables with these beginnings are read when an interpreter starts; a child has its parent's.
AT_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
#: A child is given these as if it had started with them.
GIVEN = {"PYTHONPATH", "PYTHONUNBUFFERED"}


class Process:
    """What tests use of :class:`subprocess.Popen`, for a child of the zygote."""

    def __init__(self, args: Sequence[str], pid: int, answers: socket.socket, stdout: IO[bytes] | None) -> None:
        self.args, self.pid, self.stdout = args, pid, stdout
        self.returncode: int | None = None
        self._answers, self._line = answers, b""

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        end = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if end is None else max(0.0, end - time.monotonic())
            if not select.select([self._answers], [], [], left)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            more = self._answers.recv(32)
            self._line += more
            if not more or self._line.endswith(b"\n"):
                # Nothing more comes when the zygote is dead, and then its children are.
                self.returncode = int(self._line) if more else -signal.SIGKILL
                self._answers.close()  # it may be reaped now
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class _Zygote:
    """This process's end of it."""

    def __init__(self) -> None:
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("COVERAGE_PROCESS") and name != "PYTHONUNBUFFERED"
        }
        self._one_at_a_time = threading.Lock()
        self._orders, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as said:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), str(theirs.fileno())],
                env=self.environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
            theirs.close()
            warm = self._orders.recv(16)
            said.seek(0)
            # What a start says would be in each cold process's log, where tests look for warnings.
            words = said.read().decode(errors="replace")
            if warm != b"warm\n" or words:
                self.end()
                raise RuntimeError(f"the warm interpreter did not start in silence: {words}")

    def suits(self, command: Sequence[str], environment: Mapping[str, str]) -> bool:
        if command[0] == sys.executable:
            if len(command) < 2 or (command[1].startswith("-") and command[1] not in ("-m", "-c")):
                return False
        elif Path(command[0]) != Path(sys.executable).with_name("scrapy"):
            return False
        names = {*environment, *self.environment} - GIVEN
        return all(environment.get(n) == self.environment.get(n) for n in names if n.startswith(AT_START))

    def start(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], files: Sequence[int]
    ) -> tuple[int, socket.socket]:
        words = list(command) if command[0] == sys.executable else [sys.executable, *command]
        order = json.dumps(
            {"command": words, "folder": str(folder.resolve()), "environment": dict(environment)}
        ).encode()
        ours, theirs = socket.socketpair()
        with theirs, self._one_at_a_time:
            socket.send_fds(self._orders, [len(order).to_bytes(4, "big")], [theirs.fileno(), *files])
            self._orders.sendall(order)
        line = b""
        while not line.endswith(b"\n"):
            byte = ours.recv(1)
            if not byte:
                raise RuntimeError(f"the warm interpreter is gone: {self.process.wait()}")
            line += byte
        return int(line), ours

    def end(self) -> None:
        self._orders.close()
        self.process.kill() if self.process.poll() is None else None
        self.process.wait()


#: A process of this kind or the other: the same to a test.
AnyProcess = Union[Process, "subprocess.Popen[bytes]"]

_zygote: _Zygote | None = None


def zygote() -> _Zygote | None:
    """This process's own, started when it is first asked for."""
    global _zygote
    if sys.platform != "linux" or os.environ.get("TESTS_COLD") == "1":
        return None
    if _zygote is None:
        _zygote = _Zygote()
        atexit.register(_zygote.end)
    return _zygote


def start(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: Any = subprocess.DEVNULL,
    stdout: Any = None,
    stderr: Any = None,
    cold: bool = False,
) -> AnyProcess:
    """As :class:`subprocess.Popen`; only standard output may be a pipe."""
    environment = os.environ if env is None else env
    warm = None if cold else zygote()
    if warm is None or not warm.suits(command, environment):
        return subprocess.Popen(command, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr)
    reader: IO[bytes] | None = None
    opened: list[int] = []
    files: list[int] = []
    try:
        for number, file in enumerate((stdin, stdout, stderr)):
            if file == subprocess.DEVNULL:
                opened.append(os.open(os.devnull, os.O_RDWR))
                files.append(opened[-1])
            elif file == subprocess.PIPE:
                assert number == 1, "only standard output may be a pipe"
                read, write = os.pipe()
                reader = os.fdopen(read, "rb")
                opened.append(write)
                files.append(write)
            else:
                files.append(number if file is None else file if isinstance(file, int) else file.fileno())
        pid, answers = warm.start(command, cwd, environment, files)
    finally:
        for one in opened:
            os.close(one)
    return Process(command, pid, answers, reader)


def run(
    command: Sequence[str],
    folder: Path,
    seconds: float,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    cold: bool = False,
) -> subprocess.CompletedProcess[str]:
    """One command to its end, killed after *seconds*; its output is kept in files, so that what it
    leaves running keeps nobody waiting.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        process = start(command, cwd=folder, env=env, stdin=given, stdout=out, stderr=err, cold=cold)
        try:
            process.wait(seconds)
        finally:
            process.kill()
            process.wait()
            said = []
            for file in (out, err):
                file.seek(0)
                said.append(file.read().decode(errors="replace"))
        return subprocess.CompletedProcess(list(command), process.wait(), *said)
