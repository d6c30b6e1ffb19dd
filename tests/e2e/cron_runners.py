"""Real cron runners and workers, and what they started.

``python -m tests.e2e.cron_runners STARTS BACKEND LEASE`` is ``scrapy cron run`` but for its crawls,
which only write down that they were started: a real crawl every second would be too much for a
test.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mocra_scrapy.backends import open_backend
from mocra_scrapy.cron.job_store import Address, Store
from mocra_scrapy.cron.state import as_json
from tests.services import warm
from tests.services.processes import eventually, unmeasured

ROOT = Path(__file__).parents[2]


class Runners:
    """Processes of one project, ended with the test."""

    def __init__(self, project: Path, backend: str) -> None:
        self.project, self.backend = project, backend
        self.starts = project / "starts"
        self.all: list[warm.AnyProcess] = []

    def run(self, *command: str, module: str = "scrapy") -> warm.AnyProcess:
        """``scrapy …``, in the background."""
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        with (self.project / f"process{len(self.all)}.log").open("wb") as log:
            process = warm.start(
                [sys.executable, "-m", module, *command],
                cwd=self.project,
                env={**unmeasured(), "PYTHONPATH": path},
                stdout=log,
                stderr=log,
            )
        self.all.append(process)
        return process

    def runner(self, *more: str) -> warm.AnyProcess:
        return self.run("cron", "run", "--lease", "1.5", "-s", f"MOCRA_BACKEND={self.backend}", *more)

    def light_runner(self, lease: float = 1.5, backend: str = "") -> warm.AnyProcess:
        return self.run(str(self.starts), backend or self.backend, str(lease), module="tests.e2e.cron_runners")

    def logs(self) -> str:
        return "\n".join(p.read_text(errors="replace")[-4000:] for p in sorted(self.project.glob("process*.log")))

    def started(self) -> list[str]:
        """Run ids, in the order of their crawls' starts."""
        return re.findall(r'"run": "([^"]+)"', self.starts.read_text()) if self.starts.exists() else []

    def history(self, job: str = "") -> list[dict[str, Any]]:
        """As ``scrapy cron history --json`` tells it, without a process for each look."""

        async def read() -> list[dict[str, Any]]:
            store = Store(Address(self.backend, "mocra", "shop", str(self.project / ".mocra-cron")))
            try:
                await store.open()
                states = await store.everything()
            finally:
                await store.close()
            runs = [run for name, one in states.items() if job in ("", name) for run in one.state.runs]
            return [as_json(run) for run in sorted(runs, key=lambda run: (run.due, run.id))]

        return asyncio.run(read())

    def until(self, condition: Any, seconds: float = 300, what: str = "") -> None:
        try:
            eventually(condition, seconds, what)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error

    def until_ended(self, job: str, outcome: str, seconds: float = 300) -> dict[str, Any]:
        """The first run of *job* that ended so."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = [run for run in self.history(job) if run["outcome"] == outcome]
            return bool(found)

        self.until(look, seconds, f"{job} {outcome}")
        return found[0]

    def leader(self, name: str = "cron:shop", but: warm.AnyProcess | None = None) -> warm.AnyProcess:
        """The process that leads now; wait until it is another one than *but*."""

        async def ask() -> str | None:
            backend = open_backend(self.backend)
            await backend.open()
            try:
                term = await backend.election(name).leader()
                return term.leader if term else None
            finally:
                await backend.close()

        found: list[warm.AnyProcess] = []

        def look() -> bool:
            leader = asyncio.run(ask())
            found[:] = [
                p
                for p in self.all
                if leader and leader.split("-")[-2] == str(p.pid) and p.poll() is None and p is not but
            ]
            return bool(found)

        self.until(look, what="a leader")
        return found[0]

    def kill(self) -> None:
        for process in self.all:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.all:
            try:
                process.wait(90)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._end_launchers()

    def _end_launchers(self) -> None:
        """Launchers have no parent any more; each is named in the state that it wrote, or holds the
        project as its working folder.
        """
        for cwd in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if cwd.readlink() == self.project:
                    os.kill(int(cwd.parent.name), signal.SIGKILL)


def sleep_until(fraction: float, every: int = 1) -> None:
    """To so many seconds after the next instant (or before, below 0) of a job for each *every*
    seconds, by the wall clock: where instants are.
    """
    time.sleep((fraction - time.time()) % every)


def gaps(instants: Iterable[int], every: int = 1) -> list[int]:
    """Instants that are missing between the first and the last."""
    there = set(instants)
    return [instant for instant in range(min(there), max(there), every) if instant not in there]


def seconds_between_starts() -> int:
    """As many as this machine needs: a launcher that is made cold takes a second of CPU on a slow
    one, and what is late makes it busier. ``CHAOS_EVERY`` says another number, for a machine that does
    other things as well.
    """
    if told := int(os.environ.get("CHAOS_EVERY", "0")):
        return told
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import mocra_scrapy.cron.launcher_main"], check=True, env=unmeasured())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    needed = 2 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return next((step for step in (1, 2, 3, 4, 5, 6, 10) if step >= needed), 12)


async def main(starts: str, backend: str, lease: str) -> None:
    from scrapy.settings import Settings

    from mocra_scrapy.cron.options import read_cron_options
    from mocra_scrapy.cron.runner import Runner

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    options = read_cron_options(Settings({"BOT_NAME": "shop", "MOCRA_BACKEND": backend}))
    runner = Runner(options, command=("sh", "-c", f"cat >> {starts}; echo >> {starts}"))
    await runner.open()
    try:
        await runner.run(stop, float(lease))
    finally:
        await runner.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
