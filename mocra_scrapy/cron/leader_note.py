"""What a leader writes of itself, beside the states of the jobs: who it is, since when it leads, and
which jobs it knows.

Two projects of one name share one cron, and the second one's jobs never run; a roll-out has two
versions of one jobs file for a while. The digest of the jobs tells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from mocra_scrapy.cron.jobs import Job

#: What the names of such notes begin with: no job's name does.
NOTE = "+"
LEADER = NOTE + "leader"


@dataclass(frozen=True, slots=True)
class LeaderNote:
    """One.

    Attributes:
        runner, host, pid: who leads.
        term: its number.
        since: when the term began, seconds since the epoch.
        digest: of its jobs, see :func:`jobs_digest`.
        source: where it read them, as it calls the file.
        jobs: their names.
    """

    runner: str
    host: str
    pid: int
    term: int
    since: float
    digest: str
    source: str
    jobs: tuple[str, ...] = ()

    def encode(self) -> bytes:
        return json.dumps({"v": 1, **asdict(self)}, separators=(",", ":")).encode()

    def differs(self, digest: str) -> str:
        """A sentence for whoever has other jobs; empty: they are the same."""
        if self.digest == digest:
            return ""
        return (
            f"the runner that leads ({self.runner}) has other jobs than this file: digest {self.digest}, not {digest}, "
            f"of {self.source} on {self.host}. Only its jobs run. Either the files differ, or two projects have one "
            "MOCRA_CRON_NAME: make the files alike, or give each project a name"
        )


def read_note(raw: bytes | None) -> LeaderNote | None:
    """``None``: there is none, or nothing of ours."""
    try:
        data: dict[str, Any] = json.loads(raw or b"")
        known = {spec.name: data[spec.name] for spec in fields(LeaderNote)}
        return LeaderNote(**{**known, "jobs": tuple(known["jobs"])})
    except (ValueError, KeyError, TypeError):
        return None


def jobs_digest(jobs: Mapping[str, Job]) -> str:
    """Equal for files that mean the same, whatever their order, comments and defaults."""
    told = {name: repr(job) for name, job in sorted(jobs.items())}
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]
