"""What this machine knows of processes, whatever a server believes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

LAUNCHER = "mocra_scrapy.cron.launcher_main"


@lru_cache(maxsize=1)
def this_machine() -> str:
    """The kernel that runs, and the table of processes in which a pid means something (containers
    have their own); empty where the system doesn't tell.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot[:13]}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except (OSError, UnicodeDecodeError):
        return ""


def launcher_lives(machine: str, pid: int, run: str) -> bool:
    """Whether the launcher of *run* is still process *pid* of this machine; ``False``: it isn't, or
    it is of another one. A dead process that nobody has buried has no command line any more.
    """
    if not machine or machine != this_machine():
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return run.encode() in command


class LauncherElsewhere:
    """A launcher that another process of this machine started, as far as it is like a ``Popen``."""

    def __init__(self, pid: int, run: str) -> None:
        self.pid, self._run = pid, run

    def poll(self) -> int | None:
        """``None``: it lives; nobody here learns its exit code."""
        return None if launcher_lives(this_machine(), self.pid, self._run) else 0

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def launchers_here(state: str) -> Iterator[tuple[str, LauncherElsewhere]]:
    """Run id and process of each living launcher whose run is kept in *state* (see
    :attr:`~mocra_scrapy.cron.job_store.Address.digest`). Nothing where the system doesn't tell.
    """
    wanted = [LAUNCHER.encode(), state.encode()]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().rstrip(b"\0").split(b"\0")
        except OSError:
            continue  # it has ended
        if len(command) > 3 and [command[-3], command[-1]] == wanted:
            run = command[-2].decode(errors="replace")
            yield run, LauncherElsewhere(int(path.parent.name), run)
