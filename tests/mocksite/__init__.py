"""The site that tests crawl, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from urllib.request import urlopen

from tests.services import warm
from tests.services.processes import unmeasured

ROOT = Path(__file__).resolve().parents[2]


class MockSite:
    """``with MockSite(pages=2000) as site: site.url``, see :mod:`tests.mocksite.site` for what it
    serves.
    """

    def __init__(self, pages: int = 100) -> None:
        self.pages = pages
        self.url = ""

    def __enter__(self) -> MockSite:
        command = [sys.executable, "-m", "tests.mocksite.site", str(self.pages)]
        self._process = warm.start(command, cwd=ROOT, env=unmeasured(), stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """For a :class:`~tests.services.processes.Stopwatch`: a site that waits for a processor counts late."""
        return self._process.pid

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Nothing is answered meanwhile, nor counted."""
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def _get(self, path: str) -> bytes:
        with urlopen(self.url + path, timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def arrivals(self) -> dict[str, list[float]]:
        """Path -> when it was fetched."""
        found: dict[str, list[float]] = json.loads(self._get("/_arrivals"))
        return found

    def peaks(self) -> dict[str, int]:
        """Group of ``/crowd`` pages -> the most that were under way at once."""
        found: dict[str, int] = json.loads(self._get("/_peaks"))
        return found

    def count(self, path: str) -> int:
        return len(self.arrivals().get(path, ()))

    def reset(self) -> None:
        self._get("/_reset")

    def gate(self, requests: int) -> None:
        """Answer pages only when that many are waited for at once: with less than that from each
        worker, all of them have got some.
        """
        self._get(f"/_gate/{requests}")

    def repair(self) -> None:
        """``/sick/…`` answers from now on."""
        self._get("/_repair")

    def free(self) -> None:
        """``/held/…`` answers from now on, until :meth:`reset`."""
        self._get("/_free")

    def ask_for_crawl_delay(self, seconds: float, takes: float = 0.0, refused: int = 0) -> None:
        """In a robots.txt that *takes* seconds, and of which the first *refused* are 503."""
        self._get(f"/_robots/{seconds}/{takes}/{refused}")
