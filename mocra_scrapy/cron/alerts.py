"""Telling somebody how a run ended: a command that gets the run as JSON on its standard input, or a
webhook that it is posted to.

What is owed stands beside the run (``Run.alert``), so a leader that dies between the end of a run
and the alert leaves it to the next one: an alert may come twice, it is not forgotten. Alerts never
stand in the way of runs: each has a task of its own, a limited time, and a limited number of tries;
webhooks have threads of their own, for which nobody waits (the loop's are those that read states).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mocra_scrapy._tasks import end_tasks, in_a_thread
from mocra_scrapy.cron.alert_rules import DUE
from mocra_scrapy.cron.run_json import run_json
from mocra_scrapy.cron.state import JobState, Run
from mocra_scrapy.exceptions import BackendError

if TYPE_CHECKING:
    from mocra_scrapy.cron.job_store import Store
    from mocra_scrapy.cron.jobs import Job

logger = logging.getLogger(__name__)

#: Tries of one alert; seconds for each; seconds to the second try, doubled for each further one.
TRIES, PATIENCE, AGAIN = 5, 30.0, 5.0
#: Tries that go on at once: after an outage a hundred jobs may have failed.
AT_ONCE = 8


class Alerts:
    """The alerts that one leader is sending.

    Args:
        store: where it is written down that one was sent.
        send: does it; raises when it can't (for tests).
    """

    def __init__(self, store: Store, send: Callable[[tuple[str, ...], bytes], object] | None = None) -> None:
        self._store, self._send = store, send
        self._tasks: dict[str, asyncio.Task[None]] = {}
        # Job -> what was written down and may still be owed in a state that was read before.
        self._settled: dict[str, set[tuple[str, str]]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)

    def look(self, job: Job, state: JobState) -> None:
        """Send what is owed, in the background; what was sent meanwhile is not, however old *state* is."""
        owed = [run for run in state.runs if run.alert.startswith(DUE)]
        settled = self._settled.get(job.name, set())
        settled &= {(run.id, run.alert) for run in owed}
        for run in owed:
            if run.id not in self._tasks and (run.id, run.alert) not in settled:
                event = run.alert.removeprefix(DUE)
                task = asyncio.create_task(self._tell(job, event, run), name=f"mocra cron alert {run.id}")
                self._tasks[run.id] = task
                task.add_done_callback(lambda _, name=run.id: self._tasks.pop(name, None))  # type: ignore[misc]

    async def finish(self, patience: float) -> None:
        """Wait for those that are on the way, so many seconds at most."""
        if self._tasks:
            await asyncio.wait(set(self._tasks.values()), timeout=patience)
        await self.end()

    async def end(self) -> None:
        """Stop: the next leader sends what is still owed."""
        await end_tasks(list(self._tasks.values()))

    async def _tell(self, job: Job, event: str, run: Run) -> None:
        target: tuple[str, ...] = getattr(job, event, ())
        told = json.dumps({"event": event, **run_json(job.name, run)}).encode()
        became, tries = "dropped", 0  # the jobs file names nobody any more
        while target and tries < TRIES:
            tries += 1
            try:
                async with self._places:
                    await asyncio.wait_for(self._once(target, told), PATIENCE)
            except Exception as error:  # whatever a server may answer: it counts as one try
                became = "failed"
                why = f"no answer within {PATIENCE:g} s" if _is_late(error) else str(error) or repr(error)
                logger.warning("Alert %s of %s, try %d of %d: %s", event, run.id, tries, TRIES, why)
                if tries < TRIES:
                    await asyncio.sleep(AGAIN * 2 ** (tries - 1))
            else:
                became = "sent"
                break
        await self._write_down(job.name, run, f"{became}:{event}", tries)

    async def _once(self, target: tuple[str, ...], told: bytes) -> None:
        if self._send is not None:
            self._send(target, told)
        elif target[0].startswith(("http://", "https://")):
            await in_a_thread(lambda: _post(target[0], told), "mocra cron webhook")
        else:
            await _run(target, told)

    async def _write_down(self, job: str, told: Run, became: str, tries: int) -> None:
        def step(state: JobState) -> JobState:
            run = state.run(told.id)
            return state if run is None else state.with_run(replace(run, alert=became, alerts=tries))

        try:
            await self._store.change(job, step)
            self._settled.setdefault(job, set()).add((told.id, told.alert))
        except BackendError as error:
            logger.warning(
                "The alert of %s was %s, but that could not be stored; it may be sent again: %s", told.id, became, error
            )


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive as a GET without the run."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


def _post(url: str, told: bytes) -> None:
    request = urllib.request.Request(url, told, {"Content-Type": "application/json"})  # noqa: S310 - see Key on_failure
    try:
        with _opener.open(request, timeout=PATIENCE):
            pass
    except urllib.error.HTTPError as error:
        with error:
            where = f"; it redirects to {error.headers['Location']}: write that URL" if 300 <= error.code < 400 else ""
            raise RuntimeError(f"the webhook answers {error.code} {error.reason}{where}") from error


def _is_late(error: Exception) -> bool:
    """Whether the time was over, for the socket or for whoever waits for it: they have the same."""
    reason = getattr(error, "reason", None)  # URLError's
    return isinstance(error, (TimeoutError, asyncio.TimeoutError)) or isinstance(reason, TimeoutError)


async def _run(command: tuple[str, ...], told: bytes) -> None:
    with contextlib.ExitStack() as stack:
        said: Any = None
        with contextlib.suppress(OSError):  # a full disk is one of the things that somebody is told of
            # A file, not a pipe: what the command leaves running behind it holds that, and its end is
            # not to be waited for.
            said = stack.enter_context(tempfile.TemporaryFile())
        # Not asyncio's: cancelled while it starts, that leaves a process and a pipe to nobody (seen with Python 3.10).
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - which starts it in this thread as well; see Key on_failure
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said or subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            await in_a_thread(lambda: process.communicate(told), "mocra cron alert")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it has ended just now
                    os.killpg(process.pid, signal.SIGKILL)  # a shell and what it waits for
                await in_a_thread(process.wait, "mocra cron alert")
        if process.returncode:
            why = said.seek(0) or said.read().decode(errors="replace").strip()[-200:] if said else ""
            raise RuntimeError(f"exit code {process.returncode}: {why}")
