"""A thread that notices when the event loop does not come round, and says where it stands."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback

logger = logging.getLogger(__name__)


class Watchdog:
    """Watches the loop of the thread in which it is started.

    The loop gives a sign of life by a timer; a thread looks for it. A blockage is told once while
    it lasts, with the stack of the blocked thread, and once more when it ended. What blocks without
    letting other threads run (a regular expression, an extension written in C) can only be told
    afterwards, and so can a process that was stopped.

    Args:
        limit: seconds without a sign of life that are told.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._step = limit / 4
        self._sign = 0.0
        self._told: float | None = None  # the sign of life after which a blockage was told of
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._watched = 0
        self._looked = 0.0

    def start(self) -> None:
        self._watched = threading.get_ident()
        self._live()
        self._looked = time.monotonic()
        # A daemon: no exit of the process waits for it.
        threading.Thread(target=self._watch, name="mocra watchdog", daemon=True).start()

    def stop(self) -> None:
        """In the loop. May be called twice."""
        self._tell_end(time.monotonic())
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _live(self) -> None:
        """In the loop."""
        now = time.monotonic()
        self._tell_end(now)
        self._sign = now
        self._timer = asyncio.get_running_loop().call_later(self._step, self._live)

    def _tell_end(self, now: float) -> None:
        since, self._told = self._told, None
        if since is not None:
            logger.warning("The event loop goes on, after it was blocked for %.1f s", now - since)

    def _watch(self) -> None:
        while not self._stopped.wait(self._step):
            self.look(time.monotonic())

    def look(self, now: float) -> None:
        """In the thread, each quarter of the limit."""
        sign, before, self._looked = self._sign, self._looked, now
        if self._told is not None or now - sign < self._limit:
            return
        if now - before > self._limit:
            # This thread did not run either: it can't know where the other one stood.
            logger.warning(
                "The whole process stood still for %.1f s: it was stopped, or something kept all threads from running"
                " (a regular expression, an extension written in C)",
                now - before,
            )
            return
        self._told = sign
        frame = sys._current_frames().get(self._watched)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "  (its stack is unknown)\n"
        logger.error(
            "The event loop is blocked for %.1f s (MOCRA_LOOP_WATCHDOG = %g s): no request is sent, no answer read, no"
            " signal heeded. Something waits or computes without giving control back; it stands here, the last line"
            " is the innermost:\n%s",
            now - sign,
            self._limit,
            stack.rstrip(),
        )
