"""The loop of ``scrapy mocra worker``: takes crawls that ``scrapy cron`` starts with
``executor = "queue"``.

What is stored of such a run names a job, not what to execute: spider, arguments and settings come
from this worker's own jobs file. Otherwise whoever can write to the server could name classes that
are imported here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.cron.config import JobsFile
from mocra_scrapy.cron.job_store import Store, compare
from mocra_scrapy.cron.launch_spec import order_for
from mocra_scrapy.cron.launcher_pool import Launches
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.state import Run
from mocra_scrapy.exceptions import BackendError
from mocra_scrapy.settings.identity import worker_name

logger = logging.getLogger(__name__)

LOOK, REAP, AGAIN = 5.0, 0.5, 1.0


def takes(run: Run) -> bool:
    """Whether one more worker may join *run*; the claim decides."""
    over = any(part.ended is not None for part in run.parts)
    return run.executor == "queue" and run.active and not run.stop and not over and len(run.parts) < run.places


class WaitingWorker:
    """Runs up to *most* crawls at a time, each with a launcher of its own.

    Raises:
        ConfigurationError: the jobs file is wrong.
    """

    def __init__(self, options: CronOptions, most: int = 1, *, command: tuple[str, ...] = ()) -> None:
        self._options, self._most, self._command = options, most, command
        self.file = JobsFile(options.source())
        self.store = Store(options.address)
        self.launches = Launches(options.address, options.project)
        self._changed = asyncio.Event()
        self._told = ""  #: the digest of other jobs that was told of

    async def open(self) -> None:
        """Connect. Raises ConfigurationError, BackendUnavailable."""
        await self.store.open(self._options.start_timeout)
        logger.info("Waiting for crawls, %d at a time; state on %s", self._most, self.store)

    async def run(self, stop: asyncio.Event) -> None:
        """Take crawls until *stop*; then tell them to stop, and wait for them until *stop* is set
        again.
        """
        watcher = asyncio.create_task(self._listen())
        try:
            while not stop.is_set():
                self.file.reload()
                try:
                    self._told = await compare(self.store, self.file.jobs, self._told)
                    await self._look()
                except BackendError as error:
                    logger.warning("%s; nothing is taken until it answers", error)
                    await asyncio.sleep(AGAIN)
                await self._sleep(stop)
        finally:
            await end_tasks([watcher])
        self.launches.terminate()
        stop.clear()
        await self.launches.wait(stop)

    async def close(self) -> None:
        await self.store.close()

    async def _sleep(self, stop: asyncio.Event) -> None:
        """Until something changed, a place became free, or for ``LOOK`` seconds."""
        busy = len(self.launches.living())
        for _ in range(int(LOOK / REAP)):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), REAP)
            if self._changed.is_set() or stop.is_set() or len(self.launches.living()) < busy:
                break
        self._changed.clear()

    async def _listen(self) -> None:
        while True:
            try:
                async for _ in self.store.watch():
                    self._changed.set()
            except BackendError:
                await asyncio.sleep(AGAIN)

    async def _look(self) -> None:
        states = await self.store.everything()
        options, living = self._options, self.launches.living()
        for name, job in self.file.jobs.items():
            for run in states[name].state.runs if name in states else ():
                if run.id in living:
                    if run.parts:
                        self.launches.forget(run.id)  # it starts no more
                    continue
                if not takes(run):
                    self.launches.forget(run.id)
                elif len(self.launches.living()) < self._most:
                    order = order_for(
                        job,
                        run,
                        worker_name(),
                        options.address,
                        lease=options.lease,
                        settings=options.given,
                        command=self._command,
                    )
                    try:
                        if self.launches.start(run.id, order):
                            logger.info("Taking %s", run.id)
                    except OSError as error:  # a full disk, too many processes: later, or another worker
                        logger.error("No launcher could be started: %s", error)
