"""``python -m mocra_scrapy.cron.launcher_main``: starts one run, watches over it, and stores how it
ended. One process for each run.

It lives apart from the runner: when that one dies, or another one leads, runs go on, keep their
time-outs, and are recorded. It claims the run by a compare-and-set first, so of several launchers
of one run, one goes on. Its order comes on the standard input.

Exit codes: 0 the run was started and recorded, 2 the order can't be read, 3 not to be started (any
more), 4 the backend was away.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

from mocra_scrapy.cron.crawl_process import CrawlProcess, Result, prune, report_of
from mocra_scrapy.cron.guards import guard
from mocra_scrapy.cron.job_store import Store
from mocra_scrapy.cron.judgement import run_stats
from mocra_scrapy.cron.launch_spec import LaunchSpec, file_stem
from mocra_scrapy.cron.local_processes import this_machine
from mocra_scrapy.cron.run_steps import claim, end_part, retry
from mocra_scrapy.cron.state import JobState, Part, Run
from mocra_scrapy.exceptions import BackendError, BackendUnavailable, MocraError

logger = logging.getLogger("mocra_scrapy.cron.launcher_main")

STARTED, BAD_ORDER, NOT_MINE, AWAY = 0, 2, 3, 4
#: Seconds between two looks at the child, and at the stored state when nothing tells of changes.
LOOK, ASK = 0.2, 2.0
#: Seconds to go on trying to store how a run ended; to claim it: for so long no other launcher is tried.
PATIENCE, CLAIM = 600.0, 30.0


class Launcher:
    """One run, or one worker's part of it."""

    def __init__(self, order: LaunchSpec, store: Store) -> None:
        self._order, self._store = order, store
        self._crawl = CrawlProcess(order)
        self._part = Part(
            worker=order.worker, host=socket.gethostname(), pid=os.getpid(), log=order.log, machine=this_machine()
        )
        self._run: Run | None = None
        self._state = JobState()
        self._asked_at = self._signed_at = 0.0
        self._disowned = self._told = False

    async def run(self) -> int:
        """All of it; the exit code."""
        order = self._order
        # Before the claim: a signal between claim and crawl would end this process, and leave a run
        # that nobody watches.
        for which in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(which, self._leave)
        if not await self._store.signs.give(order.job, order.worker, order.lease):
            return AWAY
        self._signed_at = time.monotonic()
        # Signed first, then claimed: nobody sees it running without a sign of life.
        mine = replace(self._part, started=time.time())
        state = await self._claim(mine)
        if state is None:
            await self._store.signs.end(order.job, order.worker)
            return NOT_MINE
        self._part, self._run, self._state = mine, state.run(order.run), state
        self._crawl.inherit = self._store.signs.inherited(order.worker)
        try:
            self._crawl.start()
        except OSError as error:
            await self._record(Result("failed", f"it could not be started: {error}", 127))
            return STARTED
        if self._told:
            self._crawl.stop("stopped")
        code = await self._watch()
        if not self._disowned:
            await self._record(self._crawl.result(code))
        stems = {file_stem(run.id) for run in self._state.runs}
        prune(Path(order.log).parent, stems, order.history + order.history_failed)
        return STARTED

    async def _claim(self, mine: Part) -> JobState | None:
        """Repeated while nobody answers: what was claimed by a call without an answer would run for
        nobody, and count as lost.
        """
        deadline = time.monotonic() + CLAIM
        while True:
            try:
                return await self._store.change(self._order.job, lambda state: claim(state, self._order.run, mine))
            except BackendUnavailable:
                if time.monotonic() > deadline or self._told:
                    raise
            await asyncio.sleep(LOOK)
            await self._sign()

    def _leave(self) -> None:
        self._told = True
        if self._crawl.started:
            self._crawl.stop("stopped")

    async def _watch(self) -> int:
        """Until the crawl has ended: its exit code."""
        changed = asyncio.Event()
        watcher = asyncio.create_task(self._listen(changed))
        try:
            while (code := self._crawl.poll()) is None:
                await self._sign()
                if changed.is_set() or time.monotonic() - self._asked_at > ASK:
                    changed.clear()
                    await self._obey()
                await asyncio.sleep(LOOK)
            return code
        finally:
            watcher.cancel()
            await asyncio.wait([watcher])

    async def _listen(self, changed: asyncio.Event) -> None:
        while True:
            try:
                async for name in self._store.watch():
                    if name in (self._order.job, "*"):
                        changed.set()
            except BackendError:
                await asyncio.sleep(ASK)

    async def _sign(self) -> None:
        if time.monotonic() - self._signed_at < self._order.lease / 3:
            return
        self._signed_at = time.monotonic()
        try:
            await asyncio.wait_for(
                self._store.signs.give(self._order.job, self._order.worker, self._order.lease), self._order.lease / 3
            )
        except (BackendError, asyncio.TimeoutError) as error:
            logger.warning("The sign of life could not be stored: %s", error)

    async def _obey(self) -> None:
        """Look whether the run is to stop, or was taken for lost."""
        self._asked_at = time.monotonic()
        try:
            stored = await asyncio.wait_for(self._store.get(self._order.job), ASK)
        except (BackendError, asyncio.TimeoutError) as error:
            logger.warning("It can't be read whether this run is to stop: %s", error)
            return
        run = stored.state.run(self._order.run)
        if run is None:
            return  # the server lost its memory; the end is recorded all the same
        self._run = run
        mine = next((part for part in run.parts if part.worker == self._order.worker), None)
        if mine is None or mine.ended is not None:
            # Paused for longer than the lease: it counts as lost, and the next attempt may be going
            # on.
            logger.error("Run %s was considered lost; its crawl is stopped", self._order.run)
            self._disowned = True
            self._crawl.kill()
        elif run.stop:
            self._crawl.stop(run.stop)

    async def _record(self, result: Result) -> None:
        order, ended = self._order, time.time()
        part = replace(self._part, ended=ended, **result._asdict())
        stats = run_stats(result.exit_code, report_of(order.report)) if order.expect else {}

        def step(state: JobState) -> JobState:
            if state.run(order.run) is None and self._run is not None:
                state = state.with_run(self._run)  # whoever emptied the server did not mean the history of what runs
            state = guard(end_part(state, order.run, part), order.run, order.expect, stats)
            state = retry(state, order.run, order.retries, order.retry_delay, ended)
            return state.trimmed(order.history, order.history_failed)

        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._state = await self._store.change(order.job, step) or self._state
                await self._store.signs.end(order.job, order.worker)
            except BackendError as error:
                if time.monotonic() > deadline:
                    logger.error("The end of run %s could not be stored: %s", order.run, error)
                    return
                await asyncio.sleep(ASK)
                await self._sign()
            else:
                return


async def launch(order: LaunchSpec) -> int:
    """Connect, run *order*, disconnect; the exit code."""
    store = Store(order.address)
    try:
        await store.open()
        return await Launcher(order, store).run()
    except MocraError as error:
        logger.error("Run %s was not started: %s", order.run, error)
        return AWAY
    finally:
        await store.close()


def main() -> int:
    logging.basicConfig(format="%(asctime)s [%(process)d] %(levelname)s: %(message)s", level=logging.INFO)
    try:
        order = LaunchSpec.from_bytes(sys.stdin.buffer.read())
    except (ValueError, KeyError, TypeError) as error:
        logger.error("This is not an order: %s", error)
        return BAD_ORDER
    return asyncio.run(launch(order))


if __name__ == "__main__":
    sys.exit(main())
