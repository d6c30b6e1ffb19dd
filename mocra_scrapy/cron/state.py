"""What is stored of a job: one shared value, changed by compare-and-set only. Pure.

States of a run::

    (an instant came, a person triggered, a failed run is retried)
       │
    waiting ──due──► intended ──claimed by a launcher──► running ──all parts ended──► ended: succeeded, failed, …
       │               ▲   │
       │          queued   └──nobody could start it in time──► ended: missed
       └──► ended: skipped (another run is going on), missed, cancelled

The value holds the last scheduled instant beside the runs, so the step that moves it on is the step
that stores the intent: no instant is forgotten and none is intended twice. The start itself is a
compare-and-set of whoever starts the crawl (:func:`mocra_scrapy.cron.run_steps.claim`), so an intent that was given to two
launchers is started by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from typing import Any

from mocra_scrapy.exceptions import BackendCorrupted

WAITING, QUEUED, INTENDED, RUNNING, ENDED = "waiting", "queued", "intended", "running", "ended"
#: How a run ended, the best first: of several parts the worst counts.
OUTCOMES = (
    "succeeded",
    "skipped",
    "cancelled",
    "replaced",
    "closed",
    "drained",
    "limited",
    "stopped",
    "missed",
    "lost",
    "overloaded",
    "timeout",
    "tripped",
    "unexpected",
    "failed",
)
#: It did not do what it was there for, and no person meant that.
FAILURES = frozenset({"stopped", "lost", "overloaded", "timeout", "tripped", "unexpected", "failed"})
RETRIED = FAILURES - {"unexpected"}
#: No process was ever started for it.
NEVER_RAN = frozenset({"skipped", "missed"})
KINDS = ("scheduled", "catch-up", "manual")


@dataclass(frozen=True, slots=True)
class Part:
    """One process that crawls in a run; a run of ``executor = "queue"`` may have several.

    Attributes:
        worker: name of the launcher, unique; it holds the lock of this name while it lives.
        started, ended: wall clock of its machine, seconds since the epoch.
        exit_code: of the crawl; negative: ended by that signal.
        items, errors: from its stats; ``None``: it wrote none.
        silent: when a leader first saw that it gives no sign of life; ``None``: it gives them. Beside
            the part, since ``scrapy cron once`` lives for seconds.
        machine: the kernel and its table of processes in which ``pid`` means something.
    """

    worker: str
    host: str = ""
    pid: int = 0
    started: float = 0.0
    ended: float | None = None
    outcome: str = ""
    reason: str = ""
    exit_code: int | None = None
    finish_reason: str = ""
    items: int | None = None
    errors: int | None = None
    log: str = ""
    silent: float | None = None
    machine: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a job.

    Attributes:
        id: ``job@instant``, ``job@instant#2`` for its second attempt, ``job@instant+xxxx`` when a
            person asked for it.
        instant: when the schedule (or the person) wanted it.
        due: when it may start: the instant and its jitter, or the time of a retry.
        stop: why it has been asked to stop; empty: it hasn't.
        places: how many workers may join it.
        args: what a person gave beside the job's arguments.
        count: instants that this record stands for, when several had the same fate; ``until``: the
            last of them, where the record has the name of the first.
        alert: what is owed to a person about its end (``due:on_failure``), or became of that
            (``sent:…``, ``failed:…``); empty: nothing.
        alerts: how often that was tried.
    """

    id: str
    instant: int
    due: float
    kind: str = "scheduled"
    attempt: int = 1
    state: str = WAITING
    outcome: str = ""
    reason: str = ""
    intended: float | None = None
    ended: float | None = None
    stop: str = ""
    executor: str = "process"
    places: int = 1
    args: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    count: int = 1
    until: int | None = None
    alert: str = ""
    alerts: int = 0

    @property
    def active(self) -> bool:
        """Whether it counts as going on for the concurrency policy."""
        return self.state in (INTENDED, RUNNING)

    @property
    def started(self) -> float | None:
        return self.parts[0].started if self.parts else None

    @property
    def items(self) -> int | None:
        """Items of all parts; ``None``: nobody wrote stats."""
        known = [part.items for part in self.parts if part.items is not None]
        return sum(known) if known else None

    @property
    def unclaimed(self) -> bool:
        """Whether it waits for a worker that may never come: nothing is going on."""
        return self.state == INTENDED and self.executor == "queue" and not self.parts


