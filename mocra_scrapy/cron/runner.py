"""The loop of ``scrapy cron run``: one of all runners leads; it decides what is due, stores that,
and starts launchers.

What is lost when a runner dies between two of its steps? Nothing: an instant is decided by the
compare-and-set that moves the stored last instant on; an intent that was stored but given to no
launcher, or to one that died, is given to another one by whoever leads next; of several launchers
one starts the run, by a compare-and-set of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from itertools import count

from scrapy.signalmanager import SignalManager

from mocra_scrapy._tasks import end_tasks
from mocra_scrapy.coordination.clock import boot_clock
from mocra_scrapy.coordination.leadership import Candidate
from mocra_scrapy.cron.alerts import PATIENCE, Alerts
from mocra_scrapy.cron.config import JobsFile
from mocra_scrapy.cron.crawl_process import forget_files
from mocra_scrapy.cron.folder import make_usable
from mocra_scrapy.cron.job_store import Store, Stored, compare
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.launch_spec import order_for
from mocra_scrapy.cron.launcher_pool import Launches
from mocra_scrapy.cron.leader_note import LeaderNote, jobs_digest
from mocra_scrapy.cron.options import CronOptions
from mocra_scrapy.cron.policy import decide, next_due, remove
from mocra_scrapy.cron.run_log import RunLog, sends_signals
from mocra_scrapy.cron.run_steps import end, retry
from mocra_scrapy.cron.silence import Silence
from mocra_scrapy.cron.state import ENDED, INTENDED, JobState, Run
from mocra_scrapy.exceptions import BackendError, BackendUnavailable
from mocra_scrapy.models import Term
from mocra_scrapy.models.wording import counted
from mocra_scrapy.settings.identity import worker_name

logger = logging.getLogger(__name__)

#: Seconds between two looks at everything, at most; at the jobs file; after a failure.
LOOK, RELOAD, AGAIN = 5.0, 1.0, 1.0
#: Seconds between two looks for files that nobody remembers.
CLEAN = 3600
#: Seconds for which the history of a job that left the file is kept, and the files of its runs.
KEEP_GONE = 30 * 86_400.0


class Runner:
    """One runner.

    Args:
        options: see :class:`~mocra_scrapy.cron.options.CronOptions`.
        wall: seconds since the epoch; decides what is due.
        clock: monotonic seconds; decides who is silent for too long, and what it believes to lead.
        command: what runs a crawl, for tests; empty: the real thing.

    Attributes:
        signals: sends ``cron_run_ended`` and its like (:mod:`mocra_scrapy.signals`) as long as it
            leads.

    Raises:
        ConfigurationError: the jobs file is wrong.
    """

    def __init__(
        self,
        options: CronOptions,
        *,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = boot_clock,
        command: tuple[str, ...] = (),
    ) -> None:
        self._options, self._wall, self._clock, self._command = options, wall, clock, command
        self.name = worker_name()
        self.store = Store(options.address)
        self.launches = Launches(options.address, options.project, clock)
        self.file = JobsFile(options.source())
        self._silence = Silence(options.lease, clock)
        self._digest = ""  #: of the jobs that it, or another leader, was last seen to have
        self._since = (0, 0.0)  #: its last term, and when that began
        self._alerts = Alerts(self.store)
        self.candidate: Candidate | None = None
        self.log, self.signals = RunLog(wall), SignalManager(self)
        self.log.listeners.append(sends_signals(self.signals))
        self._unstarted = ""  #: why the last look could not start a launcher
        self._trouble = ""  #: what was said last of a backend, or a disk, that can't be used
        self._changed = asyncio.Event()

    @property
    def jobs(self) -> Mapping[str, Job]:
        return self.file.jobs

    # ------------------------------------------------------------------ life

    async def open(self) -> None:
        """Connect.

        Raises:
            ConfigurationError: the folder can't be written to; or, on ``memory://``, another
                runner lives.
            BackendUnavailable: nobody answered.
        """
        make_usable(self.store.folder)
        await self.store.open(self._options.start_timeout)
        if self.store.files is not None:
            self.store.files.take()
        logger.info("%s in %s, state on %s", counted(len(self.jobs), "job"), self.file.source, self.store)

    async def run(self, stop: asyncio.Event, lease: float = 15.0) -> None:
        """Contend and lead until *stop*; then resign. Runs that go on are left to their launchers.

        Another runner takes over within *lease* seconds and a retry.
        """
        self.candidate = candidate = Candidate(
            self.store.election,
            self.name,
            lease=lease,
            renew=lease / 3,
            deadline=lease * 2 / 3,
            retry=min(2.0, lease / 3),
            clock=self._clock,
        )
        candidate.task(self._lead)
        async with candidate:
            for tick in count():
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), RELOAD)
                if stop.is_set():
                    return
                if self.file.reload():
                    self._changed.set()
                self.launches.living()  # buries the dead, also when another runner leads by now
                if tick % LOOK == 0 and not candidate.is_leader:
                    await self.compare()
                if tick % CLEAN == 0:
                    await self.clean()

    async def compare(self) -> None:
        """Say so, once, when the leader has other jobs than this runner: then these never run."""
        self._digest = await compare(self.store, self.jobs, self._digest)

    async def clean(self) -> None:
        """Delete the files on this machine of jobs that neither the file nor the state knows."""
        with contextlib.suppress(BackendError, OSError):
            known = {*self.jobs, *await self.store.everything()}
            for folder in (self.store.folder / "runs").iterdir():
                if folder.name not in known:
                    forget_files(self.store.folder, folder.name)

    async def once(self, patience: float = 60.0) -> bool:
        """Decide and start what is due now, wait until it has started, and resign. ``False``:
        another runner leads.

        What becomes due while it waits is left to the next call: a job for every second must not
        keep this one for ever.
        """
        term = await self.store.election.campaign(self.name, 30.0)
        if term is None:
            await self.compare()
            return False
        deadline, now = self._clock() + patience, self._wall()
        try:
            while True:
                await self.look(term.number, now)
                starting = [run for run in await self._intended() if run.executor == "process"]
                if not starting or self._clock() > deadline:
                    await self._alerts.finish(PATIENCE)
                    return True
                await self.store.election.renew(self.name, term.number, 30.0)
                await asyncio.sleep(0.2)
        finally:
            with contextlib.suppress(BackendError):
                await self.store.election.resign(self.name, term.number)

    async def close(self) -> None:
        await self.store.close()

    # ------------------------------------------------------------------ leading

    async def _lead(self, term: Term) -> None:
        logger.info("%s leads, term %d", self.name, term.number)
        self._silence.term_begins()
        self.launches.adopt()
        self._digest = ""
        watcher = asyncio.create_task(self._listen())
        try:
            while True:
                try:
                    pause = await self.look(term.number)
                except BackendError as error:
                    self._say(str(error))
                    self._silence.gap()  # launchers could not sign either, and need time to sign again
                    pause = AGAIN
                else:
                    if self._trouble:
                        logger.info("The state can be used again: what is due is started")
                        self._trouble = ""
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), pause)
                self._changed.clear()
        finally:
            await end_tasks([watcher])
            await self._alerts.end()

    async def _listen(self) -> None:
        while True:
            try:
                async for _ in self.store.watch():
                    self._changed.set()
            except BackendError:
                await asyncio.sleep(AGAIN)

    async def look(self, number: int, until: float | None = None) -> float:
        """Decide about every job in term *number*, and start what is to be started. Seconds until
        the next look is due.

        What is due after *until* (default: now) is left alone.
        """
        now = self._wall() if until is None else until
        await self._write_note(number, now)
        states = await self.store.everything()
        dues = []
        for job in list(self.jobs.values()):
            state = await self._decide(job, states.get(job.name, Stored(JobState())), number, now)
            due = None if state is None else next_due(job, state, now)
            dues += [due] if due is not None else []
        for name in states.keys() - self.jobs.keys():
            await self._let_go(name, states[name], number, now)
        unstarted, self._unstarted = self._unstarted, ""
        if unstarted:  # all that could be done without was done
            raise BackendUnavailable(f"No launcher can be started in {self.store.folder}: {unstarted}")
        pause = min(dues, default=self._wall() + LOOK) - self._wall()
        tries = self.launches.next_try()
        if tries is not None:
            pause = min(pause, tries - self._clock())
        return max(0.0, min(pause, LOOK))

    def _say(self, trouble: str) -> None:
        """Once, not at each look of a night."""
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning("%s; nothing is started until it can be used", trouble)

    async def _write_note(self, number: int, now: float) -> None:
        digest = jobs_digest(self.jobs)
        if number != self._since[0]:
            self._since = number, now  # and not since the jobs file changed
        if digest != self._digest:
            told = self.name, socket.gethostname(), os.getpid(), *self._since, digest
            await self.store.write_note(LeaderNote(*told, str(self.file.source), tuple(self.jobs)))
            self._digest = digest

    async def _let_go(self, name: str, old: Stored, number: int, now: float) -> None:
        """A job that is not in the file (any more): nothing of it starts, and after a month nothing of
        it is remembered.
        """
        if old.state.broken:
            return
        lost, silent = await self._silence.judge(self.store.signs, name, old.state, 0.0, now)
        new = remove(old.state, now, lost=lost, silent=silent)
        ended = [run.ended or 0.0 for run in new.runs]
        if all(run.state == ENDED for run in new.runs) and (new.last or 0) < now - KEEP_GONE > max(ended, default=0.0):
            await self.store.shared.put(name, None, version=old.version, fence=number)
        elif new != old.state:
            await self.store.put(name, old, new, fence=number)

    async def _decide(self, job: Job, old: Stored, number: int, now: float) -> JobState | None:
        """The state after the decision; ``None``: a later term has written, or the state can't be
        read.
        """
        if old.state.broken:
            return None
        while True:
            lost, silent = await self._silence.judge(self.store.signs, job.name, old.state, job.stop_grace, now)
            new = decide(job, old.state, now, launching=self.launches.living(), lost=lost, silent=silent)
            new = self._give_up(job, new)
            if new == old.state:
                break
            stored = await self.store.put(job.name, old, new, fence=number)
            if stored is not None:
                break
            old = await self.store.get(job.name)
            if old.fence > number:
                logger.warning("A later term than %d has decided on %s", number, job.name)
                return None
        self.log.look(job.name, new)
        self._alerts.look(job, new)
        for run in new.runs:
            if run.state == INTENDED and run.executor == "process":
                self._launch(job, run)
            else:
                self.launches.forget(run.id)
        return new

    def _launch(self, job: Job, run: Run) -> None:
        options = self._options
        order = order_for(
            job, run, worker_name(), options.address, lease=options.lease, settings=options.given, command=self._command
        )
        try:
            self.launches.start(run.id, order)
        except OSError as error:
            self._unstarted = str(error)

    def _give_up(self, job: Job, state: JobState) -> JobState:
        for run in state.runs:
            if run.state == INTENDED and run.id in self.launches.hopeless():
                reason = f"launchers could not start it; see {self.launches.log}"
                state = state.with_run(end(run, "failed", reason, self._wall()))
                state = retry(state, run.id, job.retries, job.retry_delay, self._wall())
        return state

    async def _intended(self) -> list[Run]:
        states = await self.store.everything()
        return [run for name in self.jobs if name in states for run in states[name].state.runs if run.state == INTENDED]
