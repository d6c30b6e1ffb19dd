"""Starting launchers, and knowing which of them live."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mocra_scrapy.cron.job_store import Address
from mocra_scrapy.cron.launch_spec import LaunchSpec
from mocra_scrapy.cron.local_processes import LAUNCHER, LauncherElsewhere, launchers_here

logger = logging.getLogger(__name__)

#: Launchers of one run that may end without having started it, before it is given up.
TRIES = 5
#: Launchers that start at once: a hundred jobs for the same minute are not to be a hundred times
#: Python's start at once. Seconds after which one that has not started its run counts no more: it
#: waits for something (a server that is away), and others may do better.
STARTING, PATIENCE = 8, 30.0


@dataclass(slots=True)
class _Launch:
    process: subprocess.Popen[bytes] | LauncherElsewhere
    tries: int
    since: float
    again_at: float = 0.0
    starting: bool = True  # until its run has begun, or it is dead


class Launches:
    """The launchers that this process started, by what they are to start.

    Args:
        address: where the state of their runs is. Their own messages go to ``launch.log`` in its
            folder; what a crawl says is in the run's log.
        project: where they run.
    """

    def __init__(self, address: Address, project: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.log, self._project, self._clock = Path(address.folder) / "launch.log", project, clock
        self._state = address.digest
        self._all: dict[str, _Launch] = {}

    def start(self, key: str, order: LaunchSpec) -> bool:
        """Start one, unless one lives, the last one ended a moment ago for nothing, or too many
        start already: then the answer is ``False``.
        """
        known = self._all.get(key)
        if known is not None:
            if self._lives(known) or known.tries >= TRIES:
                return False
            if not known.again_at:
                known.again_at = self._clock() + min(2.0 ** (known.tries - 1), 30)
            if self._clock() < known.again_at:
                return False
        if self._starting() >= STARTING:
            return False  # whoever leads is told when one of them has started its run
        self.log.parent.mkdir(parents=True, exist_ok=True)
        # A file, not a pipe: the order is there as a whole, or the launcher isn't.
        with tempfile.TemporaryFile() as told, self.log.open("ab") as log:
            told.write(order.to_bytes())
            told.seek(0)
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                (sys.executable, "-m", LAUNCHER, order.run, self._state),
                cwd=self._project,
                stdin=told,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the runner's terminal is not meant for the crawls
            )
        self._all[key] = _Launch(process, known.tries + 1 if known else 1, self._clock())
        return True

    def adopt(self) -> None:
        """Count those in that an earlier leader on this machine started. Without that each new leader
        starts all of them once more: one goes on, but a busy machine gets busier, and leaders change
        more often.
        """
        for run, process in launchers_here(self._state):
            if run not in self._all:
                self._all[run] = _Launch(process, 1, self._clock())

    def _lives(self, one: _Launch) -> bool:
        """Somebody else's is waited for as long as a start takes: nobody knows why it is late."""
        if isinstance(one.process, LauncherElsewhere) and self._clock() - one.since > PATIENCE:
            return False
        return one.process.poll() is None

    def _starting(self) -> int:
        until = self._clock() - PATIENCE
        return sum(one.starting and one.since > until and self._lives(one) for one in self._all.values())

    def hopeless(self) -> set[str]:
        """What so many launchers did not start that another one would not either."""
        return {key for key, one in self._all.items() if one.tries >= TRIES and not self._lives(one)}

    def living(self) -> set[str]:
        """What launchers that live are to start or have started. Looking at them also buries the
        dead.
        """
        return {key for key, one in self._all.items() if self._lives(one)}

    def forget(self, key: str) -> None:
        """*key* was started, or will never be. A launcher that lives is kept, to be buried later."""
        if key in self._all:
            self._all[key].starting = False
            if not self._lives(self._all[key]):
                del self._all[key]

    def next_try(self) -> float | None:
        """Monotonic time at which one may be started again; ``None``: nothing waits for that."""
        return min((one.again_at for one in self._all.values() if one.again_at), default=None)

    async def wait(self, stop: asyncio.Event) -> None:
        """Until all have ended, or *stop* is set."""
        while self.living() and not stop.is_set():
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.1)

    def terminate(self) -> None:
        """Tell all to stop their crawls."""
        for one in self._all.values():
            if one.process.poll() is None:
                one.process.terminate()
