"""Schedules that are smaller than one which failed: the fewer things happen, the plainer is why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.shrink import fewer

from .schedule import Rule, Schedule


def smaller_than(schedule: Schedule) -> Iterator[Schedule]:
    """Fewer events first, then fewer workers, kinds of pages, limits and pages."""
    for events in fewer(schedule.events):
        yield replace(schedule, events=tuple(events))
    setup = schedule.setup
    first, second = setup.rules
    for change in (
        {"workers": setup.workers[:-1]},
        {"workers": (0,) * len(setup.workers)},
        *({"manners": tuple(some)} for some in fewer(setup.manners)),
        {"scope": 0.0},
        {"rules": (first, first)},
        {"rules": (tuple(map(_plain, first)), tuple(map(_plain, second)))},
        {"pages": setup.pages // 2},
        {"response": 0.05},
        {"latency": 0.0005},
    ):
        other = replace(setup, **change)  # type: ignore[arg-type]
        if other != setup and other.workers and other.pages:
            yield replace(schedule, setup=other)


def _plain(rule: Rule) -> Rule:
    return Rule(rule.interval)
