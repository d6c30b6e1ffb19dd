"""A runner with a clock of the test's own, real launchers and real stores; its crawls only write down
that they were started.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mocra_scrapy.cron.job_store import Address, Store
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.runner import Runner
from mocra_scrapy.cron.state import ENDED, JobState, Run

#: A midnight.
T = 1_795_392_000 - 1_795_392_000 % 86_400


class Bench:
    """A project with one job, and a clock that stands still unless it is moved."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url, self.now = folder, url, float(T)
        self.ticks = 0.0
        self.starts = folder / "starts"
        self.all: list[Runner] = []
        self.jobs('schedule = "*/10 * * * *"')

    async def close(self) -> None:
        deadline = time.monotonic() + 30
        for runner in self.all:
            while runner.launches.living():
                if time.monotonic() > deadline:
                    runner.launches.terminate()
                await asyncio.sleep(0.05)

    def jobs(self, *lines: str) -> None:
        text = "\n".join(["[jobs.shop]", 'spider = "shop"', 'success = "exit_code == 0"', *lines, ""])
        (self.folder / "cron.toml").write_text(text)

    @property
    def options(self) -> CronOptions:
        address = Address(self.url, "mocra", "test", str(self.folder / "cron"))
        return CronOptions(address, self.folder, None, 1.0, {}, 15.0)

    def runner(self, command: str = "") -> Runner:
        shell = ("sh", "-c", command or f"cat >> {self.starts}; echo >> {self.starts}")
        return Runner(self.options, wall=lambda: self.now, clock=lambda: self.ticks or time.monotonic(), command=shell)

    def started(self) -> list[str]:
        text = self.starts.read_text() if self.starts.exists() else ""
        return re.findall(r'"run": "shop@[^T]*T([^"]+)"', text)

    @asynccontextmanager
    async def leading(self, command: str = "") -> Any:
        """A runner that leads; it looks when it is told to. Its launchers outlive it, as they
        would, but not the test.
        """
        runner = self.runner(command)
        self.all.append(runner)
        await runner.open()
        try:
            term = await runner.store.election.campaign(runner.name, 60)
            assert term is not None
            yield runner, term.number
            await runner.store.election.resign(runner.name, term.number)
        finally:
            await runner.close()

    async def state(self) -> JobState:
        store = Store(self.options.address)
        await store.open()
        try:
            return (await store.get("shop")).state
        finally:
            await store.close()

    async def until(
        self, condition: Callable[[JobState], object], look: Callable[[], Awaitable[object]] | None = None
    ) -> JobState:
        """Look again and again until the state is so."""
        deadline = time.monotonic() + 240
        while True:
            if look is not None:
                await look()
            state = await self.state()
            if condition(state):
                return state
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.05)


def all_ended(state: JobState) -> bool:
    return all(run.state == ENDED for run in state.runs)


def outcomes(state: JobState) -> list[tuple[str, str]]:
    def minute(run: Run) -> str:
        return run.id.partition("T")[2][:5] + ("#" + run.id.partition("#")[2] if run.attempt > 1 else "")

    return [(minute(run), run.outcome or run.state) for run in state.runs]
