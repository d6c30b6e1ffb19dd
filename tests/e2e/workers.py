"""Real ``scrapy crawl`` processes, and what they did."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.mocksite import MockSite
from tests.services import warm
from tests.services.processes import eventually, unmeasured

PROJECT = Path(__file__).parent / "project"


class Workers:
    """Starts workers of one crawl and reads the events that the project's ``Watch`` extension
    writes.
    """

    def __init__(self, folder: Path, backend: str, project: Path = PROJECT) -> None:
        self.folder = folder
        self.project = project
        self.backend = backend
        self.watch = folder / "events.jsonl"
        self.all: list[warm.AnyProcess] = []

    def start(
        self,
        spider: str,
        environment: dict[str, str] | None = None,
        *,
        cold: bool = False,
        stdin: int = subprocess.DEVNULL,
        **arguments: Any,
    ) -> warm.AnyProcess:
        """One worker; arguments in capitals are settings, others go to the spider. See
        :mod:`tests.services.warm` for *cold*. *stdin*: a descriptor.
        """
        command = [sys.executable, "-m", "scrapy", "crawl", spider, "-L", "INFO"]
        command += ["-s", f"MOCRA_BACKEND={self.backend}"]
        for name, value in arguments.items():
            command += ["-s" if name.isupper() else "-a", f"{name}={value}"]
        env = {
            **unmeasured(),
            "WATCH": str(self.watch),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }
        with (self.folder / f"worker{len(self.all)}.log").open("wb") as log:
            worker = warm.start(command, cwd=self.project, env=env, stdin=stdin, stdout=log, stderr=log, cold=cold)
        self.all.append(worker)
        return worker

    def together(self, count: int, site: MockSite, spider: str, **arguments: Any) -> None:
        """*count* workers that are all there before the first page is answered: else a late one
        would begin the next run.
        """
        with site.stopped():
            first = len(self.all)
            for _ in range(count):
                self.start(spider, site=site.url, **arguments)
            for number in range(first, first + count):
                self.until_open(number)

    def until_open(self, number: int) -> None:
        """Until that worker's spider is open.

        Raises:
            AssertionError: it ended, or takes for ever; with its log and where it stands.
        """
        worker = self.all[number]

        def is_open_or_over() -> bool:
            # LogStats says so when the spider is open, and by then its scheduler has joined.
            return "Crawled 0 pages" in self.log(number) or worker.poll() is not None

        try:
            eventually(is_open_or_over, what=f"worker {number} is open")
        except TimeoutError as error:
            worker.send_signal(signal.SIGUSR2)  # a warm one says which line it is at
            time.sleep(1)
            raise AssertionError(f"{error}\n{self.log(number)}") from error
        assert "Crawled 0 pages" in self.log(number), f"worker {number} ended: {worker.poll()}\n{self.log(number)}"

    def wait(self, seconds: float = 300) -> list[int]:
        """Exit codes of all; those that don't end in time are killed and the test fails."""
        deadline = time.monotonic() + seconds
        try:
            return [worker.wait(max(0.1, deadline - time.monotonic())) for worker in self.all]
        except subprocess.TimeoutExpired as error:
            logs = "\n".join(self.log(i)[-3000:] for i in range(len(self.all)))
            raise AssertionError(f"a worker did not end within {seconds} s\n{logs}") from error
        finally:
            self.kill()

    def kill(self) -> None:
        for worker in self.all:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()

    def log(self, number: int = 0) -> str:
        return (self.folder / f"worker{number}.log").read_text(errors="replace")

    def events(self, kind: str | None = None, pid: int | None = None) -> list[dict[str, Any]]:
        if not self.watch.exists():
            return []
        lines = self.watch.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [e for e in found if kind in (None, e["event"]) and pid in (None, e["pid"])]

    def until(self, kind: str, count: int = 1, seconds: float = 180, **match: Any) -> dict[str, Any]:
        """Wait until *count* events of a kind were seen; the last of them."""

        def seen() -> list[dict[str, Any]]:
            found = [e for e in self.events(kind) if all(e.get(k) == v for k, v in match.items())]
            return found if len(found) >= count else []

        try:
            eventually(seen, seconds, f"{count} × {kind} {match}")
        except TimeoutError as error:
            logs = "\n".join(self.log(i)[-3000:] for i in range(len(self.all)))
            raise AssertionError(f"{error}\n{logs}") from error
        return seen()[-1]

    def waited(self) -> float:
        """Seconds for which those that closed waited for a processor: what a busy machine may add to a
        time that is promised.
        """
        return sum(float(event["waited"]) for event in self.events("closed"))

    def stats(self) -> dict[str, Any]:
        """The stats of all workers that closed, added up."""
        total: dict[str, Any] = {}
        for event in self.events("closed"):
            for name, value in event["stats"].items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    total[name] = total.get(name, 0) + value
        return total
