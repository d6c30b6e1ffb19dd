"""The pipe that a crawl holds to its launcher, and what happens at its end.

A launcher may die by SIGKILL. Nobody would keep the crawl's time-out any more, and its run counts as
lost: a retry would overlap with it. So the crawl itself ends then: SIGTERM, and after the grace the
whole group by force.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable


def hold(pipe: int, grace: float) -> threading.Thread:
    """Watch over *pipe*, whose other end the launcher holds, in a thread: the event loop may be
    blocked. *grace*: seconds between SIGTERM and SIGKILL.
    """
    watch = threading.Thread(target=wait_for_the_end, args=(pipe, grace), name="mocra lifeline", daemon=True)
    watch.start()
    return watch


def wait_for_the_end(
    pipe: int,
    grace: float,
    *,
    end: Callable[[int], object] = lambda which: os.kill(os.getpid(), which),
    end_group: Callable[[], object] = lambda: os.killpg(0, signal.SIGKILL),
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Nothing is ever written into *pipe*: it ends when the launcher does."""
    while os.read(pipe, 1):
        continue
    end(signal.SIGTERM)
    sleep(grace)
    end_group()