@dataclass(frozen=True, slots=True)
class JobState:
    """All that is stored of a job.

    Attributes:
        last: the last instant that was decided; none up to it fires again. ``None``: never seen.
        identity: the schedule that *last* belongs to; empty while nothing is due (paused,
            disabled): that time is not caught up.
        missed: instants that were missed, ever.
        broken: what is stored can't be read; nothing is decided until a person has deleted it
            (never stored).
    """

    last: int | None = None
    identity: str = ""
    paused: bool = False
    missed: int = 0
    runs: tuple[Run, ...] = ()
    broken: bool = False

    def run(self, run_id: str) -> Run | None:
        return next((run for run in self.runs if run.id == run_id), None)

    def with_run(self, run: Run) -> JobState:
        """With *run* in place of the one of its id, or as the newest."""
        if self.run(run.id) is None:
            return replace(self, runs=(*self.runs, run))
        return replace(self, runs=tuple(run if old.id == run.id else old for old in self.runs))

    def trimmed(self, history: int, failed: int) -> JobState:
        """With the newest *history* runs that succeeded, as many that never ran, the newest *failed*
        others that ended, and all that have not: what is frequent does not push out what is rare.
        """
        gone: set[str] = set()
        for group, keep in ((_succeeded, history), (_never_ran, history), (_went_wrong, failed)):
            ended = [run.id for run in self.runs if run.state == ENDED and group(run)]
            gone.update(ended[: max(0, len(ended) - keep)])
        return replace(self, runs=tuple(run for run in self.runs if run.id not in gone)) if gone else self


def _succeeded(run: Run) -> bool:
    return run.outcome == "succeeded"


def _never_ran(run: Run) -> bool:
    return run.outcome in NEVER_RAN


def _went_wrong(run: Run) -> bool:
    return not (_succeeded(run) or _never_ran(run))


def utc(instant: float) -> str:
    """``2026-11-24T02:30:00Z``."""
    return datetime.fromtimestamp(instant, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def run_id(job: str, instant: int, attempt: int = 1, mark: str = "") -> str:
    return f"{job}@{utc(instant)}{f'+{mark}' if mark else ''}{f'#{attempt}' if attempt > 1 else ''}"


# ---------------------------------------------------------------------- bytes


def _lean(thing: Part | Run | JobState) -> dict[str, Any]:
    """Fields that differ from their default: a value holds fifty runs."""
    out = {}
    for name, default in _FIELDS[type(thing)].items():
        value = getattr(thing, name)
        if value != default and not (isinstance(value, (tuple, dict)) and not value):
            out[name] = value
    return out


def encode(state: JobState) -> bytes:
    runs = [
        {**_lean(run), **({"parts": [_lean(part) for part in run.parts]} if run.parts else {})} for run in state.runs
    ]
    return json.dumps({**_lean(state), "v": 1, "runs": runs}, separators=(",", ":")).encode()


def decode(name: str, raw: bytes | None) -> JobState:
    """The state of the job *name*; ``None``: nothing is stored, the state of a job that was never
    seen.

    Raises:
        BackendCorrupted: these bytes are none of ours.
    """
    if raw is None:
        return JobState()
    try:
        data = json.loads(raw)
        if data.pop("v") != 1:
            raise ValueError("written by another version")  # noqa: TRY301
        runs = []
        for one in data.pop("runs"):
            parts = tuple(Part(**_known(Part, part)) for part in one.pop("parts", ()))
            runs.append(Run(**_known(Run, one), parts=parts))
        return JobState(**_known(JobState, data), runs=tuple(runs))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackendCorrupted(f"The state of the cron job {name!r} can't be read: {error}") from error


#: Of each class that is stored: name of a field -> its default.
_FIELDS = {cls: {spec.name: spec.default for spec in fields(cls)} for cls in (Part, Run, JobState)}


def _known(cls: type[Part | Run | JobState], data: Mapping[str, Any]) -> dict[str, Any]:
    """What *cls* has a field for: a newer version may have written more."""
    names = _FIELDS[cls]
    return {name: value for name, value in data.items() if name in names}


def as_json(run: Run) -> dict[str, Any]:
    """As it is, moments in seconds since the epoch."""
    return asdict(run)
