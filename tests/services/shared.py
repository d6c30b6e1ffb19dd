"""A server that all pytest processes of a session share (pytest-xdist has several): for those that
take seconds of CPU to start. The first that asks starts it, the last that leaves ends it.

Files in its folder say what is so, and locks on them, which end with their process, who is there:

============  ==================================================================================
``state``     ports, and the pid of what runs; changed under an exclusive lock on ``starting``
``users``     a shared lock for each process that uses it
``turn``      a shared lock for each test that uses it, an exclusive one for a test that stops it
============  ==================================================================================
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tests.services.processes import block_of_ports, eventually, unmeasured


class SharedServer:
    """One of *folder*. Subclasses say what to start.

    Attributes:
        ports: the server's own, of a block that no other test process takes one from.
        began: bytes of its log before this start.
    """

    #: How many ports it needs.
    wanted = 1
    #: Ends it in good order.
    in_order = signal.SIGTERM
    #: Ends it as a crash does.
    as_crash = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: list[int] = []
        self.began = 0
        self._users: IO[str] | None = None
        self._block: IO[str] | None = None

    # ------------------------------------------------------------------ what subclasses say

    def prepare(self) -> None:
        """What is done once, before the first start."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        """Its command line."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it serves."""
        raise NotImplementedError

    def ended(self) -> None:
        """What is done once, after the last end."""

    # ------------------------------------------------------------------ for the session

    def join(self) -> None:
        """Be one of its users, and start it if nobody has."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._starting():
            self._users = _locked(self.folder / "users")
            if self._state.is_file():
                state = self._read()
                self.ports, self._block = state["ports"], _locked(Path(state["block"]))
            else:
                self.ports, self._block = block_of_ports(self.wanted)
                self._write(None)
                try:
                    self.prepare()
                    self._start()
                except BaseException:
                    self._end(self.as_crash)
                    self._state.unlink()  # whoever asks next tries it once more
                    raise

    def leave(self) -> None:
        """No longer be one of its users; the last one ends it."""
        assert self._users is not None
        assert self._block is not None
        with self._starting():
            self._users.close()
            with contextlib.suppress(BlockingIOError), (self.folder / "users").open("w") as others:
                fcntl.flock(others, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._end(self.as_crash)
                self._state.unlink()
                self.ended()
        self._block.close()

    @contextlib.contextmanager
    def turn(self, *, alone: bool = False) -> Iterator[Turn]:
        """For one test; *alone*: which may stop it."""
        with (self.folder / "turn").open("a") as lock:
            turn = Turn(self, lock)
            turn.wait(alone=alone)
            try:
                yield turn
            finally:
                if turn.alone:
                    self.start()

    # ------------------------------------------------------------------ for a test that is alone

    def start(self) -> None:
        """Unless it runs."""
        with self._starting():
            if not self.runs():
                self._start()

    def stop(self) -> None:
        """In good order."""
        self._end(self.in_order)

    def kill(self) -> None:
        """As in a crash."""
        self._end(self.as_crash)

    @property
    def pid(self) -> int | None:
        """``None``: it was never started."""
        pid: int | None = self._read()["pid"]
        return pid

    def runs(self) -> bool:
        """Whether it does, and not another process that was given its pid."""
        state = self._read()
        return state["pid"] is not None and _birth(state["pid"]) == state["birth"] is not None

    def log(self) -> str:
        """What it has said since it was started."""
        return (self.folder / "log").read_bytes()[self.began :].decode(errors="replace")

    # ------------------------------------------------------------------ inside

    @contextlib.contextmanager
    def _starting(self) -> Iterator[None]:
        with (self.folder / "starting").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _state(self) -> Path:
        return self.folder / "state"

    def _read(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._state.read_text())
        return state

    def _write(self, pid: int | None) -> None:
        assert self._block is not None
        birth = None if pid is None else _birth(pid)
        known = {"ports": self.ports, "block": self._block.name, "pid": pid, "birth": birth}
        self._state.write_text(json.dumps(known))

    def _start(self) -> None:
        """A shell starts it and goes: it is no child of this process, which may end before it."""
        with (self.folder / "log").open("ab") as log:
            self.began = log.tell()
        script = 'log=$1; shift; "$@" >>"$log" 2>&1 </dev/null & echo $!'
        command = ["sh", "-c", script, "sh", str(self.folder / "log"), *self.command()]
        done = subprocess.run(command, cwd=self.folder, env=unmeasured(), stdout=subprocess.PIPE, text=True, check=True)
        pid = int(done.stdout)
        self._write(pid)

        def up() -> bool:
            if not self.runs():
                raise RuntimeError(f"{self.folder.name} ended: {self.log()[-2000:]}")
            return self.answers()

        eventually(up, 120, f"{self.folder.name} answering")

    def _end(self, how: signal.Signals) -> None:
        until = time.monotonic() + 30
        self._signal(signal.SIGCONT)
        self._signal(how)
        while self.runs():
            if time.monotonic() > until:
                self._signal(signal.SIGKILL)
            time.sleep(0.01)

    def _signal(self, which: signal.Signals) -> None:
        pid = self.pid
        if pid is not None and self.runs():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, which)


class Turn:
    """A test's time with a server. It runs again afterwards.

    Attributes:
        alone: no other test uses it meanwhile: it may be stopped.
    """

    def __init__(self, server: SharedServer, lock: IO[str]) -> None:
        self.server, self._lock = server, lock
        self.alone = False

    def wait(self, *, alone: bool) -> None:
        """Until others leave room. What was begun with others may be continued alone: they may have
        stopped it meanwhile, and it runs again.
        """
        fcntl.flock(self._lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        self.alone = alone


def _locked(path: Path) -> IO[str]:
    """Open, with a shared lock that holds until it is closed."""
    file = path.open("a")
    fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _birth(pid: int) -> str | None:
    """When a process began; ``None``: it has ended. A zombie has: whoever is its parent has not looked
    yet.
    """
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] == "Z" else fields[19]
    return None
