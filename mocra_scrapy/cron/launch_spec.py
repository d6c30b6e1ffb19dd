"""What a launcher is told: which run, where its state is, how to crawl. Handed over on its standard
input, where no ``ps`` shows secrets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mocra_scrapy.cron.job_store import Address
from mocra_scrapy.cron.jobs import Job
from mocra_scrapy.cron.state import Run


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """One run, or one part of it.

    Attributes:
        job, run: names; worker: the launcher's, unique.
        address: where the state is.
        spider, args, settings: what to crawl; settings win over those of the project.
        timeout: s after which it is told to stop; 0: never. stop_grace: s between SIGTERM and
            SIGKILL.
        success: an expression over the stats; empty: exit code 0 and a crawl that was not stopped.
        expect: an expression over the runs before; empty: none.
        lease: s without a sign of life after which the run counts as lost.
        log, report: files to write.
        history, history_failed: runs that are remembered, and whose files are kept.
        command: what runs a crawl; empty: ``python -m mocra_scrapy.cron.crawl_main SPIDER``.
    """

    job: str
    run: str
    worker: str
    address: Address
    spider: str
    log: str
    report: str
    args: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 0.0
    stop_grace: float = 30.0
    retries: int = 0
    retry_delay: float = 60.0
    success: str = ""
    expect: str = ""
    lease: float = 30.0
    history: int = 50
    history_failed: int = 50
    command: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """JSON; settings that JSON has no form for become texts, as ``-s`` would make them."""
        return json.dumps(asdict(self), default=str).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> LaunchSpec:
        """Raises ValueError: the sender died while it wrote."""
        data = json.loads(raw)
        data["address"] = Address(**data["address"])
        data["command"] = tuple(data["command"])
        return cls(**data)


def file_stem(run_id: str) -> str:
    """What the names of a run's files begin with; they sort by its instant."""
    return run_id.partition("@")[2].replace(":", "")


def order_for(
    job: Job,
    run: Run,
    worker: str,
    address: Address,
    *,
    lease: float,
    settings: Mapping[str, Any],
    command: tuple[str, ...] = (),
) -> LaunchSpec:
    """The order that starts *run* of *job*; *settings* are those that the runner itself was given,
    the job's win.
    """
    name = file_stem(run.id)
    if run.places > 1 or run.executor == "queue":
        name += "." + worker.rpartition("-")[2]
    base = f"{address.folder}/runs/{job.name}/{name}"
    return LaunchSpec(
        job=job.name,
        run=run.id,
        worker=worker,
        address=address,
        spider=job.spider,
        log=f"{base}.log",
        report=f"{base}.stats.json",
        args={**job.args, **run.args},
        settings={**settings, **job.settings},
        timeout=job.timeout,
        stop_grace=job.stop_grace,
        retries=job.retries,
        retry_delay=job.retry_delay,
        success=job.success.text if job.success else "",
        expect=job.expect.text if job.expect else "",
        lease=lease,
        history=job.history,
        history_failed=job.history_failed,
        command=command,
    )
