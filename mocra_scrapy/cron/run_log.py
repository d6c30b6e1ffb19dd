"""What a leader says of runs: a line in the log for each change, and a word to whoever listens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mocra_scrapy import signals
from mocra_scrapy.cron.alert_rules import event_of
from mocra_scrapy.cron.run_json import run_json
from mocra_scrapy.cron.state import ENDED, RUNNING, JobState, Run, utc

if TYPE_CHECKING:
    from scrapy.signalmanager import SignalManager

logger = logging.getLogger(__name__)

#: Seconds after its end for which a run that was never heard of is news.
NEWS = 65.0
#: Called with the event (``on_failure``, ``on_missed``, ``on_success_after_failure``; empty: an end that
#: is none of these) and the run as ``scrapy cron history --json`` tells it.
Listener = Callable[[str, dict[str, Any]], object]
SIGNALS = {
    "on_failure": signals.cron_run_failed,
    "on_missed": signals.cron_run_missed,
    "on_success_after_failure": signals.cron_run_recovered,
}


def sends_signals(manager: SignalManager) -> Listener:
    """A listener that sends ``cron_run_ended``, and which of the others the end is."""

    def send(event: str, run: dict[str, Any]) -> None:
        for signal in (signals.cron_run_ended, SIGNALS.get(event)):
            if signal is not None:
                manager.send_catch_log(signal, job=run["job"], run=run)

    return send


class RunLog:
    """Tells of each change once.

    Args:
        wall: seconds since the epoch.

    Attributes:
        listeners: called in the event loop when a run has ended, in the runner that leads then. One that
            fails is logged.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._told: dict[str, tuple[str, str]] = {}
        self.listeners: list[Listener] = []

    def look(self, job: str, state: JobState) -> None:
        """Tell what is new in the runs of *job*."""
        for run in state.runs:
            now = (run.state, run.outcome)
            if self._told.get(run.id) == now:
                continue
            new, self._told[run.id] = run.id not in self._told, now
            if run.state == ENDED:
                if not (new and run.ended is not None and run.ended < self._wall() - NEWS):
                    self._ended(job, state, run)
            elif run.state == RUNNING:
                logger.info("Run %s is going on, log %s", run.id, run.parts[0].log)
            else:
                logger.info("Run %s is %s, due %s", run.id, run.state, utc(run.due))
        if len(self._told) > 50_000:
            self._told = {run.id: (run.state, run.outcome) for run in state.runs}

    def _ended(self, job: str, state: JobState, run: Run) -> None:
        level = logging.INFO if run.outcome == "succeeded" else logging.WARNING
        logger.log(level, "Run %s %s%s", run.id, run.outcome, f": {run.reason}" if run.reason else "")
        for listener in self.listeners:
            try:
                listener(event_of(state, run), run_json(job, run))
            except Exception:
                logger.exception("A listener for the end of %s failed", run.id)
