"""Stops at random instants of a start: of ``scrapy cron run``, of a launcher, of a crawl.

``python -m tests.e2e.early_stops --instants 120`` starts so many and ends each, after a random part of
the time that a start takes. Each must be over within its grace, nothing of it may go on, and the
history must tell what happened. It prints a line of JSON, and what was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from mocra_scrapy.cron.job_store import Address, Store
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.launch_spec import order_for
from mocra_scrapy.cron.run_steps import cancel
from mocra_scrapy.cron.schedule import Schedule
from mocra_scrapy.cron.state import INTENDED, JobState, Run
from tests.e2e.projects import ONE_LINE, write_project

ROOT = Path(__file__).parents[2]
SLOW = """
import asyncio
import scrapy


class Slow(scrapy.Spider):
    name = "slow"

    async def start(self):
        await asyncio.sleep(3000)
        yield {}
"""
GRACE = 20.0  # s that a crawl has to end; on a busy machine a start takes that long
PATIENCE = 240.0  # s, of this test: whatever goes on longer goes on for ever
RUN = "slow@2026-01-01T00:00:00Z"
#: What a crawl says while it starts: from then on, or from its first breath on.
MARKS = ("", "started (bot", "Enabled extensions", "Enabled downloader", "Enabled item pipelines", "Spider opened")
#: How it is ended -> the outcomes that are true then; empty: it had not begun.
ENDS = {
    "runner": {""},
    "launcher": {"", "stopped"},
    "launcher killed": {"", "lost"},
    "crawl": {"stopped", "failed"},
    "cancel": {"cancelled"},
    "timeout": {"timeout"},
}


class Stage:
    """One project with one run to start."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.dice = dice
        backend = "memory://"
        self.project = write_project(folder / "shop", SLOW, ONE_LINE + f'MOCRA_BACKEND = "{backend}"\n')
        (self.project / "cron.toml").write_text('[jobs.slow]\nspider = "slow"\nschedule = "0 0 1 1 *"\n')
        self.address = Address(backend, "mocra", "shop", str(self.project / ".mocra-cron"))
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.env = {**os.environ, "PYTHONPATH": path}

    async def start(self, *command: str, told: bytes = b"") -> asyncio.subprocess.Process:
        with (self.project / "out.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", *command, cwd=self.project, env=self.env, stdin=asyncio.subprocess.PIPE,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(told)
            await process.stdin.drain()
            process.stdin.close()
        return process

    def here(self) -> dict[int, str]:
        """The processes of this project."""
        found = {}
        for cwd in Path("/proc").glob("[0-9]*/cwd"):
            with contextlib.suppress(OSError):
                if cwd.readlink() == self.project:
                    found[int(cwd.parent.name)] = (cwd.parent / "cmdline").read_text().replace("\0", " ")
        return found

    async def until(self, what: str, condition: object) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():  # type: ignore[operator]
            if time.monotonic() > deadline:
                log = (self.project / "out.log").read_text()[-2000:]
                raise AssertionError(f"not {what} after {PATIENCE:g} s: {self.here()}\n{log}")
            await asyncio.sleep(0.02)

    def crawl(self) -> int:
        return next((pid for pid, command in self.here().items() if "crawl_main" in command), 0)

    def said(self) -> str:
        return "".join(log.read_text() for log in (self.project / ".mocra-cron" / "runs" / "slow").glob("*.log"))

    async def soon(self, seconds: float) -> None:
        await asyncio.sleep(self.dice.uniform(0.0, seconds))

    async def play(self, end: str, span: float) -> str:
        """The outcome of the run, or what was wrong."""
        store = Store(self.address)
        await store.open()
        try:
            if end == "runner":
                process = await self.start("scrapy", "cron", "run")
                await self.soon(span)
                process.terminate()
                code = await asyncio.wait_for(process.wait(), PATIENCE)
                assert code in (0, -signal.SIGTERM), f"exit code {code}"
            else:
                await self._a_run(store, end, span)
            await self.until("over", lambda: not self.here())
            run = (await store.get("slow")).state.run(RUN)
            outcome = run.outcome if run is not None else ""
            silent = run is not None and run.parts and not outcome
            if silent and end == "launcher killed":  # what a leader says, that looks
                await self._are_dead(store, frozenset(part.worker for part in run.parts))
                outcome = "lost"
            assert outcome in ENDS[end], f"{outcome!r}: {run}"
            return outcome
        finally:
            await store.close()

    async def _are_dead(self, store: Store, workers: frozenset[str]) -> None:
        """The kernel closes the files of a process a moment after its working directory is gone."""
        deadline = time.monotonic() + PATIENCE
        while alive := await store.signs.alive("slow", workers):
            assert time.monotonic() < deadline, f"{set(alive)} look alive after {PATIENCE:g} s"
            await asyncio.sleep(0.02)

    async def _a_run(self, store: Store, end: str, span: float) -> None:
        run = Run(id=RUN, instant=0, due=0.0, state=INTENDED, intended=time.time())
        await store.change("slow", lambda _: JobState(runs=(run,)))
        job = Job("slow", "slow", Schedule("0 0 1 1 *"), stop_grace=GRACE)
        if end == "timeout":
            job = replace(job, timeout=max(0.01, self.dice.uniform(0.0, span)))
        order = order_for(job, run, "host-1-abcd", self.address, lease=15.0, settings={})
        launcher = await self.start("mocra_scrapy.cron.launcher_main", RUN, told=order.to_bytes())
        if end in ("launcher", "launcher killed"):
            await self.soon(span)
            launcher.send_signal(signal.SIGTERM if end == "launcher" else signal.SIGKILL)
        elif end in ("crawl", "cancel"):
            await self.until("begun", lambda: self.crawl() or launcher.returncode is not None)
            mark = self.dice.choice(MARKS)
            if mark:  # on a busy machine most of a span is Python's own start
                await self.until(mark, lambda: mark in self.said() or launcher.returncode is not None)
            await self.soon(0.3 if mark else span)
            if end == "crawl":
                if crawl := self.crawl():  # it may have ended, and 0 would be all of our own group
                    os.kill(crawl, signal.SIGTERM)
            else:
                await store.change("slow", lambda state: cancel(state, RUN, (), time.time()))
        code = await asyncio.wait_for(launcher.wait(), PATIENCE)
        assert code in (0, -signal.SIGTERM, -signal.SIGKILL), f"exit code {code} of the launcher"


async def play_all(seeds: range, span: float, at_once: int, only: str = "") -> tuple[Counter[str], list[str]]:
    """Ends that were met, and what was wrong. *only*: one kind of end."""
    met, wrong, places = Counter[str](), list[str](), asyncio.Semaphore(at_once)

    async def one(seed: int) -> None:
        async with places:
            end = only or list(ENDS)[seed % len(ENDS)]
            folder = Path(tempfile.mkdtemp(prefix="early-"))
            try:
                stage = Stage(folder, random.Random(seed))
                met[f"{end}: {await stage.play(end, span) or 'not begun'}"] += 1
            except (AssertionError, asyncio.TimeoutError) as error:
                wrong.append(f"seed {seed}, {end}: {error!r}")
                for pid in stage.here():
                    with contextlib.suppress(OSError):
                        os.kill(pid, signal.SIGKILL)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    await asyncio.gather(*map(one, seeds))
    return met, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instants", type=int, default=120)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--span", type=float, default=4.0, help="seconds of a start in which it is ended")
    parser.add_argument("--at-once", type=int, default=3)
    parser.add_argument("--only", choices=ENDS, default="", help="one kind of end")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.instants)
    met, wrong = asyncio.run(play_all(seeds, options.span, options.at_once, options.only))
    print(json.dumps({"instants": len(seeds), "wrong": len(wrong), **dict(sorted(met.items()))}))
    print(*wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
