"""Runs as JSON for people and programs: moments are ISO times in UTC."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mocra_scrapy.cron.state import Run, utc

#: Fields of runs and parts that are moments.
MOMENTS = frozenset({"instant", "due", "intended", "started", "ended", "until", "silent"})


def iso(fields: dict[str, Any]) -> dict[str, Any]:
    """With moments as ISO times in UTC, in what is nested, too."""
    out: dict[str, Any] = {}
    for name, value in fields.items():
        if name in MOMENTS and value is not None:
            out[name] = utc(value)
        elif name == "parts":
            out[name] = [iso(part) for part in value]
        else:
            out[name] = value
    return out


def run_json(job: str, run: Run) -> dict[str, Any]:
    """All that is known of a run, as ``--json`` tells it."""
    return {"job": job, **iso(asdict(run)), "items": run.items}
