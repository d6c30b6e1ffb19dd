"""A clock by which this process may believe that it still holds something."""

from __future__ import annotations

import time


def boot_clock() -> float:
    """Seconds that never go back and that count suspension of the machine (on Linux; elsewhere
    ``time.monotonic``).
    """
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)
