"""What this machine knows of processes, whatever a server believes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path


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
